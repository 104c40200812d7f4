"""Intervals and tests against values worked out by hand, scipy's own, and simulated truth."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.referee import KINDS, World, covered, family_error, piloted
from src.statistics import (
    Components,
    Design,
    Side,
    Votes,
    cheapest,
    contrast,
    corrected,
    detectable,
    detectable_by,
    difference,
    error_at_each_of,
    families,
    holm,
    majority_at_k,
    mean_of,
    pass_at_k,
    pooled_deviation,
    power,
    share_of,
    shrunken,
    steady_p_values,
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


def side(values_SP, first=0, **rest):
    """With seeds from `first` on."""
    values = np.atleast_2d(np.asarray(values_SP, float))
    return Side(values, tuple(range(first, first + len(values))), **rest)


SEEDS_ALONE = np.random.default_rng(0).random((6, 1))  # one problem: only seeds vary


def test_the_same_seeds_are_the_paired_t():
    a, b = SEEDS_ALONE, SEEDS_ALONE[::-1] ** 2
    found, expected = difference(side(a), side(b)), stats.ttest_rel(a[:, 0], b[:, 0])
    low, high = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.interval.low, found.interval.high, found.freedom) == pytest.approx((low, high, 5))


def test_the_order_of_seeds_does_not_matter():
    a, b = SEEDS_ALONE, SEEDS_ALONE**2
    turned = Side(b[::-1], tuple(range(6))[::-1])
    assert difference(side(a), turned).p == pytest.approx(difference(side(a), side(b)).p)


def test_other_seeds_are_welch_s_t():
    a, b = SEEDS_ALONE[:4], SEEDS_ALONE[4:] ** 2
    found = difference(side(a), side(b, first=10))
    assert found.p == pytest.approx(stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False).pvalue)


def test_a_side_with_one_seed_is_taken_to_spread_as_the_other():
    a, b = SEEDS_ALONE[:5], SEEDS_ALONE[5:] + 1
    found = difference(side(a), side(b, first=10))
    assert found.p == pytest.approx(stats.ttest_ind(a[:, 0], b[:, 0], equal_var=True).pvalue)
    assert found.seeds == 1


def test_one_seed_is_student_over_problems():
    values = np.random.default_rng(0).random(40) - 0.4
    found, expected = mean_of(side(values)), stats.ttest_1samp(values, 0)
    low, high = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high))
    assert contrast([side(values)]).p == pytest.approx(expected.pvalue)


def test_seeds_and_problems_are_the_crossed_analysis_of_variance():
    """Against the mean squares of statsmodels' two-way table."""
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    seeds, problems = 4, 12
    rng = np.random.default_rng(1)
    values = rng.normal(size=(seeds, problems)) + 2 * rng.normal(size=(seeds, 1)) + rng.normal(size=problems)
    rows = pd.DataFrame([(s, p, values[s, p]) for s in range(seeds) for p in range(problems)], columns=["seed", "problem", "y"])
    squares = anova_lm(ols("y ~ C(seed) + C(problem)", rows).fit())["mean_sq"] / values.size
    by_seed, by_problem, rest = squares["C(seed)"], squares["C(problem)"], squares["Residual"]
    found = contrast([side(values)])
    assert found.variance == pytest.approx(by_seed + by_problem - rest)
    assert (found.split.seeds, found.split.problems, found.split.samples) == pytest.approx((by_seed - rest, by_problem - rest, rest))
    share = by_seed / found.variance
    assert found.freedom == pytest.approx(1 / (share / (seeds - 1) + (1 - share) / (problems - 1)))


SAMPLES = np.random.default_rng(2).random((40, 4)) < np.random.default_rng(3).random((40, 1))  # problems x samples


def test_one_model_s_interval_is_that_of_standard_errors_clustered_by_problem():
    """Against statsmodels' clustered covariance, on the samples themselves."""
    from statsmodels.regression.linear_model import OLS

    fit = OLS(SAMPLES.ravel().astype(float), np.ones(SAMPLES.size)).fit(
        cov_type="cluster", cov_kwds={"groups": np.repeat(np.arange(40), 4)}, use_t=True
    )
    found = mean_of(side(SAMPLES.mean(axis=1)))
    assert (found.low, found.high) == pytest.approx(tuple(fit.conf_int()[0]))


