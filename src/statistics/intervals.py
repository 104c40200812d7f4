"""Intervals for a mean, with the problem as the unit of resampling.

Shape: P problems.
"""

from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval, in the unit of the values it came from."""

    mean: float
    low: float
    high: float


def bootstrap_mean(values_P: Sequence[float]) -> Interval:
    """Mean over P problems with a 95 % percentile-bootstrap interval (Efron & Tibshirani 1993, chapter 13).

    `values_P` holds one value per problem, already averaged over that problem's samples.
    Raises ValueError without values. With one problem, or equal values, the interval has no width.
    """
    import numpy as np
    from scipy.stats import bootstrap

    values = np.asarray(values_P, dtype=float)
    if values.size == 0:
        raise ValueError("no values to average")
    mean = float(values.mean())
    if values.size == 1 or np.ptp(values) == 0:
        return Interval(mean, mean, mean)
    result = bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    return Interval(mean, float(result.confidence_interval.low), float(result.confidence_interval.high))


def paired_gain(before_P: Sequence[float], after_P: Sequence[float]) -> Interval:
    """Mean change over the same P problems, with the interval of the paired differences.

    Raises ValueError if the two do not hold the same number of problems.
    """
    if len(before_P) != len(after_P):
        raise ValueError(f"{len(before_P)} problems before, {len(after_P)} after: not paired")
    return bootstrap_mean([after - before for before, after in zip(before_P, after_P, strict=True)])


def pooled_deviation(groups: Sequence[Sequence[float]]) -> Interval:
    """Standard deviation within groups of independent normal values, by their pooled variance, with the 95 % interval of
    the chi-squared distribution. Its degrees of freedom are Satterthwaite's (1946): fewer where groups spread differently.
    Raises ValueError where no group has two values."""
    import numpy as np
    from scipy.special import gammaincinv  # scipy.stats takes a second to import

    arrays = [array for values in groups if (array := np.asarray(values, float)).size > 1]
    if not arrays:
        raise ValueError("no group has two values")
    sums = [float(((array - array.mean()) ** 2).sum()) for array in arrays]
    pooled = sum(sums) / sum(array.size - 1 for array in arrays)
    if pooled == 0:
        return Interval(0.0, 0.0, 0.0)
    freedom = sum(sums) ** 2 / sum(each**2 / (array.size - 1) for each, array in zip(sums, arrays, strict=True))
    low, high = (pooled * freedom / (2 * gammaincinv(freedom / 2, tail)) for tail in (0.975, 0.025))
    return Interval(pooled**0.5, float(low**0.5), float(high**0.5))


def t_interval(values: Sequence[float], step: float = 0.0) -> Interval:
    """Mean of independent values, such as one per seed, with Student's 95 % interval; without width for one value.

    Values that can only lie a `step` apart, such as shares of a few pairs, deviate by at least what rounding to it adds,
    step / sqrt(12) (Sheppard 1898): that three of them are equal is no certainty."""
    import numpy as np
    from scipy.special import stdtrit

    array = np.asarray(values, float)
    mean = float(array.mean())
    if array.size < 2:
        return Interval(mean, mean, mean)
    half = float(stdtrit(array.size - 1, 0.975) * max(array.std(ddof=1), step / 12**0.5) / np.sqrt(array.size))
    return Interval(mean, mean - half, mean + half)
