"""What a measurement comes to: its figures as summary.json has them, and the gain from one to another."""

from typing import TYPE_CHECKING, Any

from src.common.types import LEVELS
from src.statistics import Side, bootstrap_mean, effective_samples, paired_gain

if TYPE_CHECKING:
    import pandas as pd

# What a summary says of each measurement: shares from 0 to 1, lengths in tokens.
FIGURES = (
    "accuracy", "ci_low", "ci_high", "mean_tokens", "truncated_share", "format_share", "language_share", "right_unboxed_share",
    "context_full_share",
)  # fmt: skip


def per_problem(rows: "pd.DataFrame") -> "pd.Series":
    """Accuracy of each problem, indexed by problem_id in sorted order: the mean over its samples, by their `weight` where they
    were drawn in rounds."""
    if "weight" not in rows:
        return rows.groupby("problem_id", sort=True)["correct"].mean()
    return (rows["correct"] * rows["weight"]).groupby(rows["problem_id"], sort=True).sum().clip(0, 1)


def side_of(rows: "pd.DataFrame") -> Side:
    """Accuracy by problem as a side of a comparison."""
    accuracy_P, problems = per_problem(rows), rows.groupby("problem_id", sort=True)
    if "weight" not in rows:
        return Side(accuracy_P.to_numpy(), samples=int(problems.size().min()))
    return Side(accuracy_P.to_numpy(), samples=effective_samples(accuracy_P, (rows["weight"] ** 2).groupby(rows["problem_id"]).sum()))


def summarise(rows: "pd.DataFrame") -> dict[str, Any]:
    """FIGURES with `problems`, `samples` and `completions`, over all rows of a measurement and `by_level`.

    The interval is that of the accuracy, 95 %, over problems.
    """
    levels = {level: _figures(rows[rows["level"] == level]) for level in LEVELS if (rows["level"] == level).any()}
    return _figures(rows) | {"by_level": levels}


def _figures(rows: "pd.DataFrame") -> dict[str, Any]:
    import numpy as np

    accuracy = bootstrap_mean(per_problem(rows).to_list())

    def mean(column: str) -> float:
        return float(np.average(rows[column], weights=rows["weight"]) if "weight" in rows else rows[column].mean())

    return {
        "accuracy": accuracy.mean,
        "ci_low": accuracy.low,
        "ci_high": accuracy.high,
        "problems": int(rows["problem_id"].nunique()),
        "samples": int(rows["problem_id"].value_counts().min()),  # of the problem that has fewest
        "completions": len(rows),
        "mean_tokens": mean("tokens"),
        "truncated_share": mean("truncated"),
        "format_share": mean("format"),
        "language_share": mean("language"),
        "right_unboxed_share": mean("right_unboxed"),
        "context_full_share": mean("context_full"),
    }


def gain(before: "pd.DataFrame", after: "pd.DataFrame") -> dict[str, float]:
    """Change in accuracy, paired by problem, with its 95 % interval; `boxing` is that part of it which is answers that were right
    before but not boxed, less those that still are: what remains where they count in both."""
    interval = paired_gain(per_problem(before).to_list(), per_problem(after).to_list())
    anywhere = [per_problem(rows.assign(correct=rows["correct"] | rows["right_unboxed"])).mean() for rows in (before, after)]
    return {
        "mean": interval.mean, "ci_low": interval.low, "ci_high": interval.high,
        "boxing": interval.mean - float(anywhere[1] - anywhere[0]),
    }  # fmt: skip
