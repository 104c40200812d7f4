"""Pools of reasoning-gym's tasks: every one has answers that the grader reads, and faults are one line."""

import sys

import pytest
from conftest import configured

from src.common.errors import UserError
from src.data.gym import TASKS
from src.data.loaders import GymPool
from src.data.problems import check_pools, load_pools
from src.grading.grader import Grader


@pytest.fixture(scope="module")
def grader():
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed")
    with Grader(1) as grader:
        yield grader


def pool(tasks, count=12, seed=0):
    return GymPool(loader="reasoning_gym", tasks=tasks, count=count, seed=seed, level="hard")


def test_answers_of_every_task_are_read_as_what_they_are(grader):
    problems = pool({task: {} for task in sorted(TASKS)}, count=5 * len(TASKS)).load("").problems
    assert {problem.source.removeprefix("reasoning-gym/") for problem in problems} == TASKS
    assert [p for p, gold in zip(problems, grader.check_gold([p.answer for p in problems]), strict=True) if not gold.correct] == []
    others = [(p, q) for p in problems for q in problems[:40] if p.source == q.source and p.answer.lower() != q.answer.lower()]
    verdicts = grader.grade([rf"\boxed{{{q.answer}}}" for _, q in others], [p.answer for p, _ in others])
    assert [(p.answer, q.answer) for (p, q), verdict in zip(others, verdicts, strict=True) if verdict.correct] == []
    words = [p.answer for p in problems if p.answer.isalpha() and p.answer.lower() != p.answer[::-1].lower()]
    backwards = grader.grade([rf"\boxed{{{word[::-1]}}}" for word in words], words)
    assert [word for word, verdict in zip(words, backwards, strict=True) if verdict.correct] == []


def test_a_pool_takes_of_each_task_in_turn_and_the_same_ones_again(grader):
    tasks = {"leg_counting": {"max_animals": 3}, "syllogism": {}}
    first, again, other = (pool(tasks, 5, seed).load("").problems for seed in (0, 0, 1))
    assert [p.source for p in first] == [f"reasoning-gym/{task}" for task in ["leg_counting", "syllogism"] * 2 + ["leg_counting"]]
    assert first == again != other


def test_the_shipped_pools_load_whole(grader):
    config = configured("problems=reasoning_gym", *(f"problems.pools.{role}.count=60" for role in ("core", "broad", "easy")))
    pools = load_pools(config.problems, ("core", "broad", "easy"), {}, grader)
    assert {role: len(problems) for role, problems in pools.by_role.items()} == {"core": 60, "broad": 60, "easy": 60}


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        ({"leg_countin": {}}, "no task 'leg_countin' with one right answer; did you mean leg_counting"),
        ({"countdown": {}}, "no task 'countdown' with one right answer"),
        ({"leg_counting": {"legs": 3}}, "leg_counting with {'legs': 3}"),
        ({"leg_counting": {"max_animals": 0}}, "leg_counting with {'max_animals': 0}"),
    ],
)
def test_faults_are_one_line(grader, tasks, says):
    with pytest.raises(UserError, match="^[^\n]+$") as raised:
        pool(tasks).check("problems.pools.easy")
    assert says in str(raised.value)


def test_without_the_package_the_line_says_how_to_have_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(UserError, match="pip install -e '.\\[reasoning-gym\\]'"):
        check_pools(configured("problems=reasoning_gym").problems, ("easy",))
