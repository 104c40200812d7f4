"""Intervals and comparisons over seeds and problems, families of them, power, pass@k and majority@k; on scipy where it has them.

numpy and scipy are imported when something is worked out, so that the configuration can be validated without them.
"""

from src.statistics.comparisons import (
    ERROR,
    FEWEST_SEEDS,
    Design,
    Difference,
    Side,
    Source,
    contrast,
    difference,
    mean_of,
    share_of,
)
from src.statistics.families import MOST_LOOKS, corrected, error_at_each_of, holm, steady_p_values
from src.statistics.intervals import Interval, bootstrap_mean, paired_gain, pooled_deviation, t_interval
from src.statistics.power import POWER, Components, cheapest, detectable, detectable_by, power
from src.statistics.ranks import rank_correlation
from src.statistics.samples import Votes, effective_samples, majority_at_k, pass_at_k
from src.statistics.shrinkage import shrunken

__all__ = [
    "ERROR",
    "FEWEST_SEEDS",
    "MOST_LOOKS",
    "POWER",
    "Components",
    "Design",
    "Difference",
    "Interval",
    "Side",
    "Source",
    "Votes",
    "bootstrap_mean",
    "cheapest",
    "contrast",
    "corrected",
    "detectable",
    "detectable_by",
    "difference",
    "effective_samples",
    "error_at_each_of",
    "holm",
    "majority_at_k",
    "mean_of",
    "paired_gain",
    "pass_at_k",
    "pooled_deviation",
    "power",
    "rank_correlation",
    "share_of",
    "shrunken",
    "steady_p_values",
    "t_interval",
]
