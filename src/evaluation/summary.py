"""What a measurement comes to: its figures as summary.json has them, and the gain from one to another."""

from typing import TYPE_CHECKING, Any

from src.common.types import LEVELS
from src.statistics import bootstrap_mean, paired_gain

if TYPE_CHECKING:
    import pandas as pd

# What a summary says of each measurement: shares from 0 to 1, lengths in tokens.
FIGURES = ("accuracy", "ci_low", "ci_high", "mean_tokens", "truncated_share", "format_share", "language_share")


def per_problem(rows: "pd.DataFrame") -> "pd.Series":
    """Accuracy of each problem: the mean over its samples, indexed by problem_id in sorted order."""
    return rows.groupby("problem_id", sort=True)["correct"].mean()


def summarise(rows: "pd.DataFrame") -> dict[str, Any]:
    """FIGURES with `problems` and `samples`, over all rows of a measurement and `by_level`.

    The interval is that of the accuracy, 95 %, over problems.
    """
    levels = {level: _figures(rows[rows["level"] == level]) for level in LEVELS if (rows["level"] == level).any()}
    return _figures(rows) | {"by_level": levels}


def _figures(rows: "pd.DataFrame") -> dict[str, Any]:
    accuracy = bootstrap_mean(per_problem(rows).to_list())
    return {
        "accuracy": accuracy.mean,
        "ci_low": accuracy.low,
        "ci_high": accuracy.high,
        "problems": int(rows["problem_id"].nunique()),
        "samples": int(rows["sample"].max()) + 1,
        "mean_tokens": float(rows["tokens"].mean()),
        "truncated_share": float(rows["truncated"].mean()),
        "format_share": float(rows["format"].mean()),
        "language_share": float(rows["language"].mean()),
    }


def gain(before: "pd.DataFrame", after: "pd.DataFrame") -> dict[str, float]:
    """Change in accuracy, paired by problem, with its 95 % interval."""
    interval = paired_gain(per_problem(before).to_list(), per_problem(after).to_list())
    return {"mean": interval.mean, "ci_low": interval.low, "ci_high": interval.high}
