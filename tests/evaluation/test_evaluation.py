"""Measuring: what is measured once is not measured again, and everything that matters makes it another measurement."""

import pytest
from conftest import configured

from src.common.errors import UserError
from src.common.types import Problem, Suite
from src.data.prompt import PromptConfig, prompt_token_ids
from src.evaluation.evaluator import Evaluator
from src.evaluation.summary import gain
from src.experiment.data import hold_out
from src.grading.completions import end_tokens
from src.grading.grader import Grader
from src.micro.tasks import make_problems
from src.model.load import load_model, load_tokenizer
from src.rollout.in_process import TransformersEngine


class CountingEngine(TransformersEngine):
    calls = 0

    def generate(self, *args, **kwargs):
        self.calls += 1
        return super().generate(*args, **kwargs)


@pytest.fixture(scope="module")
def parts():
    """What takes time to make and is the same for all tests."""
    config = configured("evaluation.sampling.max_completion_tokens=64")
    tokenizer, model = load_tokenizer(config.model), load_model(config.model)
    engine = CountingEngine(model, tokenizer, end_tokens(tokenizer, model.generation_config), 32)
    with Grader(1) as grader:
        yield config, engine, grader


@pytest.fixture
def lab(parts, tmp_path):
    config, engine, grader = parts
    engine.calls = 0
    return lambda **changes: Evaluator(
        **{"config": config.evaluation, "prompt": config.prompt, "script": "latin"} | changes,
        tokenizer=engine.tokenizer, grader=grader, cache=tmp_path,
    ), engine, Suite("some", tuple(make_problems("chains", 6, seed=3)), samples=2)


def test_measured_once(lab):
    evaluator, engine, suite = lab
    first = evaluator().measure(engine, "weights", suite)
    again = evaluator().measure(engine, "weights", suite)
    assert engine.calls == 1
    assert again.rows.equals(first.rows) and again.summary == first.summary
    assert len(first.rows) == 12 and first.summary["problems"] == 6 and first.summary["samples"] == 2


@pytest.mark.parametrize("change", ["weights", "seed", "samples", "prompt", "temperature", "problems", "reader"])
def test_what_matters_makes_it_another_measurement(lab, change):
    evaluator, engine, suite = lab
    config = configured("evaluation.sampling.max_completion_tokens=64")
    evaluator().measure(engine, "weights", suite)
    sampling = config.evaluation.sampling.model_copy(update={"temperature": 0.5})
    others = {
        "weights": ({}, "other", suite),
        "seed": ({"config": config.evaluation.model_copy(update={"seed": 9})}, "weights", suite),
        "samples": ({}, "weights", Suite("some", suite.problems, 3)),
        "prompt": ({"prompt": configured("prompt=boxed").prompt}, "weights", suite),
        "temperature": ({"config": config.evaluation.model_copy(update={"sampling": sampling})}, "weights", suite),
        "problems": ({}, "weights", Suite("some", suite.problems[:-1], 2)),
        "reader": ({"config": config.evaluation.model_copy(update={"reader": "last_expression"})}, "weights", suite),
    }
    changes, weights, other = others[change]
    evaluator(**changes).measure(engine, weights, other)
    assert engine.calls == 2


def test_another_precision_is_another_measurement(lab, monkeypatch):
    import torch

    evaluator, engine, suite = lab
    evaluator().measure(engine, "weights", suite)
    monkeypatch.setattr(engine, "dtype", torch.bfloat16)
    evaluator().measure(engine, "weights", suite)
    assert engine.calls == 2


class Says:
    """An engine that gives each prompt the same texts."""

    identity = "says"

    def __init__(self, tokenizer, *texts: str) -> None:
        self.ends, self.ids = frozenset({tokenizer.eos_token_id}), [tokenizer(text)["input_ids"] for text in texts]

    def generate(self, prompts_P, samples, *, done, **_):
        done(len(prompts_P) * samples)
        return [[[*ids, *self.ends] for ids in self.ids] for _ in prompts_P]


