"""Resamples over seeds and points, and the intervals they give.

A resample draws runs of each size, then points within each drawn run. Runs are drawn as Hesterberg (2004, Proc. ASA
Section on Statistics and the Environment) has it for few of them: one is left out at random, the others are drawn from;
otherwise three seeds would look a third less spread than they are. A size with one run has only its points to draw from.
"""

from typing import Any

import numpy as np

from src.scaling.laws import Points

LEVEL = (2.5, 97.5)  # percentiles of a 95 % interval


def resamples(points: Points, draws: int, seed: int = 0) -> np.ndarray:
    """How often each point stands in each resample; (B, P), B = draws."""
    rng = np.random.default_rng(seed)
    counts_BP = np.zeros((draws, len(points.x_P)), dtype=np.int32)
    for size in range(len(points.sizes_S)):
        runs = np.unique(points.run_P[points.size_P == size])
        for run, times_B in zip(runs, _runs_drawn(len(runs), draws, rng), strict=True):
            places = np.flatnonzero(points.run_P == run)
            counts_BP[:, places] = rng.multinomial(times_B * len(places), np.full(len(places), 1 / len(places)))
    return counts_BP


def _runs_drawn(runs: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each run is drawn; (runs, B), adding up to `runs` in each resample."""
    if runs == 1:
        return np.ones((1, draws), dtype=int)
    share_BR = np.full((draws, runs), 1 / (runs - 1))
    share_BR[np.arange(draws), rng.integers(runs, size=draws)] = 0
    return rng.multinomial(runs, share_BR).T


def interval(value: Any, values_B: np.ndarray) -> dict[str, float | None]:
    """`value` with the 95 % interval of its resamples; ends that are not finite are None."""
    low, high = np.nanpercentile(values_B, LEVEL) if np.isfinite(values_B).any() else (np.nan, np.nan)
    return {name: float(v) if np.isfinite(v) else None for name, v in (("value", value), ("low", low), ("high", high))}
