"""Comparisons paired by problem: the problem is the unit of resampling, and with several training seeds the seed is a
second one.

Shapes: P problems, S training seeds, N comparisons on the same problems, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from src.statistics.intervals import RESAMPLES, Interval, bootstrap_means

FEWEST_SEEDS = 3  # with fewer training seeds nothing is claimed of a recipe, only of the weights it gave
POWER = 0.8  # of the smallest detectable difference


@dataclass(frozen=True, slots=True)
class Difference:
    """First minus second on the same problems."""

    interval: Interval
    p: float  # two-sided
    detectable: float  # smallest true difference found with POWER at the 5 % level
    seeds: int  # of the side with fewer; a fixed set of weights does not count as a side
    problem_variance: float  # of the mean difference, what more problems or samples would lower
    seed_variance: float  # of the mean difference, what more seeds would lower


def permutation_p_values(differences_NP: Any, seed: int = 0) -> list[float]:
    """Two-sided p-values of N paired comparisons by random sign flips (what scipy.stats.permutation_test does with
    permutation_type="samples"), the same flips for all of them.

    Never below 1 / (R + 1) (Phipson & Smyth 2010).
    """
    import numpy as np

    differences = np.asarray(differences_NP, dtype=np.float32)
    rng = np.random.default_rng(seed)
    observed = np.abs(differences.sum(axis=1))
    as_extreme = np.zeros(len(differences), dtype=int)
    for _ in range(RESAMPLES // 1000):
        signs = rng.integers(0, 2, size=(1000, differences.shape[1]), dtype=np.int8).astype(np.float32) * 2 - 1
        # Sums of shares of a few samples lie far apart compared with this allowance for rounding.
        as_extreme += (np.abs(signs @ differences.T) >= observed - 1e-4).sum(axis=0)
    return [float(p) for p in (as_extreme + 1) / (RESAMPLES + 1)]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def compare(pairs: Sequence[tuple[Any, Any]], fixed_second: bool = False) -> list[Difference]:
    """Differences of mean accuracy of pairs of (S, P) arrays, all over the same P problems.

    One seed on each side: bootstrap interval and permutation p-value over problems, which speak of those weights.
    Several: both sources of spread enter, as `contrast` says. `fixed_second`: the second side is one fixed set of
    weights (a base model), which has no training seed.
    """
    import numpy as np

    arrays = [(np.atleast_2d(np.asarray(a, float)), np.atleast_2d(np.asarray(b, float))) for a, b in pairs]
    if not arrays:
        return []
    differences_NP = np.stack([first.mean(axis=0) - second.mean(axis=0) for first, second in arrays])
    intervals, p_values = bootstrap_means(differences_NP), permutation_p_values(differences_NP)
    results = []
    for (first, second), interval, p in zip(arrays, intervals, p_values, strict=True):
        crossed = contrast([(1.0, first), (-1.0, second)])
        seeds = len(first) if fixed_second else crossed.seeds
        single = len(first) == len(second) == 1
        results.append(replace(crossed, seeds=seeds, **({"interval": interval, "p": p} if single else {})))
    return results


def contrast(sides: Sequence[tuple[float, Any]]) -> Difference:
    """The sum of weighted mean accuracies of several (S, P) arrays over the same P problems, seeds crossed with problems.

    Two variances enter: that of the mean over problems, and that over seeds less what it owes to the problems' own
    spread. Each has its own Student's t, and the half-widths add up as squares: a common t underrates a handful of
    seeds, and a percentile bootstrap of them does so far more (see benchmarks/coverage.py).
    """
    import numpy as np

    arrays = [(weight, np.atleast_2d(np.asarray(side, float))) for weight, side in sides]
    sum_P = sum(weight * side.mean(axis=0) for weight, side in arrays)
    problems, mean, fewest = len(sum_P), float(sum_P.mean()), min(len(side) for _, side in arrays)
    problem = float(sum_P.var(ddof=1)) / problems if problems > 1 else 0.0
    by_seed = shared = squares = 0.0
    for weight, side in arrays:
        if len(side) > 1 and problems > 1:
            own = weight**2 * float(side.mean(axis=1).var(ddof=1)) / len(side)
            rest = side - side.mean(axis=1, keepdims=True) - side.mean(axis=0) + side.mean()
            shared += weight**2 * float((rest**2).sum()) / ((len(side) - 1) * (problems - 1) * side.size)
            by_seed, squares = by_seed + own, squares + own**2 / (len(side) - 1)
    seed = max(by_seed - shared, 0.0)
    parts = [(problem, problems - 1)] + ([(seed, by_seed**2 / squares)] if seed > 1e-15 else [])  # Satterthwaite's
    half = _half_width(0.025, parts)
    detectable = (
        sum((_quantile(0.025, freedom) + _quantile(1 - POWER, freedom)) ** 2 * part for part, freedom in parts) ** 0.5
    )
    interval = Interval(mean, mean - half, mean + half)
    return Difference(interval, _p_value(abs(mean), parts), detectable, fewest, problem, seed)


def _quantile(tail: float, freedom: float) -> float:
    from scipy.stats import t

    return float(t.isf(tail, freedom)) if freedom > 0 else 0.0


def _half_width(tail: float, parts: Sequence[tuple[float, float]]) -> float:
    return sum(_quantile(tail, freedom) ** 2 * variance for variance, freedom in parts) ** 0.5


def _p_value(distance: float, parts: Sequence[tuple[float, float]]) -> float:
    """Two-sided: the level at which the interval just reaches zero."""
    from scipy.optimize import brentq

    if distance < 1e-12:
        return 1.0
    smallest = 1e-12
    if _half_width(smallest, parts) <= distance:
        return 2 * smallest
    return 2 * float(brentq(lambda tail: _half_width(tail, parts) - distance, smallest, 0.5, xtol=1e-12))


def mean_over_seeds(accuracy_SP: Any) -> Interval:
    """Mean accuracy of S seeds on P problems; with one seed the bootstrap over problems."""
    import numpy as np

    values = np.atleast_2d(np.asarray(accuracy_SP, float))
    if len(values) == 1:
        return bootstrap_means(values)[0]
    interval = contrast([(1.0, values)]).interval
    return Interval(interval.mean, max(0.0, interval.low), min(1.0, interval.high))
