"""Intervals for accuracies, comparisons paired by problem, pass@k and majority@k; on scipy where it has them.

numpy and scipy are imported when something is worked out, so that the configuration can be validated without them.
"""

from src.statistics.comparisons import (
    FEWEST_SEEDS,
    POWER,
    Difference,
    compare,
    contrast,
    holm,
    mean_over_seeds,
    permutation_p_values,
)
from src.statistics.intervals import (
    RESAMPLES,
    Interval,
    bootstrap_mean,
    bootstrap_means,
    paired_gain,
    pooled_deviation,
    t_interval,
)
from src.statistics.samples import Votes, majority_at_k, pass_at_k

__all__ = [
    "FEWEST_SEEDS",
    "POWER",
    "RESAMPLES",
    "Difference",
    "Interval",
    "Votes",
    "bootstrap_mean",
    "bootstrap_means",
    "compare",
    "contrast",
    "holm",
    "majority_at_k",
    "mean_over_seeds",
    "paired_gain",
    "pass_at_k",
    "permutation_p_values",
    "pooled_deviation",
    "t_interval",
]
