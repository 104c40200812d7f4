"""How well one ranking agrees with another.

Shape: N things that are ranked.
"""

from collections.abc import Sequence

from src.statistics.intervals import Interval

FEWEST_RANKED = 4  # below, Fisher's transform has no standard error


def rank_correlation(one_N: Sequence[float], other_N: Sequence[float]) -> Interval | None:
    """Spearman's, with its 95 % interval: Fisher's transform with the standard error of Bonett and Wright (2000). None with
    fewer than FEWEST_RANKED, or where all values of one are equal.

    Two neighbours that change places move it by 12 / (N^3 - N). That of all in the same order is taken to lie half of that below
    1, so that a few which agree are no certainty."""
    import numpy as np
    from scipy.stats import spearmanr

    if (n := len(one_N)) < FEWEST_RANKED or np.ptp(one_N) == 0 or np.ptp(other_N) == 0:
        return None
    found = float(spearmanr(one_N, other_N).statistic)
    most = 1 - 6 / (n**3 - n)
    z = np.arctanh(np.clip(found, -most, most))
    half = 1.959964 * ((1 + found**2 / 2) / (n - 3)) ** 0.5
    return Interval(found, min(found, float(np.tanh(z - half))), max(found, float(np.tanh(z + half))))
