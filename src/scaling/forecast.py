"""Forecasts, scored on points that the fit has not seen: later steps of the same runs, or the largest size.

`refitted E` moves the forecast by the mean residual of the held-out points themselves: the study's released procedure
for the largest size. Its score is then of the slope alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from src.scaling.bootstrap import interval, resamples
from src.scaling.curves import AXES, FEWEST_SIZES, Study
from src.scaling.fitted import r2
from src.scaling.laws import Fit, LawFits, Points, fit_free, fit_saturating, fit_saturating_all, moments, moments_of, points_of

FRACTIONS = (0.25, 0.4)  # of a run's points; the study: 25 of 105 (base), about 40 (instruct)
WITHIN, ACROSS = "within a run", "to the largest size"
FEWEST_TO_FIT = 3  # points of a run; two would fit any noise


@dataclass(frozen=True)
class Forecast:
    """Log losses forecast for held-out points, by the fit and by B fits of resamples."""

    kind: str  # WITHIN or ACROSS
    law: str
    axis: str
    seen: str  # what was fitted, in words
    held_out: Points
    log_loss_BP: np.ndarray  # (1 + B, P), the fit itself first
    fraction: float = 1.0  # of each run that was fitted

    def refitted(self) -> np.ndarray:
        """The same with E of each size from the held-out points themselves."""
        shifted = self.log_loss_BP.copy()
        for size in np.unique(self.held_out.size_P):
            here = self.held_out.size_P == size
            shifted[:, here] += (self.held_out.y_P[here] - shifted[:, here]).mean(axis=1, keepdims=True)
        return shifted


_FITS: dict[str, Fit] = {"saturating": fit_saturating_all, "free": fit_free}


def forecasts(study: Study, draws: int) -> tuple[list[Forecast], list[str]]:
    """All forecasts that the study allows, and why others are not made."""
    made, notes = [], []
    for axis in AXES if study.curves else ():
        points = points_of(study.curves, axis)
        laws = ("saturating", "free") if len(points.sizes_S) >= FEWEST_SIZES else ("free",)
        for fraction in FRACTIONS:
            early_P = _early(points, fraction)
            if np.bincount(points.run_P[early_P], minlength=points.run_P.max() + 1).min() < FEWEST_TO_FIT:
                notes.append(f"{fraction:.0%} of a run is fewer than {FEWEST_TO_FIT} points: no forecast from it")
                continue
            made += [within(points, axis, law, fraction, draws) for law in laws]
        if len(points.sizes_S) > FEWEST_SIZES:
            made.append(across(points, axis, draws))
        else:
            notes.append("a forecast to the largest size takes at least three sizes")
    return made, list(dict.fromkeys(notes))


def _early(points: Points, fraction: float) -> np.ndarray:
    """The first points of each run, whole numbers of them rounded up."""
    last_B = np.bincount(points.run_P)  # points of each run
    rank_P = np.round(points.place_P * (last_B[points.run_P] - 1)) + 1
    return rank_P <= np.ceil(fraction * last_B[points.run_P] - 1e-9)


def within(points: Points, axis: str, law: str, fraction: float, draws: int) -> Forecast:
    """From the first points of every run, the others."""
    early_P = _early(points, fraction)
    seen, rest = points.where(early_P), points.where(~early_P)
    both = [_fit(law, seen, None), _fit(law, seen, resamples(seen, draws))]
    log_loss = np.concatenate([fits.log_loss(rest.x_P, rest.size_P) for fits in both])
    return Forecast(WITHIN, law, axis, f"the first {fraction:.0%} of each run", rest, log_loss, fraction)


def _fit(law: str, points: Points, counts_BP: np.ndarray | None) -> LawFits:
    sums = moments(points, counts_BP)
    if law == "free":
        return fit_free(sums, points.sizes_S)
    return (fit_saturating if counts_BP is None else fit_saturating_all)(sums, points.sizes_S)


def across(points: Points, axis: str, draws: int) -> Forecast:
    """The largest size from all others: k by K_max and N0, E by a straight line over log N."""
    largest = len(points.sizes_S) - 1
    known_S = np.arange(largest + 1) < largest
    seen, rest = points.of_sizes(known_S), points.where(points.size_P == largest)
    both = [_fit("saturating", seen, None), _fit("saturating", seen, resamples(seen, draws))]
    size = points.sizes_S[largest]
    log_loss = [
        _extended(fits.e_BS, seen.sizes_S, size)[:, None] - fits.k_of(size)[:, None] * rest.x_P for fits in both
    ]
    return Forecast(ACROSS, "saturating", axis, "all smaller sizes", rest, np.concatenate(log_loss))


def _extended(e_BS: np.ndarray, sizes_S: np.ndarray, size: float) -> np.ndarray:
    """E at another size, by least squares over log N; (B,)."""
    centred = np.log(sizes_S) - np.log(sizes_S).mean()
    slope = e_BS @ centred / (centred**2).sum()
    return e_BS.mean(axis=1) + slope * (np.log(size) - np.log(sizes_S).mean())


def r2_simulated(forecast: Forecast, points: Points, y_BP: np.ndarray) -> np.ndarray:
    """Held-out R², the mean over sizes, of the same forecast in each of B studies with the same `points` and log losses of
    their own; (B,). To the largest size with its E refitted, as published."""
    if forecast.kind == WITHIN:
        early_P = _early(points, forecast.fraction)
        fits = _FITS[forecast.law](moments_of(points.where(early_P), y_BP[:, early_P]), points.sizes_S)
        rest, held_BP = forecast.held_out, y_BP[:, ~early_P]
        ahead_BP = fits.log_loss(rest.x_P, rest.size_P)
        sizes = [rest.size_P == size for size in np.unique(rest.size_P)]
        return np.mean([_r2_by_row(held_BP[:, here], ahead_BP[:, here]) for here in sizes], axis=0)
    largest = len(points.sizes_S) - 1
    seen_P = points.size_P < largest
    seen = points.of_sizes(np.arange(largest + 1) < largest)
    fits = fit_saturating_all(moments_of(seen, y_BP[:, seen_P]), seen.sizes_S)
    held_BP, slope_B = y_BP[:, ~seen_P], fits.k_of(points.sizes_S[largest])
    ahead_BP = -slope_B[:, None] * forecast.held_out.x_P
    return _r2_by_row(held_BP, ahead_BP + (held_BP - ahead_BP).mean(axis=1, keepdims=True))


def _r2_by_row(y_BP: np.ndarray, ahead_BP: np.ndarray) -> np.ndarray:
    total_B = ((y_BP - y_BP.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    return 1 - ((y_BP - ahead_BP) ** 2).sum(axis=1) / np.maximum(total_B, 1e-12)


def scored(study: Study, forecast: Forecast) -> list[dict[str, Any]]:
    """The forecast's scores for results.json, as it is and with E refitted."""
    return [
        _score(study, forecast, values, refit_e)
        for refit_e, values in ((False, forecast.log_loss_BP), (True, forecast.refitted()))
    ]


