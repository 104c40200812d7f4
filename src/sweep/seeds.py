"""Several seeds of one configuration: their spread, and whether the seeds that are left can still change the verdict."""

import math
import statistics
from collections.abc import Sequence

SEED = "seed"  # the key
CONFIDENCE = 0.975  # one side of a 95 % interval


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation between seeds; None for a single one."""
    return statistics.stdev(values) if len(values) > 1 else None


def surely_out(values: Sequence[float], others: Sequence[Sequence[float]], maximise: bool) -> str | None:
    """Why a configuration with these `values` of its first seeds cannot catch up with the best of `others`, or None.

    `others` are the values by seed of the configurations that are finished. The spread between seeds is pooled over
    all of them, since a single configuration has too few seeds for one of its own; with it, the difference to the
    best one's mean gets a 95 % interval (Student's t). The configuration is out when all of it is on the wrong side.
    """
    several = [seeds for seeds in others if len(seeds) > 1]
    if not several or not values:
        return None
    freedom = sum(len(seeds) - 1 for seeds in several)
    pooled = sum((len(seeds) - 1) * statistics.variance(seeds) for seeds in several) / freedom
    sign = 1 if maximise else -1
    best = max(several, key=lambda seeds: sign * statistics.fmean(seeds))
    behind = sign * (statistics.fmean(best) - statistics.fmean(values))
    from scipy.stats import t

    margin = float(t.ppf(CONFIDENCE, freedom)) * math.sqrt(pooled * (1 / len(values) + 1 / len(best)))
    if behind <= margin:
        return None
    return f"surely out after {len(values)} seeds: {behind:.4g} behind the best, more than the {margin:.4g} that seeds explain"
