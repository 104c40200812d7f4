"""How well a law would fit and forecast were it exactly true: this study simulated under it, with the noise that it has.

What varies: which problems losses are measured on, the same for all runs; the samples of each; a run's level and slope, which
training seeds change; and its points one by one. Problems differ in difficulty so that answers to one of them vary as much as
they were seen to (a probit model; at half of the problems solved, arcsin(r) · 2/π is what problems have of all variance).

Shapes: P points, B simulated studies, S runs of a size, T points of a run, Q problems.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from scipy.special import ndtr, ndtri

from src.scaling.curves import Curve
from src.scaling.laws import Fit, LawFits, Points, moments_of

SIMULATED = 200  # studies
LEVEL = (2.5, 97.5)  # percentiles
SMALLEST_CEILING = 0.2  # of R²: with less, noise leaves hardly anything to have a share of


@dataclass(frozen=True)
class Noise:
    """What moves a loss besides the law. Variances are those of log L."""

    problems: int  # validated on; 0 where nobody knows, then samples are part of `step`
    samples: int
    within: float  # share of the variance of an answer that lies between samples of one problem
    run: tuple[float, float] = (0.0, 0.0)  # variance of a run's level and slope, on the columns of `_line`
    step: float = 0.0  # variance of a point, beyond that of its samples
    seen: float = 1.0  # of the variance that samples leave, what runs of one size are really apart by

    def of_samples(self, loss: np.ndarray) -> np.ndarray:
        """Variance of the logarithm of losses that samples leave, on given problems."""
        if not self.problems:
            return np.zeros_like(loss)
        return self.seen * self.within * (1 - loss) / (loss * self.problems * self.samples)


def noise_of(curves: Sequence[Curve], points: Points, residuals_P: np.ndarray) -> Noise:
    """As a study's samples show it, and its seeds: what runs of one size have in common is the law's, or what it lacks."""
    problems = max((len(c.solved_P) for c in curves if c.solved_P is not None), default=0)
    noise = Noise(problems, min((c.samples for c in curves if c.samples), default=0), _within(curves))
    runs, steps, freedoms = [], [], []
    for size in range(len(points.sizes_S)):
        here = points.size_P == size
        rows = [residuals_P[here & (points.run_P == run)] for run in np.unique(points.run_P[here])]
        length = min(map(len, rows))
        if len(rows) < 2 or length < 4:
            continue
        apart_ST = np.stack([row[:length] for row in rows])
        apart_ST -= apart_ST.mean(axis=0)
        line_S2 = apart_ST @ _line(length) / length
        rest_ST = apart_ST - line_S2 @ _line(length).T
        runs.append((line_S2**2).sum(axis=0))
        steps.append((rest_ST**2).sum() / (length - 2))
        freedoms.append(len(rows) - 1)
    if not freedoms:
        return noise
    step = sum(steps) / sum(freedoms)
    length = np.bincount(points.run_P).mean()
    run = np.maximum(sum(runs) / sum(freedoms) - step / length, 0)
    by_samples = float(noise.of_samples(np.exp(points.y_P)).mean())
    seen = min(1.0, float(step) / by_samples) if by_samples else 1.0
    return replace(noise, run=(float(run[0]), float(run[1])), step=max(step - by_samples, 0.0), seen=seen)


def _within(curves: Sequence[Curve]) -> float:
    """Of the variance of an answer, what lies between answers to one problem; all of it where each was answered once."""
    shares, weights = [], []
    known = sorted((c for c in curves if c.solved_P is not None), key=lambda c: c.size)
    for _, group in groupby(known, key=lambda c: c.size):
        members = list(group)
        solved_Q = np.mean([c.solved_P for c in members], axis=0)
        answers, total = len(members) * members[0].samples, float(solved_Q.mean() * (1 - solved_Q.mean()))
        if answers > 1 and total > 0:
            shares.append(float((solved_Q * (1 - solved_Q)).mean()) * answers / (answers - 1) / total)
            weights.append(total)
    return min(1.0, float(np.average(shares, weights=weights))) if shares else 1.0


def _line(length: int) -> np.ndarray:
    """Level and slope along a run as two columns at right angles, whose squares have a mean of 1; (T, 2)."""
    slope_T = np.linspace(-1, 1, length)
    return np.column_stack([np.ones(length), slope_T / (slope_T**2).mean() ** 0.5])


def simulated(law: LawFits, points: Points, noise: Noise, draws: int = SIMULATED) -> np.ndarray:
    """log L of studies in which the law is exactly true; (B, P)."""
    rng = np.random.default_rng(0)
    truth_P = np.exp(np.minimum(law.log_loss(points.x_P, points.size_P)[0], -1e-4))
    place_P2 = np.empty((len(points.x_P), 2))
    for run in np.unique(points.run_P):
        here = points.run_P == run
        place_P2[here] = _line(int(here.sum()))
    y_BP = np.empty((draws, len(truth_P)))
    for draw in range(draws):
        y_P = np.log(_measured(truth_P, noise, rng))
        y_P += noise.step**0.5 * rng.standard_normal(len(y_P))
        of_run_R2 = np.sqrt(noise.run) * rng.standard_normal((points.run_P.max() + 1, 2))
        y_BP[draw] = np.minimum(y_P + (place_P2 * of_run_R2[points.run_P]).sum(axis=1), 0.0)
    return y_BP


def _measured(loss_P: np.ndarray, noise: Noise, rng: np.random.Generator) -> np.ndarray:
    """Losses on problems drawn anew, by samples of each."""
    if not noise.problems:
        return loss_P
    correlation = min(float(np.sin(np.pi / 2 * (1 - noise.within))), 0.999)
    spread = (correlation / (1 - correlation)) ** 0.5
    difficulty_Q = spread * rng.standard_normal(noise.problems)
    ease_P = (1 + spread**2) ** 0.5 * ndtri(np.clip(1 - loss_P, 1e-6, 1 - 1e-6))
    chance_PQ = ndtr(ease_P[:, None] - difficulty_Q)
    variance_P = noise.seen * (chance_PQ * (1 - chance_PQ)).mean(axis=1) / (noise.problems * noise.samples)
    solved_P = chance_PQ.mean(axis=1) + np.sqrt(variance_P) * rng.standard_normal(len(loss_P))
    return np.clip(1 - solved_P, 0.5 / (noise.problems * noise.samples), 1.0)


def r2_pooled(points: Points, y_BP: np.ndarray, fit: Fit) -> np.ndarray:
    """R² over all points of fits to each study; (B,)."""
    residuals_BP = y_BP - fit(moments_of(points, y_BP), points.sizes_S).log_loss(points.x_P, points.size_P)
    return 1 - residuals_BP.var(axis=1) / y_BP.var(axis=1)


def share_of_ceiling(value: float | None, simulated_B: np.ndarray) -> dict[str, float | None]:
    """A value as a share of what it is where the law is exactly true, with the 95 % interval of how far it lies from that then
    (the basic bootstrap; Davison & Hinkley 1997, section 5.2). Without numbers where noise leaves nothing to have a share of."""
    ceiling = float(np.median(simulated_B))
    if value is None or ceiling < SMALLEST_CEILING:
        return {"value": None, "low": None, "high": None}
    below, above = np.percentile(simulated_B, LEVEL) - ceiling
    return {"value": value / ceiling, "low": float((value - above) / ceiling), "high": float((value - below) / ceiling)}