def test_one_model_s_interval_is_inspect_ai_s():
    metrics = pytest.importorskip("inspect_ai.scorer", reason="inspect_ai brings 300 MB of packages that nothing else here uses")
    scores = [
        metrics.SampleScore(score=metrics.Score(value=float(value)), sample_id=f"{problem}", sample_metadata={"problem": problem})
        for problem, values in enumerate(SAMPLES) for value in values
    ]  # fmt: skip
    found, expected = mean_of(side(SAMPLES.mean(axis=1))), metrics.ci(cluster="problem")(scores)
    assert (found.low, found.high) == pytest.approx((expected["lower"], expected["upper"]))
    assert metrics.stderr(cluster="problem")(scores) == pytest.approx(contrast([side(SAMPLES.mean(axis=1))]).variance ** 0.5)


def test_two_models_on_the_same_problems_are_the_paired_t_over_problems():
    first, second = SAMPLES.mean(axis=1), SAMPLES[::-1].mean(axis=1)
    assert difference(side(first), side(second)).p == pytest.approx(stats.ttest_rel(first, second).pvalue)


def test_holm_and_equivalence_are_statsmodels():
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.weightstats import ttost_paired

    p_values = np.random.default_rng(0).random(12) ** 4
    assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1])
    a, b = SEEDS_ALONE[:, 0], SEEDS_ALONE[::-1, 0] ** 2
    margin = difference(side(SEEDS_ALONE), side(SEEDS_ALONE[::-1] ** 2)).equal_within
    assert ttost_paired(a, b, -margin, margin)[0] == pytest.approx(0.05)


def test_what_seeds_have_in_common_cancels_in_a_difference():
    """Planted: seeds move both recipes by 30 points, and one is better by 5."""
    rng = np.random.default_rng(0)
    common = 0.3 * rng.standard_normal((6, 1))
    first, second = (0.5 + gap + common + 0.02 * rng.standard_normal((6, 50)) for gap in (0.05, 0.0))
    assert difference(side(first), side(second)).p < 0.001
    assert difference(side(first), side(second, first=10)).p > 0.3
    changed = [side(first).times(0.5), side(second).times(-0.5), side(second + 0.05).times(0.5), side(second).times(-0.5)]
    assert contrast(changed).interval.low > 0  # a main effect over four cells


def test_suites_of_the_same_runs_share_seeds_and_not_problems():
    rng = np.random.default_rng(0)
    gains = 0.1 * rng.standard_normal((4, 1)) + rng.normal(0.1, 0.2, (4, 60))
    together = contrast([side(gains[:, :40], weight=0.5, problems="a"), side(gains[:, 40:], weight=0.5, problems="b")])
    assert together.mean == pytest.approx((gains[:, :40].mean() + gains[:, 40:].mean()) / 2)
    by_seed = (gains[:, :40].mean(axis=1) + gains[:, 40:].mean(axis=1)) / 2
    assert together.between_seeds.variance == pytest.approx(by_seed.var(ddof=1) / 4)
    assert len(together.by_problem) == 2


@pytest.mark.parametrize("values", [np.ones((3, 5)), np.zeros((1, 8))])
def test_equal_values_are_no_certainty(values):
    found = share_of(side(values, samples=2))
    assert found.high - found.low > 0.05 and 0 <= found.low <= found.high <= 1
    same = difference(side(values, samples=2), side(values, samples=2))
    assert same.mean == 0 and same.p == 1.0 and same.equal_within > 0.05


def test_a_margin_of_equality_is_that_of_two_one_sided_tests():
    a, b = SEEDS_ALONE, SEEDS_ALONE[::-1]
    margin = difference(side(a), side(b)).equal_within
    each = a[:, 0] - b[:, 0]
    tests = [stats.ttest_1samp(each, end, alternative=word).pvalue for end, word in ((margin, "less"), (-margin, "greater"))]
    assert max(tests) == pytest.approx(0.05)


def test_a_seed_needs_a_row():
    with pytest.raises(ValueError, match="a seed for each row"):
        contrast([Side(np.zeros((3, 4)), (0, 1))])


