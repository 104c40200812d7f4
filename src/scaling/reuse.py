"""What using the same problems again costs: losses of runs that differ in `mix.repeats` alone, at equal steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from src.record.read import Run
from src.record.recipe import AMONG_SIZES, recipe_of
from src.statistics import Side, difference

KEY = "mix.repeats"
WITH_IT = ("mix.subsets", "mix.size")  # may go along with the number of repeats


def data_reuse(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """For each number of repeats the last loss on the validation problems less that with the fewest repeats, with a 95 %
    interval over problems and seeds; empty where no two runs differ in it."""
    recipes: dict[tuple, list[Run]] = {}
    for run in runs:
        if ("validation", "after") in run.measures:
            recipes.setdefault(_recipe(run), []).append(run)
    results = []
    for members in recipes.values():
        by_tau: dict[int, list[Run]] = {}
        for run in members:
            by_tau.setdefault(int(run.config.get(KEY, 1)), []).append(run)
        if len(by_tau) > 1:
            results += _costs(dict(sorted(by_tau.items())))
    return results


def _recipe(run: Run) -> tuple:
    measured = run.measures["validation", "after"].problems
    kept = recipe_of(run.config, (*AMONG_SIZES, KEY, *WITH_IT))
    return (measured, run.config.get("model.path"), *sorted((key, str(value)) for key, value in kept.items()))


def _loss(runs: Sequence[Run]) -> Side:
    """The share of validation problems that is not solved at the end, by seed and problem."""
    measures = [run.measures["validation", "after"] for run in runs]
    return Side(1 - np.stack([m.accuracy_P for m in measures]), tuple(run.seed for run in runs), samples=min(m.effective_samples for m in measures))


def _costs(by_tau: dict[int, list[Run]]) -> list[dict[str, Any]]:
    losses = {tau: _loss(runs) for tau, runs in by_tau.items()}
    fewest, *others = losses
    model = next(iter(by_tau.values()))[0].config.get("model.path")
    rows = []
    for tau in others:
        more = difference(losses[tau], losses[fewest])
        found = more.interval
        rows.append(
            {
                "model": model, "repeats": tau, "against_repeats": fewest, "seeds": more.seeds,
                "loss": float(losses[tau].values_SP.mean()), "loss_against": float(losses[fewest].values_SP.mean()),
                "extra_loss": {"value": found.mean, "low": found.low, "high": found.high}, "p": more.p,
            }
        )
    return rows
