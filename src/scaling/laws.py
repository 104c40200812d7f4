"""The laws: log L(N, X) = -k(N) · log X + E(N), with E free for each size N, and X compute or data (arXiv 2509.25300).

`saturating`: k(N) = K_max / (1 + N0 / N). `free`: k of each size. `irreducible`: L = L_inf + exp(-k(N) log X + E(N)),
k saturating. Least squares in log L; every size has the same weight in all and each of its points the same, as in the
study's released code.

Given N0 the law is linear, so the sums over points of each size say all that a fit has to know (Frisch and Waugh): one
fit costs as much for three points a size as for three hundred, and a thousand resamples are one array.

Shapes: P points, S sizes, B resamples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from src.scaling.curves import Curve

K_LARGEST = 10.0  # bound on K_max; the published ones are below 0.2
N0_RANGE = 1e3  # N0 lies between the smallest size / this and the largest size · this
STARTS = 5  # of the least squares, spread over N0's range
GRID = 121  # values of log N0 in the first pass over resamples
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Points:
    """Measured points of several runs."""

    sizes_S: np.ndarray  # parameters, rising
    x_P: np.ndarray  # log of compute or data
    y_P: np.ndarray  # log of loss
    size_P: np.ndarray  # place of each point's size in sizes_S
    run_P: np.ndarray  # number of each point's run
    place_P: np.ndarray  # its place in its run, 0 (first) to 1 (last)

    def where(self, mask_P: np.ndarray) -> "Points":
        """Some of the points; sizes stay as they are."""
        parts = {name: getattr(self, name)[mask_P] for name in ("x_P", "y_P", "size_P", "run_P", "place_P")}
        return replace(self, **parts)

    def of_sizes(self, kept_S: np.ndarray) -> "Points":
        """The points of some sizes, and these sizes alone."""
        chosen, number_S = self.where(kept_S[self.size_P]), np.cumsum(kept_S) - 1
        return replace(chosen, sizes_S=self.sizes_S[kept_S], size_P=number_S[chosen.size_P])


def points_of(curves: Sequence[Curve], axis: str) -> Points:
    """The points of curves against `compute` or `data`."""
    sizes = sorted({curve.size for curve in curves})
    x = [np.log(curve.compute_T if axis == "compute" else curve.data_T) for curve in curves]
    lengths = [len(part) for part in x]
    return Points(
        np.array(sizes, float),
        np.concatenate(x),
        np.concatenate([np.log(curve.loss_T) for curve in curves]),
        np.repeat([sizes.index(curve.size) for curve in curves], lengths),
        np.repeat(np.arange(len(curves)), lengths),
        np.concatenate([np.linspace(0, 1, length) for length in lengths]),
    )


@dataclass(frozen=True)
class Moments:
    """Means and centred sums of each size, its weights adding up to 1; (B, S) each."""

    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray


def moments(points: Points, counts_BP: np.ndarray | None = None) -> Moments:
    """Of all points once, or of B resamples in which each point stands so many times."""
    counts = np.ones((1, len(points.x_P))) if counts_BP is None else np.asarray(counts_BP, float)
    sizes = len(points.sizes_S)
    centre_x, centre_y = _means(points.x_P, points.size_P, sizes), _means(points.y_P, points.size_P, sizes)
    x, y = points.x_P - centre_x[points.size_P], points.y_P - centre_y[points.size_P]
    is_size_PS = np.eye(sizes)[points.size_P]
    total = np.maximum(counts @ is_size_PS, 1e-300)
    mean_x, mean_y, xx, xy, yy = (
        counts @ (is_size_PS * each[:, None]) / total for each in (x, y, x * x, x * y, y * y)
    )
    return Moments(
        mean_x + centre_x, mean_y + centre_y, np.maximum(xx - mean_x**2, 1e-300), xy - mean_x * mean_y, yy - mean_y**2
    )


def moments_of(points: Points, y_BP: np.ndarray) -> Moments:
    """Of all points once, with B sets of log losses in the place of their own."""
    sizes = len(points.sizes_S)
    is_size_PS, count_S = np.eye(sizes)[points.size_P], np.bincount(points.size_P, minlength=sizes)
    centre_x_S = _means(points.x_P, points.size_P, sizes)
    x_P = points.x_P - centre_x_S[points.size_P]
    y_BS = y_BP @ is_size_PS / count_S
    xy_BS, yy_BS = (y_BP * x_P) @ is_size_PS / count_S, y_BP**2 @ is_size_PS / count_S - y_BS**2
    xx_S = np.maximum(np.bincount(points.size_P, x_P**2, sizes) / count_S, 1e-300)
    return Moments(np.broadcast_to(centre_x_S, y_BS.shape), y_BS, np.broadcast_to(xx_S, y_BS.shape), xy_BS, yy_BS)


def _means(values_P: np.ndarray, size_P: np.ndarray, sizes: int) -> np.ndarray:
    return np.bincount(size_P, values_P, sizes) / np.maximum(np.bincount(size_P, minlength=sizes), 1)


@dataclass(frozen=True)
class LawFits:
    """B fits of a law without an irreducible loss, or with it where `floor_B` is above 0."""

    law: str
    sizes_S: np.ndarray
    k_BS: np.ndarray
    e_BS: np.ndarray
    k_max_B: np.ndarray | None = None
    n0_B: np.ndarray | None = None
    floor_B: np.ndarray | None = None  # irreducible loss

    @property
    def parameters(self) -> int:
        """How many numbers the law has for these sizes."""
        sizes = len(self.sizes_S)
        return {"free": 2 * sizes, "saturating": 2 + sizes, "irreducible": 3 + sizes}[self.law]

    def log_loss(self, x_P: np.ndarray, size_P: np.ndarray) -> np.ndarray:
        """log L at points given by log X and the place of their size; (B, P)."""
        log_loss = self.e_BS[:, size_P] - self.k_BS[:, size_P] * x_P
        return log_loss if self.floor_B is None else np.log(np.exp(log_loss) + self.floor_B[:, None])

    def k_of(self, size: float) -> np.ndarray:
        """k at any size, by K_max and N0; (B,)."""
        assert self.k_max_B is not None and self.n0_B is not None
        return self.k_max_B / (1 + self.n0_B / size)


Fit = Callable[[Moments, np.ndarray], LawFits]  # of B sums and the sizes


def fit_free(sums: Moments, sizes_S: np.ndarray) -> LawFits:
    """k and E of each size by itself. A rising curve has a k below 0."""
    k = -sums.xy / sums.xx
    return LawFits("free", sizes_S, k, sums.y + k * sums.x)


def fit_saturating(sums: Moments, sizes_S: np.ndarray) -> LawFits:
    """The best of bounded least squares from several starts (scipy, trust region), for the first of the B sums."""
    free_S, weight_S = -sums.xy[0] / sums.xx[0], np.sqrt(sums.xx[0])
    low, high = n0_bounds(sizes_S)
    k_start = np.clip(2 * np.max(np.abs(free_S)), 1e-6, K_LARGEST / 2)

    def residuals(parameters: np.ndarray) -> np.ndarray:
        k_max, log_n0 = parameters
        return weight_S * (free_S - k_max / (1 + np.exp(log_n0) / sizes_S))

    tries = [
        least_squares(
            residuals, (k_start, start), bounds=((0, low), (K_LARGEST, high)), x_scale=(k_start, 1.0), xtol=1e-12,
            ftol=1e-12, gtol=1e-12,
        )
        for start in np.linspace(low, high, STARTS + 2)[1:-1]
    ]
    k_max, log_n0 = min(tries, key=lambda each: each.cost).x
    k_max = k_max if k_max > 1e-9 else 0.0  # at its bound, but for rounding
    return _saturating(sums, sizes_S, np.array([k_max]), np.array([np.exp(log_n0)]))


def fit_saturating_all(sums: Moments, sizes_S: np.ndarray) -> LawFits:
    """The same least squares for all B sums at once: K_max follows from N0, which a grid and golden section find."""
    low, high = n0_bounds(sizes_S)
    grid_G = np.linspace(low, high, GRID)
    values_BG = np.stack([_profile(sums, sizes_S, np.full(len(sums.x), value))[0] for value in grid_G], axis=1)
    best_B, step = grid_G[values_BG.argmin(axis=1)], grid_G[1] - grid_G[0]
    left, right = np.maximum(best_B - step, low), np.minimum(best_B + step, high)
    for _ in range(40):
        inner_left, inner_right = right - GOLDEN * (right - left), left + GOLDEN * (right - left)
        lower = _profile(sums, sizes_S, inner_left)[0] < _profile(sums, sizes_S, inner_right)[0]
        left, right = np.where(lower, left, inner_left), np.where(lower, inner_right, right)
    log_n0 = (left + right) / 2
    return _saturating(sums, sizes_S, _profile(sums, sizes_S, log_n0)[1], np.exp(log_n0))


def n0_bounds(sizes_S: np.ndarray) -> tuple[float, float]:
    return float(np.log(sizes_S.min() / N0_RANGE)), float(np.log(sizes_S.max() * N0_RANGE))


def _profile(sums: Moments, sizes_S: np.ndarray, log_n0_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What of the sum of squares depends on N0, and the K_max that goes with it; (B,) each."""
    g_BS = 1 / (1 + np.exp(log_n0_B)[:, None] / sizes_S)
    cross, square = (g_BS * sums.xy).sum(axis=1), (g_BS**2 * sums.xx).sum(axis=1)
    k_max = np.clip(-cross / square, 0, K_LARGEST)
    return 2 * k_max * cross + k_max**2 * square, k_max