def test_two_of_many_differences_by_chance_are_no_finding():
    """Of 45 pairs of equal recipes some differ by p below 0.05; corrected, none does."""
    rng = np.random.default_rng(3)
    recipes = [side(rng.normal(0.5, 0.1, (3, 1)) + rng.normal(0, 0.05, (3, 40))) for _ in range(10)]
    found = [difference(a, b) for number, a in enumerate(recipes) for b in recipes[:number]]
    assert min(each.p for each in found) < 0.05 < min(corrected(found, steady_p_values(found, 9)))


def test_pairs_borrow_the_spread_of_all_and_one_pair_keeps_its_own():
    rng = np.random.default_rng(4)
    recipes = [side(rng.normal(0.5 + 0.3 * (number == 0), 0.02, (3, 1)) + np.zeros((3, 4))) for number in range(6)]
    found = [difference(a, b) for number, a in enumerate(recipes) for b in recipes[:number]]
    assert corrected(found[:1], steady_p_values(found[:1], 1)) == pytest.approx([found[0].p])
    assert sum(p < 0.05 for p in corrected(found, steady_p_values(found, 5))) == 5
    assert sum(p < 0.05 for p in holm([each.p for each in found])) < 5  # by the spread of three seeds each


def test_of_many_equal_recipes_none_wins_since_problems_happened_to_move_one_pair_little(monkeypatch):
    world, rng = World(seed=0, level=0, cell=0, problems=30, samples=32, seeds=3), np.random.default_rng(0)
    recipes = [world.sides(rng, 48) for _ in range(12)][-1]
    found = [difference(*pair) for pair in combinations(recipes, 2)]
    assert min(corrected(found, steady_p_values(found, 47))) > 0.05
    monkeypatch.setattr(families, "LEAST_OF_MEDIAN", 0)
    assert min(corrected(found, steady_p_values(found, 47))) < 0.05


def test_no_finding_of_many_is_surer_than_its_own_spread_allows():
    found = [difference(side(SEEDS_ALONE[:3] + 1), side(SEEDS_ALONE[3:] ** number)) for number in (1, 2, 3)]
    assert corrected(found, [1e-9, 1e-9, 0.2]) == pytest.approx([min(1, 3 * each.p) for each in found[:2]] + [max(0.2, min(1, 3 * found[2].p))])
    assert min(3 * each.p for each in found) < 1


def test_looks_take_pocock_s_share_of_the_error():
    assert [error_at_each_of(looks) for looks in (1, 2, 8)] == pytest.approx([0.05, 0.0294, 0.0120], abs=2e-4)
    with pytest.raises(ValueError, match="looks"):
        error_at_each_of(11)


def test_power_is_that_of_the_t_test():
    from statsmodels.stats.power import TTestPower

    many = 10**9  # problems: only seeds vary
    assert power(Components(seed=4.0, problem=0.0), Design(6, many, 1), 3.0) == pytest.approx(TTestPower().power(1.5, 6, 0.05), abs=1e-3)
    assert detectable(Components(4.0, 0.0), Design(6, many, 1)) == pytest.approx(2 * TTestPower().solve_power(None, 6, 0.05, 0.8), rel=1e-3)


def test_components_come_back_from_a_pilot():
    rng = np.random.default_rng(0)
    seeds, problems, samples = 200, 300, 4
    chances = 0.5 + 0.03 * rng.standard_normal((seeds, 1)) + 0.1 * rng.standard_normal(problems)
    chances = np.clip(chances + 0.05 * rng.standard_normal((seeds, problems)), 0, 1)
    measured = side(rng.binomial(samples, chances) / samples, samples=samples)
    base = Side(rng.binomial(samples, 0.5, problems) / samples, samples=samples)
    found = Components.of(difference(measured, base))
    assert (found.seed, found.cell) == pytest.approx((0.03**2, 0.05**2), rel=0.3)
    assert (found.sample, found.fixed) == pytest.approx((0.24, 0.25), rel=0.1) and found.problem == pytest.approx(0.01, rel=0.5)
    assert detectable_by(difference(measured, base)) == pytest.approx(detectable(found, Design(seeds, problems, samples)), rel=0.02)