@pytest.mark.parametrize(("reader", "correct"), [("boxed", [True, False, False]), ("last_expression", [True, True, False])])
def test_what_is_right_without_a_box_counts_as_the_reader_says_and_is_told_apart(lab, reader, correct):
    evaluator, _, _ = lab
    config = configured(f"evaluation.reader={reader}").evaluation
    measuring = evaluator(config=config)
    problem = Problem("p", "7 + 5 = ?", "12", "easy", None, "x")
    says = Says(measuring.tokenizer, r"7+5=12 \boxed{12}", "7+5=12", r"7+5=11 \boxed{11}")
    measured = measuring.measure(says, "weights", Suite("some", (problem,), 3))
    assert measured.rows["correct"].to_list() == correct
    assert measured.rows["right_unboxed"].to_list() == [False, True, False]
    assert measured.summary["right_unboxed_share"] == pytest.approx(1 / 3)


def test_the_part_of_a_gain_that_was_right_before_but_not_boxed():
    import pandas as pd

    ids = ["a"] * 4 + ["b"] * 4
    before = pd.DataFrame({"problem_id": ids, "correct": [True] + [False] * 7, "right_unboxed": [False, True, True, False] * 2})
    after = pd.DataFrame({"problem_id": ids, "correct": [True] * 6 + [False] * 2, "right_unboxed": [False] * 6 + [True, False]})
    found = gain(before, after)
    # Boxed 1 of 8 to 6 of 8; with what is right anywhere 5 of 8 to 7 of 8, so that 3 of the 5 had been right before.
    assert (found["mean"], found["boxing"]) == pytest.approx((5 / 8, 3 / 8))


def test_what_the_end_of_the_context_cut_is_told_from_what_the_limit_cut(lab):
    evaluator, engine, _ = lab
    config = configured("evaluation.sampling.max_completion_tokens=40").evaluation
    measuring = evaluator(config=config, prompt=PromptConfig(system=None, user="{question}"))
    long = "1 + " * 249 + "1 = ?"
    room = 1024 - len(prompt_token_ids(measuring.tokenizer, measuring.prompt, long))
    assert 5 < room < 40
    problems = tuple(Problem(f"p{number}", question, "250", "easy", None, "x") for number, question in enumerate((long, "1 + 1 = ?")))
    rows = measuring.measure(engine, "weights", Suite("some", problems, 4)).rows
    cut = rows[rows["problem_id"] == "p0"]
    assert cut["tokens"].max() <= room and cut["context_full"].equals(cut["truncated"]) and cut["truncated"].any()
    assert not rows.loc[rows["problem_id"] == "p1", "context_full"].any()


def test_a_gain_is_paired_by_problem():
    import pandas as pd

    boxed = {"right_unboxed": [False] * 4}
    before = pd.DataFrame({"problem_id": ["a", "a", "b", "b"], "correct": [False, True, False, False]} | boxed)
    after = pd.DataFrame({"problem_id": ["b", "b", "a", "a"], "correct": [True, False, True, True]} | boxed)
    result = gain(before, after)
    # a: .5 to 1, b: 0 to .5. The same change everywhere: an interval without width, which unpaired means would not give.
    assert (result["mean"], result["ci_low"], result["ci_high"]) == (0.5, 0.5, 0.5)


def test_validation_leaves_every_pool_and_has_both_levels():
    pools = {"core": make_problems("core", 30, 0), "easy": make_problems("easy", 30, 0)}
    pools["broad"] = pools["core"][:5] + make_problems("broad", 30, 0)
    suite, left = hold_out(pools, configured("evaluation.validation.problems_per_level=10").evaluation.validation, seed=1)
    held = {problem.id for problem in suite.problems}
    assert [problem.level for problem in suite.problems] == ["easy"] * 10 + ["hard"] * 10
    assert not held & {problem.id for problems in left.values() for problem in problems}
    assert hold_out(pools, configured("evaluation.validation.problems_per_level=10").evaluation.validation, 1)[0] == suite


def test_too_few_problems_to_hold_out():
    with pytest.raises(UserError, match="80 easy problems to hold out, but the pools have 30"):
        hold_out({"easy": make_problems("easy", 30, 0)}, configured().evaluation.validation, seed=0)