def _saturating(sums: Moments, sizes_S: np.ndarray, k_max_B: np.ndarray, n0_B: np.ndarray) -> LawFits:
    k = k_max_B[:, None] / (1 + n0_B[:, None] / sizes_S)
    return LawFits("saturating", sizes_S, k, sums.y + k * sums.x, k_max_B, n0_B)


def fit_irreducible(points: Points, counts_P: np.ndarray, start: LawFits, floors: Sequence[float] | None = None) -> LawFits:
    """L = L_inf + exp(-k(N) log X + E(N)) with one L_inf for all sizes, by bounded least squares from a fit without it
    and several first values of L_inf; `counts_P` says how often each point counts."""
    sizes, size_P = points.sizes_S, points.size_P
    total_S = np.bincount(size_P, counts_P, len(sizes))
    weight_P = np.sqrt(counts_P / np.maximum(total_S[size_P], 1e-300))
    centre_S = _means(points.x_P, size_P, len(sizes))
    x_P = points.x_P - centre_S[size_P]
    is_size_PS = np.eye(len(sizes))[size_P]
    lowest = float(np.exp(points.y_P.min()))
    low, high = n0_bounds(sizes)

    def parts(parameters: np.ndarray) -> tuple[np.ndarray, ...]:
        k_max, log_n0, floor = parameters[:3]
        g_S = 1 / (1 + np.exp(log_n0) / sizes)
        power_P = np.exp(parameters[3:][size_P] - k_max * g_S[size_P] * x_P)
        return g_S, power_P, power_P + floor

    def residuals(parameters: np.ndarray) -> np.ndarray:
        return weight_P * (np.log(parts(parameters)[2]) - points.y_P)

    def jacobian(parameters: np.ndarray) -> np.ndarray:
        g_S, power_P, loss_P = parts(parameters)
        share_P, g_P = weight_P * power_P / loss_P, g_S[size_P]
        by_k = -share_P * g_P * x_P
        by_n0 = share_P * parameters[0] * g_P * (1 - g_P) * x_P
        return np.column_stack([by_k, by_n0, weight_P / loss_P, share_P[:, None] * is_size_PS])

    level_S = start.e_BS[0] - start.k_BS[0] * centre_S
    bounds = ([0, low, 0, *([-50] * len(sizes))], [K_LARGEST, high, 0.999 * lowest, *([50] * len(sizes))])
    tries = []
    for floor in floors if floors is not None else (0.02 * lowest, 0.4 * lowest, 0.8 * lowest):
        level = np.log(np.maximum(np.exp(level_S) - floor, 1e-3 * lowest))
        first = [start.k_max_B[0], np.log(start.n0_B[0]), floor, *level]
        first = np.clip(first, np.array(bounds[0]) + 1e-9, np.array(bounds[1]) - 1e-9)
        tries.append(least_squares(residuals, first, jacobian, bounds=bounds, x_scale="jac", max_nfev=200))
    k_max, log_n0, floor, *level = min(tries, key=lambda each: each.cost).x
    floor = floor if floor > 1e-6 * lowest else 0.0  # at its bound, but for rounding
    k_S = k_max / (1 + np.exp(log_n0) / sizes)
    e_S = np.array(level) + k_S * centre_S
    return LawFits(
        "irreducible", sizes, k_S[None], e_S[None], np.array([k_max]), np.array([np.exp(log_n0)]), np.array([floor])
    )
