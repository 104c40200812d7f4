"""Measuring in rounds: the estimate stays unbiased, what is decided is not drawn on, and a kill loses one round."""

import numpy as np
import pandas as pd
import pytest

from src.common.types import Problem, Suite
from src.evaluation.config import UntilConfig
from src.evaluation.rounds import Round, counts_of, drawn_in_rounds, half_width, rounds
from src.evaluation.summary import per_problem, summarise
from src.statistics import effective_samples

ALL = UntilConfig(half_width=1e-6)  # adaptive, and never narrow enough


def suite_of(problems, samples):
    return Suite("some", tuple(Problem(f"p{n:03d}", "?", "1", "easy", None, "x") for n in range(problems)), samples)


def drawing(chances_P, rng):
    """Rows of samples that are right with each problem's chance."""

    def draw(wanted):
        rows = [(problem.id, number, rng.random() < chances_P[int(problem.id[1:])]) for problem, ns in wanted.items() for number in ns]
        return pd.DataFrame(rows, columns=["problem_id", "sample", "correct"])

    return draw


def test_rounds_have_at_least_two_samples_and_together_those_of_the_suite():
    assert rounds(5, UntilConfig(samples_per_round=2)) == [Round(2, 0), Round(2, 2), Round(1, 4)]
    assert [each.planned for each in rounds(1, ALL)] == [1]
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        UntilConfig(samples_per_round=1)


def test_what_still_varies_gets_more_of_the_next_round_and_every_problem_something():
    problems = suite_of(10, 8).problems
    each = Round(planned=2, first=8)
    assert set(counts_of(each, problems, None).values()) == {2}
    assert list(counts_of(each, problems, {"p000", "p001"}).values()) == [6, 6] + [1] * 8
    assert list(counts_of(each, problems, {"p000"}).values()) == [8] + [1] * 9  # at most four times what is planned


def test_without_a_width_every_problem_gets_all_its_samples_with_equal_weight():
    found = drawn_in_rounds(suite_of(3, 5), UntilConfig(samples_per_round=2), drawing([0.5] * 3, np.random.default_rng(0)), None)
    assert found.groupby("problem_id")["sample"].apply(list).to_list() == [[0, 1, 2, 3, 4]] * 3
    assert found["weight"].to_numpy() == pytest.approx(1 / 5)


def test_the_estimate_is_unbiased_where_the_mean_of_all_samples_is_not():
    rng = np.random.default_rng(1)
    ours, pooled = [], []
    for _ in range(60):
        found = drawn_in_rounds(suite_of(60, 4), ALL, drawing([0.9] * 60, rng), None)
        ours.append(per_problem(found).mean())
        pooled.append(found.groupby("problem_id")["correct"].mean().mean())
    error = np.std(ours) / len(ours) ** 0.5
    assert abs(np.mean(ours) - 0.9) < 3 * error
    assert abs(np.mean(pooled) - 0.9) > 4 * error


def test_a_suite_ends_with_the_round_that_makes_its_interval_narrow_enough():
    chances = np.linspace(0, 1, 100)
    before = drawn_in_rounds(suite_of(100, 2), UntilConfig(samples_per_round=2), drawing(chances, np.random.default_rng(2)), None)
    wide, narrow = (
        drawn_in_rounds(suite_of(100, 32), UntilConfig(half_width=width), drawing(chances, np.random.default_rng(3)), before)
        for width in (0.12, 0.065)
    )
    assert half_width(wide, before) <= 0.12 and set(wide["round"]) == {0}
    assert half_width(narrow, before) <= 0.065 and 0 < narrow["round"].max() < 15
    shorter = narrow[narrow["round"] < narrow["round"].max()]
    assert half_width(shorter.assign(weight=shorter["weight"] / shorter.groupby("problem_id")["weight"].transform("sum")), before) > 0.065


def test_samples_that_all_came_out_alike_are_no_certainty():
    found = drawn_in_rounds(suite_of(8, 2), UntilConfig(samples_per_round=2), drawing([1.0] * 8, np.random.default_rng(0)), None)
    assert half_width(found, None) > 0.05


def test_effective_samples_of_equal_weights_are_their_number():
    assert effective_samples([0.2, 0.6, 1.0], [1 / 8] * 3) == 8
    # Of two problems that vary alike, one measured ten times as closely: half the noise of the other, in the mean.
    assert effective_samples([0.5, 0.5], [0.5, 0.05]) == 3


def test_a_summary_weighs_each_problem_the_same():
    rows = pd.DataFrame({
        "problem_id": ["a"] * 4 + ["b"] * 2, "sample": [0, 1, 2, 3, 0, 1], "correct": [True, False, False, False, True, True],
        "weight": [1 / 2, 1 / 6, 1 / 6, 1 / 6, 1 / 2, 1 / 2], "tokens": [10, 40, 40, 40, 20, 20], "level": "easy",
        "truncated": False, "format": True, "language": 1.0, "right_unboxed": False, "context_full": False,
    })  # fmt: skip
    found = summarise(rows)
    assert (found["accuracy"], found["mean_tokens"], found["samples"], found["completions"]) == (0.75, 22.5, 2, 6)