def _score(study: Study, forecast: Forecast, log_loss_BP: np.ndarray, refit_e: bool) -> dict[str, Any]:
    held = forecast.held_out
    sizes = []
    for size in np.unique(held.size_P):
        here = held.size_P == size
        y_P, values_BP = held.y_P[here], log_loss_BP[:, here]
        error_B = np.abs(np.exp(values_BP - y_P) - 1).mean(axis=1)
        end = here.nonzero()[0][held.x_P[here] >= held.x_P[here].max() * (1 - 1e-12)]
        sizes.append(
            {
                "parameters": int(held.sizes_S[size]),
                "points": int(here.sum()),
                "r2": interval(*_ends(_r2_of(y_P, values_BP))),
                "relative_error": interval(error_B[0], error_B[1:]),
                "last_loss": interval(*_ends(np.exp(log_loss_BP[:, end].mean(axis=1)))),
                "last_loss_measured": float(np.exp(held.y_P[end].mean())),
            }
        )
    by_size = [_r2_of(held.y_P[held.size_P == s], log_loss_BP[:, held.size_P == s]) for s in np.unique(held.size_P)]
    return {
        "study": study.name, "kind": forecast.kind, "x": forecast.axis, "law": forecast.law, "seen": forecast.seen,
        "refitted_e": refit_e, "sizes": sizes, "r2": interval(*_ends(np.mean(by_size, axis=0))),
        "r2_pooled_over_sizes": r2(held.y_P, held.y_P - log_loss_BP[0]),
    }


def _r2_of(y_P: np.ndarray, values_BP: np.ndarray) -> np.ndarray:
    """R² of one size's held-out points by the fit and its resamples; NaN where they do not vary."""
    total = ((y_P - y_P.mean()) ** 2).sum()
    return 1 - ((y_P - values_BP) ** 2).sum(axis=1) / total if total > 1e-12 else np.full(len(values_BP), np.nan)


def _ends(values_B: np.ndarray) -> tuple[float, np.ndarray]:
    return float(values_B[0]), values_B[1:]


def width_of_last_loss(study: Study, axis: str, at: float, draws: int = 300) -> dict[str, dict[str, float | None]]:
    """For each size, the loss that the law forecasts at `at` compute or data, with its interval."""
    points = points_of(study.curves, axis)
    law = "saturating" if len(points.sizes_S) >= FEWEST_SIZES else "free"
    both = [_fit(law, points, None), _fit(law, points, resamples(points, draws))]
    size_S = np.arange(len(points.sizes_S))
    x_S = np.full(len(size_S), np.log(at))
    values = np.exp(np.concatenate([fits.log_loss(x_S, size_S) for fits in both]))
    return {str(int(size)): interval(*_ends(values[:, place])) for place, size in enumerate(points.sizes_S)}
