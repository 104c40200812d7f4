"""One's own problems in a line: which columns they are in, what is held out, and that a mix takes what there is."""

import json

import pytest
from conftest import configured

from src.common.errors import UserError
from src.data.guess import guessed
from src.data.loaders import TEST_PROBLEMS, OwnPool
from src.data.rows import RawTable, Row
from src.experiment.data import prepare_data
from src.grading.grader import Grader
from src.micro.tasks import make_problems
from src.model.load import load_tokenizer


def table(*records):
    return RawTable("mine.jsonl", [Row(f"line {number}", record) for number, record in enumerate(records, 1)])


LAYOUTS = {
    "gsm8k": ({"question": "1+1", "answer": "so #### 2"}, ("question", "answer", "####", False)),
    "math": ({"Problem": "1+1", "solution": r"thus \boxed{2}", "level": "Level 3"}, ("Problem", "solution", None, True)),
    "verl": (
        {"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "1+1"}], "reward_model": {"ground_truth": "2"}},
        ("prompt.1.content", "reward_model.ground_truth", None, False),
    ),
    "both": ({"prompt": "1+1", "solution": "long", "answer": "2", "id": 7}, ("prompt", "answer", None, False)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_columns_are_known_by_their_names_and_said(name):
    record, expected = LAYOUTS[name]
    columns, said = guessed(table(record), {})
    assert (columns.question, columns.answer, columns.answer_after, columns.answer_boxed) == expected
    assert said.startswith(f"question: {expected[0]}, answer: {expected[1]}") and columns.level is None


def test_what_is_named_is_taken_and_what_cannot_be_guessed_is_asked_for():
    columns, _ = guessed(table({"question": "1+1", "answer": "2", "true": "3"}), {"answer": "true"})
    assert columns.answer == "true"
    with pytest.raises(UserError, match=r"hold the answer; name it, as in problems.columns.answer=question. It has question, gelöst"):
        guessed(table({"question": "1+1", "gelöst": "2"}), {})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Data of 60 easy and 60 hard problems with pass rates, prepared for a command line."""
    folder = tmp_path_factory.mktemp("own")
    problems = [*make_problems("easy", 60, 7), *make_problems("core", 60, 7)]
    for name, rates in (("rated", {"easy": 0.8, "hard": 0.2}), ("plain", {})):
        lines = [{"problem": p.question, "answer": p.answer} | ({"pass_rate": rates[p.level]} if rates else {}) for p in problems]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with Grader(1) as grader:
        tokenizer = load_tokenizer(configured().model)
        yield lambda name, *changes: prepare_data(
            configured("problems=my_data", f"problems.path={folder}/{name}.jsonl", *changes), tokenizer, grader
        )


def test_a_test_part_is_held_out_and_all_others_are_trained_on(prepared):
    data = prepared("rated")
    [test], held = data.suites, {problem.question for suite in (*data.suites, data.validation) for problem in suite.problems}
    assert (test.name, len(test.problems), len(data.validation.problems), len(data.mix.problems)) == ("test", 24, 20, 76)
    assert len(held) == 44 and not held & {problem.question for problem in data.mix.problems}
    assert data.mix.by_level == {"easy": 40, "hard": 36} and "easy from 0.5 on" in data.notes[0]
    assert prepared("plain").suites[0].problems[0].question == test.problems[0].question  # whatever else stands beside them


def test_a_mix_takes_what_there_is(prepared):
    assert prepared("rated", "+experiment=mix_easy_hard").mix.by_level == {"easy": 6, "hard": 36}  # 6 to 1, as far as they go
    assert prepared("rated", "mix=easy_only").mix.by_level == {"easy": 40}
    assert prepared("plain", "+experiment=mix_easy_hard").mix.by_level == {"hard": 76}
    with pytest.raises(UserError, match="all of which are hard; set mix=all"):
        prepared("plain", "mix.easy_share=0.5")


def test_a_suite_of_ones_own_is_one_line(tmp_path, prepared):
    (tmp_path / "test.csv").write_text("question,answer\n1+1,2\n2+2,4\n")
    suites = {suite.name: suite for suite in prepared("plain", f"++evaluation.suites.mine={tmp_path}/test.csv").suites}
    assert [problem.answer for problem in suites["mine"].problems] == ["2", "4"] and suites["mine"].samples == 4
    found = configured("++evaluation.suites.mine={dataset: me/sums, split: test, samples: 2}").evaluation.suites["mine"]
    assert (found.samples, found.pool.dataset, found.pool.split) == (2, "me/sums", "test")


def test_no_more_than_so_many_are_held_out(tmp_path):
    (tmp_path / "many.jsonl").write_text("\n".join(json.dumps({"question": f"{n}+1", "answer": str(n + 1)}) for n in range(3000)))
    pool = OwnPool(loader="own", path=str(tmp_path / "many.jsonl"), part="test")
    assert len(pool.load("").problems) == TEST_PROBLEMS
