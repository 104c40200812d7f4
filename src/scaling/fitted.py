"""What a study's curves say of the laws: parameters with intervals, how well each law fits, and which the data prefer."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from src.scaling.bootstrap import interval, resamples
from src.scaling.curves import AXES, FEWEST_SIZES, Study
from src.scaling.laws import (
    LawFits,
    Points,
    fit_free,
    fit_irreducible,
    fit_saturating,
    fit_saturating_all,
    moments,
    n0_bounds,
    points_of,
)

NESTED_DRAWS = 200  # of the law with an irreducible loss, each of them a search of its own
STRONG = 6.0  # difference in BIC that counts as strong evidence (Kass and Raftery 1995)
TWO_SIDED = 1.96
# Pairs that are compared, the one with fewer parameters first.
PAIRS = (("saturating", "free"), ("saturating", "irreducible"))


@dataclass(frozen=True)
class Fitted:
    """A law on a study's points: the fit, and fits of resamples."""

    study: Study
    axis: str
    points: Points
    best: LawFits
    resampled: LawFits
    draws: int

    @property
    def law(self) -> str:
        return self.best.law

    @property
    def residuals_P(self) -> np.ndarray:
        return self.points.y_P - self.best.log_loss(self.points.x_P, self.points.size_P)[0]


def fit_laws(study: Study, axis: str, draws: int) -> list[Fitted]:
    """Every law that the study's curves allow: with one size only k of that size. Empty without curves."""
    if not study.curves:
        return []
    found = fit_linear(study, axis, draws)
    if len(study.sizes) < FEWEST_SIZES:
        return found
    points, best = found[0].points, found[0].best
    floored = fit_irreducible(points, np.ones(len(points.x_P)), best)
    # From the whole fit's own loss and from half of it: a resample's best is near one of them.
    floors = (floored.floor_B[0], floored.floor_B[0] / 2)
    every = [fit_irreducible(points, counts, best, floors) for counts in resamples(points, draws)[:NESTED_DRAWS]]
    return [*found, Fitted(study, axis, points, floored, _stacked(every), draws)]


def fit_linear(study: Study, axis: str, draws: int) -> list[Fitted]:
    """The laws that are linear given N0, quickly fitted: the saturating one, where there are sizes for it, and the free one."""
    points = points_of(study.curves, axis)
    sums, sums_B = moments(points), moments(points, resamples(points, draws))
    sizes = points.sizes_S
    free = Fitted(study, axis, points, fit_free(sums, sizes), fit_free(sums_B, sizes), draws)
    if len(sizes) < FEWEST_SIZES:
        return [free]
    return [Fitted(study, axis, points, fit_saturating(sums, sizes), fit_saturating_all(sums_B, sizes), draws), free]


def _stacked(fits: list[LawFits]) -> LawFits:
    parts = {
        name: np.concatenate([getattr(fit, name) for fit in fits])
        for name in ("k_BS", "e_BS", "k_max_B", "n0_B", "floor_B")
    }
    return LawFits(fits[0].law, fits[0].sizes_S, **parts)


def described(fitted: Fitted) -> dict[str, Any]:
    """The law's parameters and fit for results.json: each with `value`, `low` and `high` of a 95 % interval."""
    best, drawn = fitted.best, fitted.resampled
    result: dict[str, Any] = {"study": fitted.study.name, "x": fitted.axis, "law": fitted.law}
    for name in ("k_max", "n0", "floor"):
        if (value := getattr(best, f"{name}_B")) is not None:
            result[name] = interval(value[0], getattr(drawn, f"{name}_B"))
    if best.n0_B is not None:
        result["n0"] |= {"at_bound": _bounded(result["n0"], best.sizes_S)}
    result["r2_pooled"] = r2(fitted.points.y_P, fitted.residuals_P)
    result["r2"] = interval(result["r2_pooled"] if result["r2_pooled"] is not None else np.nan, _r2_of_resamples(fitted))
    result["bic"] = bic(fitted)
    result["notes"] = at_bounds(best)
    result["sizes"] = [
        {
            "parameters": int(size),
            "runs": len(np.unique(fitted.points.run_P[fitted.points.size_P == place])),
            "points": int((fitted.points.size_P == place).sum()),
            "k": interval(best.k_BS[0, place], drawn.k_BS[:, place]),
            "e": interval(best.e_BS[0, place], drawn.e_BS[:, place]),
            "r2": r2(*(values[fitted.points.size_P == place] for values in (fitted.points.y_P, fitted.residuals_P))),
        }
        for place, size in enumerate(best.sizes_S)
    ]
    return result


def paired(found: list[Fitted]) -> list[dict[str, Any]]:
    """K_max from compute less K_max from data, on the same losses: both laws are fitted to the same resamples of them, since
    these depend on runs and points alone."""
    by_axis = {fitted.axis: fitted for fitted in found if fitted.law == "saturating"}
    if len(by_axis) < 2:
        return []
    compute, data = (by_axis[axis] for axis in AXES)
    best, drawn_B = (one.k_max_B - other.k_max_B for one, other in ((compute.best, data.best), (compute.resampled, data.resampled)))
    return [{"study": compute.study.name, "k_max": interval(best[0], drawn_B)}]


