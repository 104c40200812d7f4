"""What the best of many measured values is worth: empirical Bayes."""

from collections.abc import Sequence
from statistics import median

FEWEST = 4  # values below which their spread says nothing


def shrunken(values: Sequence[float], noise: float) -> list[float]:
    """Each value's expectation, given all of them and the variance of their `noise`: drawn towards their median as far as their
    spread is noise (Efron & Morris 1975). Those above and those below it have a spread each, since a search crowds below a ceiling
    and leaves some far behind (`benchmarks/referee.py`: one spread for all leaves twice the bias there). Fewer than FEWEST values
    stay as they are.

    >>> [round(value, 2) for value in shrunken([-9.0, -1.0, 0.0, 1.0, 2.0], noise=0.5)]
    [-8.84, -0.98, 0.0, 0.7, 1.4]
    """
    if len(values) < FEWEST:
        return list(values)
    middle = median(values)
    above, below = (_kept([value - middle for value in values if sign * (value - middle) >= 0], noise) for sign in (1, -1))
    return [middle + (above if value > middle else below) * (value - middle) for value in values]


def _kept(deviations: Sequence[float], noise: float) -> float:
    """The share of their squares that is no noise."""
    spread = sum(deviation**2 for deviation in deviations) / len(deviations)
    return max(0.0, 1 - noise / spread) if spread else 0.0
