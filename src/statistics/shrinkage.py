"""What the best of many measured values is worth: empirical Bayes."""

from collections.abc import Sequence


def shrunken(values: Sequence[float], noise: float) -> list[float]:
    """Each value's expectation, given all of them and the variance of their `noise`: drawn towards their mean as far as their
    spread is noise (Efron & Morris 1975, with the positive part). Three values or fewer say nothing of that spread: as they are.

    >>> [round(value, 3) for value in shrunken([0.0, 1.0, 2.0, 3.0, 4.0], noise=1.25)]
    [0.5, 1.25, 2.0, 2.75, 3.5]
    """
    count = len(values)
    if count < 4:
        return list(values)
    mean = sum(values) / count
    spread = sum((value - mean) ** 2 for value in values) / (count - 1)
    share = min(1.0, (count - 3) / (count - 1) * noise / spread) if spread else 0.0
    return [value - share * (value - mean) for value in values]