@pytest.mark.parametrize(("components", "bought"), [(Components(0.0009, 0.0001), "seeds"), (Components(0.0, 0.04), "problems"), (Components(0, 0, 0, 0.25), "samples")])
def test_the_cheapest_study_buys_what_is_uncertain(components, bought):
    designs = [Design(s, p, n) for s in (3, 6, 12, 24) for p in (100, 400, 1600) for n in (1, 4, 16)]
    chosen = cheapest(components, 0.03, lambda d: d.seeds * (10 + 0.001 * d.problems * d.samples), designs)
    least = {"seeds": 3, "problems": 100, "samples": 1}
    assert power(components, chosen, 0.03) >= 0.8
    assert getattr(chosen, bought) > least[bought] or bought == "samples" and chosen.samples * chosen.problems > 100
    assert cheapest(components, 0.0001, lambda d: d.seeds, designs) is None


def test_t_interval_is_scipy_s():
    values = [1.0, 2.0, 4.0]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (t_interval(values).low, t_interval(values).high) == pytest.approx((low, high))


def test_three_equal_values_on_a_grid_are_no_certainty():
    found = t_interval([1.0, 1.0, 1.0], step=1 / 3)  # six pairs, all won
    assert found.high - 1 == pytest.approx(stats.t.ppf(0.975, 2) * (1 / 3) / 12**0.5 / 3**0.5)
    assert t_interval([1.0, 2.0, 4.0], step=0.1) == t_interval([1.0, 2.0, 4.0])


def test_pooled_deviation_by_hand():
    spread = pooled_deviation([[0.0, 1.0, 2.0], [5.0, 6.0, 7.0], [9.0]])  # two variances of 1, with 2 degrees of freedom each
    assert spread.mean == 1.0
    assert spread.low**2 == pytest.approx(4 / 11.143, rel=1e-3) and spread.high**2 == pytest.approx(4 / 0.4844, rel=1e-3)  # by table
    assert pooled_deviation([[0.0, 2.0], [5.0, 6.0, 7.0]]).mean ** 2 == pytest.approx((2 + 2) / 3)
    uneven = pooled_deviation([[0.0, 2.0, 4.0], [5.0, 5.0, 5.0]])  # one of them has all the spread: 2 degrees, not 4
    assert uneven.high**2 == pytest.approx(2 * 2 / 0.05064, rel=1e-3)
    with pytest.raises(ValueError):
        pooled_deviation([[1.0]])


def test_the_best_of_a_search_is_hardly_flattered_once_shrunk():
    """Planted: 20 true values with noise as large as their spread; the best measured one is 1.3 deviations too good."""
    rng = np.random.default_rng(0)
    flattered = []
    for _ in range(500):
        true = rng.standard_normal(20)
        measured = true + rng.standard_normal(20)
        best = int(measured.argmax())
        flattered.append((measured[best] - true[best], shrunken(measured.tolist(), 1.0)[best] - true[best]))
    own, left = np.mean(flattered, axis=0)
    assert own > 1.2 and abs(left) < 0.2
    assert shrunken([1.0, 1.0, 1.0, 1.0], 0.5) == [1.0] * 4 and shrunken([1.0, 2.0, 9.0], 1.0) == [1.0, 2.0, 9.0]


def test_the_promised_power_is_the_power_had():
    """The referee's table of it at toy size: the promise from a large pilot, and 600 studies."""
    for world, gap in ((World(2, 2, 2, 100, 4, 3), 10), (World(0, 0, 0, 60, 4, 6), 8)):
        rng = np.random.default_rng(1)
        pilot = piloted(replace(world, seeds=20, problems=500), rng, 2, 10)
        promised = power(pilot, Design(world.seeds, world.problems, world.samples), gap / 100)
        had = np.mean([difference(*world.sides(rng, 2, gap)).p < 0.05 for _ in range(600)])
        assert abs(promised - had) < 0.06 and 0.2 < had < 0.9  # of which 0.02 is what 600 studies leave


def test_intervals_hold_the_truth_and_equal_recipes_have_no_winner():
    """The referee at toy size; its tables are of thousands of studies."""
    world = World(seed=4, level=3, cell=2, problems=60, samples=2, seeds=3)
    for kind in ("difference, same seeds", "gain over the base", "difference, one seed on a side"):
        assert 0.92 <= covered(KINDS[kind], world, 400) <= 0.985
    assert family_error(world, recipes=9, trials=60) <= 0.1