def _r2_of_resamples(fitted: Fitted) -> np.ndarray:
    """R² pooled over sizes of each resample's own fit on its own points; (B,)."""
    points, drawn = fitted.points, fitted.resampled
    counts_BP = resamples(points, fitted.draws)[: len(drawn.k_BS)]
    residuals_BP = points.y_P - drawn.log_loss(points.x_P, points.size_P)
    mean_B = counts_BP @ points.y_P / counts_BP.sum(axis=1)
    total_B = (counts_BP * (points.y_P - mean_B[:, None]) ** 2).sum(axis=1)
    return 1 - (counts_BP * residuals_BP**2).sum(axis=1) / np.maximum(total_B, 1e-300)


def r2(y_P: np.ndarray, residuals_P: np.ndarray) -> float | None:
    """Share of the variance of y that is explained; below 0 where its mean would do better; None without variance."""
    total = float(((y_P - y_P.mean()) ** 2).sum())
    return 1 - float((residuals_P**2).sum()) / total if total > 1e-12 else None


def bic(fitted: Fitted) -> float:
    """Bayesian information criterion with normal errors of one variance; smaller is better.

    A parameter costs log(runs), not log(points): points of a run share what happened to it, so the run is what there is
    a number of (Pauler 1998, Biometrika 85).
    """
    runs = len(np.unique(fitted.points.run_P))
    return float(len(fitted.residuals_P) * np.log(_variance(fitted)) + fitted.best.parameters * np.log(runs))


def _variance(fitted: Fitted) -> float:
    return max(float((fitted.residuals_P**2).mean()), 1e-300)


def _bounded(n0: dict[str, float | None], sizes_S: np.ndarray) -> dict[str, str]:
    """Which of N0's numbers are bounds of its search, and so no estimates: any value beyond would fit as well."""
    lowest, highest = np.exp(n0_bounds(sizes_S))
    return {
        name: "at most" if value < 1.01 * lowest else "at least"
        for name, value in n0.items()
        if value is not None and not 1.01 * lowest <= value <= 0.99 * highest
    }


def at_bounds(best: LawFits) -> list[str]:
    """What the numbers cannot say because a parameter ran into a bound."""
    if best.n0_B is None or best.k_max_B is None:
        rising = [f"{size:,.0f}" for size, k in zip(best.sizes_S, best.k_BS[0], strict=True) if k < 0]
        return [f"the loss rises at N = {', '.join(rising)}: k is below 0"] if rising else []
    notes = []
    if best.k_max_B[0] <= 0:
        notes.append("K_max is 0: the losses do not fall, so N0 means nothing")
    elif best.n0_B[0] > 100 * best.sizes_S.max():
        notes.append("N0 is far above all sizes: k grows in proportion to N, and only K_max / N0 is known; N0 is a bound, no estimate")
    elif best.n0_B[0] < best.sizes_S.min() / 100:
        notes.append("N0 is far below all sizes: k is the same for all of them, and N0 is a bound, no estimate")
    return notes


def compared(found: list[Fitted]) -> list[dict[str, Any]]:
    """Which of two laws the data prefer, or that they cannot tell them apart.

    The simpler one is preferred where its BIC is smaller by STRONG. The other must beat it by as much, and its better
    fit must be no matter of a few runs: Vuong's test (1989) with the run as the unit, since points of a run share
    what happened to it.
    """
    by_law = {fitted.law: fitted for fitted in found}
    results = []
    for simple, other in PAIRS:
        if simple not in by_law or other not in by_law:
            continue
        one, two = by_law[simple], by_law[other]
        difference, z = bic(one) - bic(two), _vuong(one, two)
        if difference > STRONG and z > TWO_SIDED:
            verdict = f"the data prefer {other}"
        elif difference < -STRONG:
            verdict = f"the data prefer {simple}"
        else:
            verdict = "the data cannot tell these laws apart"
        results.append(
            {
                "study": one.study.name, "x": one.axis, "first": simple, "second": other, "verdict": verdict,
                "bic_first_less_second": difference, "vuong_z": z,
            }
        )
    return results


def _vuong(one: Fitted, two: Fitted) -> float:
    """Sum over runs of the log-likelihood ratio of the second law, in its standard errors; 0 where it never differs."""
    gain_P = 0.5 * (
        one.residuals_P**2 / _variance(one) - two.residuals_P**2 / _variance(two)
        + np.log(_variance(one) / _variance(two))
    )
    by_run = np.bincount(one.points.run_P, gain_P)
    spread = by_run.std(ddof=1) * np.sqrt(len(by_run)) if len(by_run) > 1 else 0.0
    return float(by_run.sum() / spread) if spread > 1e-9 else 0.0
