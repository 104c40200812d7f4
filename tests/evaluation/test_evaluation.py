"""Measuring: what is measured once is not measured again, and everything that matters makes it another measurement."""

import pytest
from conftest import configured

from src.common.errors import UserError
from src.common.types import Suite
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


@pytest.fixture
def lab(tmp_path):
    config = configured("evaluation.sampling.max_completion_tokens=64")
    tokenizer, model = load_tokenizer(config.model), load_model(config.model)
    engine = CountingEngine(model, tokenizer, end_tokens(tokenizer, model.generation_config), 32)
    suite = Suite("some", tuple(make_problems("chains", 6, seed=3)), samples=2)
    with Grader() as grader:
        yield lambda **changes: Evaluator(
            **{"config": config.evaluation, "prompt": config.prompt, "script": "latin"} | changes,
            tokenizer=tokenizer, grader=grader, cache=tmp_path,
        ), engine, suite


def test_measured_once(lab):
    evaluator, engine, suite = lab
    first = evaluator().measure(engine, "weights", suite)
    again = evaluator().measure(engine, "weights", suite)
    assert engine.calls == 1
    assert again.rows.equals(first.rows) and again.summary == first.summary
    assert len(first.rows) == 12 and first.summary["problems"] == 6 and first.summary["samples"] == 2


@pytest.mark.parametrize("change", ["weights", "seed", "samples", "prompt", "temperature", "problems"])
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
    }
    changes, weights, other = others[change]
    evaluator(**changes).measure(engine, weights, other)
    assert engine.calls == 2


def test_another_precision_is_another_measurement(lab):
    import torch

    evaluator, engine, suite = lab
    evaluator().measure(engine, "weights", suite)
    engine.dtype = torch.bfloat16
    evaluator().measure(engine, "weights", suite)
    assert engine.calls == 2


def test_a_gain_is_paired_by_problem():
    import pandas as pd

    before = pd.DataFrame({"problem_id": ["a", "a", "b", "b"], "correct": [0, 1, 0, 0]})
    after = pd.DataFrame({"problem_id": ["b", "b", "a", "a"], "correct": [1, 0, 1, 1]})
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
