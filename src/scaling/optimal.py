"""Which size to train with a budget of compute, and whether larger is better at equal data and at equal compute."""

from typing import Any

import numpy as np
from scipy.stats import kendalltau

from src.scaling.bootstrap import interval
from src.scaling.fitted import Fitted

BUDGETS = 9


def compute_optimal(fitted: Fitted) -> list[dict[str, Any]]:
    """For budgets over the compute that was measured: each size's loss, which is best, and in how many resamples.

    A size is `measured` at a budget that lies within its curves; elsewhere its loss is the law's word alone.
    """
    x_S = [fitted.points.x_P[fitted.points.size_P == place] for place in range(len(fitted.best.sizes_S))]
    low, high = min(x.min() for x in x_S), max(x.max() for x in x_S)
    return [_at_budget(fitted, budget, x_S) for budget in np.linspace(low, high, BUDGETS)]


def _at_budget(fitted: Fitted, log_budget: float, x_S: list[np.ndarray]) -> dict[str, Any]:
    size_S = np.arange(len(x_S))
    at_S = np.full(len(x_S), log_budget)
    loss_S = np.exp(fitted.best.log_loss(at_S, size_S)[0])
    loss_BS = np.exp(fitted.resampled.log_loss(at_S, size_S))
    best_B = loss_BS.argmin(axis=1)
    share_S = np.bincount(best_B, minlength=len(x_S)) / len(best_B)
    sizes = fitted.best.sizes_S
    return {
        "study": fitted.study.name,
        "law": fitted.law,
        "budget_flops": float(np.exp(log_budget)),
        "best_parameters": interval(sizes[loss_S.argmin()], sizes[best_B]),
        "sizes": [
            {
                "parameters": int(sizes[place]),
                "loss": interval(loss_S[place], loss_BS[:, place]),
                "best_in_share_of_resamples": float(share_S[place]),
                "measured": bool(x_S[place].min() <= log_budget <= x_S[place].max()),
            }
            for place in size_S
        ],
    }


def order_of_sizes(fitted: Fitted) -> dict[str, Any] | None:
    """Kendall's rank correlation of loss and size at the largest X that every size has reached: -1 where each larger
    size is better. Loss as the law has it there; None with one size, or where the curves share no X."""
    sizes, places = fitted.best.sizes_S, np.arange(len(fitted.best.sizes_S))
    ends = [fitted.points.x_P[fitted.points.size_P == place] for place in places]
    at = min(x.max() for x in ends)
    if len(sizes) < 2 or at < max(x.min() for x in ends):
        return None
    x_S = np.full(len(sizes), at)
    loss_S, loss_BS = fitted.best.log_loss(x_S, places)[0], fitted.resampled.log_loss(x_S, places)
    taus = np.array([kendalltau(sizes, row).statistic for row in loss_BS])
    return {
        "study": fitted.study.name, "x": fitted.axis, "law": fitted.law, "at": float(np.exp(at)),
        "rank_correlation": interval(kendalltau(sizes, loss_S).statistic, taus),
    }
