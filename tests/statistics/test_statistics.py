"""Intervals and tests against values worked out by hand, scipy's own, and simulated truth."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.coverage import accuracy_coverage, gain_coverage
from src.statistics import (
    Votes,
    bootstrap_mean,
    bootstrap_means,
    compare,
    contrast,
    holm,
    majority_at_k,
    mean_over_seeds,
    pass_at_k,
    permutation_p_values,
    pooled_deviation,
    t_interval,
)


@pytest.mark.parametrize(
    ("correct", "samples", "k", "chance"),
    [(0, 4, 1, 0.0), (1, 4, 1, 0.25), (1, 4, 2, 0.5), (2, 4, 2, 5 / 6), (2, 4, 3, 1.0), (4, 4, 4, 1.0)],
)
def test_pass_at_k(correct, samples, k, chance):
    assert pass_at_k(correct, samples, k) == pytest.approx(chance)


def test_pass_at_k_needs_enough_samples():
    with pytest.raises(ValueError, match="pass@5"):
        pass_at_k(1, 4, 5)


@pytest.mark.parametrize(
    ("correct", "wrong", "samples", "k", "chance"),
    [
        (1, (2,), 3, 3, 0.0),
        (2, (1,), 3, 3, 1.0),
        (1, (1,), 2, 2, 0.5),
        (2, (2,), 4, 4, 0.5),
        (1, (), 3, 3, 1.0),  # no answer is no vote
        (0, (), 2, 2, 0.0),
        (3, (2,), 5, 1, 0.6),  # one sample: the accuracy
        (2, (1,), 3, 2, 2 / 3),  # both right, or right and wrong tied, twice: (1 + 1/2 + 1/2) / 3
        (2, (1, 1), 4, 3, 1.0 * 2 / 4 + 1 / 3 * 2 / 4),  # two right in two of four draws, else three answers tied
        (1, (1,), 4, 2, (1 / 2 + 2) / 6),  # two samples without an answer
    ],
)
def test_majority_at_k(correct, wrong, samples, k, chance):
    assert majority_at_k(Votes(correct, wrong), samples, k) == pytest.approx(chance)


def test_majority_of_many_samples_is_close_to_all_draws():
    votes = Votes(6, (5, 3, 1))
    every = majority_at_k.__wrapped__(votes, 16, 4)  # 1,820 draws: all of them
    shifted = majority_at_k.__wrapped__(Votes(12, (10, 6, 2)), 32, 8)  # 10,518,300: some of them
    assert every < shifted < every + 0.15 and majority_at_k(votes, 16, 4) == every


def test_majority_needs_enough_samples():
    with pytest.raises(ValueError, match="majority@5"):
        majority_at_k(Votes(1), 4, 5)


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_shared_resamples_give_the_interval_of_scipy():
    values = np.random.default_rng(3).random(80)
    one, many = bootstrap_mean(values.tolist()), bootstrap_means(values[None])[0]
    assert many.mean == pytest.approx(one.mean)
    assert (many.low, many.high) == pytest.approx((one.low, one.high), abs=0.004)


def test_permutation_agrees_with_scipy():
    differences = np.array([0.5, 0.5, 0, -0.5, 1, 0.5, 0.5, -0.5, 1, 0.5])
    exact = stats.permutation_test(
        (differences, np.zeros(10)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert permutation_p_values(differences[None])[0] == pytest.approx(exact.pvalue, abs=0.015)
    assert permutation_p_values(np.zeros((1, 10))) == [1.0]


def test_seeds_enter_the_interval():
    # Problems alike, two seeds at 0 and 1: variance 0.5 / 2 = 0.25, one degree of freedom.
    found = contrast([(1.0, [[0.0, 0.0], [1.0, 1.0]])])
    assert found.interval.mean == 0.5
    assert found.interval.high - found.interval.mean == pytest.approx(stats.t.ppf(0.975, 1) * 0.5)
    assert (found.problem_variance, found.seed_variance) == (0.0, 0.25)


def test_one_seed_is_student_over_problems():
    values = np.random.default_rng(0).random(40) - 0.4
    found = contrast([(1.0, values)])
    expected = stats.ttest_1samp(values, 0)
    interval = expected.confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(expected.pvalue)
    assert found.detectable == pytest.approx((stats.t.ppf(0.975, 39) + stats.t.ppf(0.8, 39)) * stats.sem(values))


def test_single_seeds_are_compared_by_bootstrap_and_permutation():
    first, second = np.array([1.0] * 9 + [0.0]), np.array([0.0] * 10)
    found = compare([(first, second)])[0]
    assert found.interval == bootstrap_means((first - second)[None])[0]
    assert found.p == permutation_p_values((first - second)[None])[0] < 0.01
    assert found.seeds == 1


def test_nothing_measured_differs_from_itself():
    values = np.random.default_rng(0).random((3, 20))
    found = compare([(values, values)])[0]
    assert found.interval.mean == 0 and found.p > 0.9
    assert mean_over_seeds(np.ones((3, 5))).low == 1.0


def test_t_interval_is_scipy_s():
    values = [1.0, 2.0, 4.0]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (t_interval(values).low, t_interval(values).high) == pytest.approx((low, high))


def test_pooled_deviation_by_hand():
    spread = pooled_deviation([[0.0, 1.0, 2.0], [5.0, 6.0, 7.0], [9.0]])  # two variances of 1, with 2 degrees of freedom each
    assert spread.mean == 1.0
    assert spread.low**2 == pytest.approx(4 / 11.143, rel=1e-3) and spread.high**2 == pytest.approx(4 / 0.4844, rel=1e-3)  # by table
    assert pooled_deviation([[0.0, 2.0], [5.0, 6.0, 7.0]]).mean ** 2 == pytest.approx((2 + 2) / 3)
    uneven = pooled_deviation([[0.0, 2.0, 4.0], [5.0, 5.0, 5.0]])  # one of them has all the spread: 2 degrees, not 4
    assert uneven.high**2 == pytest.approx(2 * 2 / 0.05064, rel=1e-3)
    with pytest.raises(ValueError):
        pooled_deviation([[1.0]])


def test_intervals_hold_the_truth():
    assert 0.92 <= accuracy_coverage(500, 100, 2, 0) <= 0.98
    ours, percentile = gain_coverage(400, 60, 2, 3, 0.8)
    assert 0.92 <= ours <= 0.98
    assert percentile < 0.88  # a percentile bootstrap of three seeds is too narrow
