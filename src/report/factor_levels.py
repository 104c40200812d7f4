"""What each level of a factorial's factors came to: accuracy, how far seeds lie apart, what training wrote, what went wrong."""

from collections.abc import Sequence
from statistics import fmean, median

from src.report.analysis import Analysis
from src.report.configurations import Configuration
from src.report.effects import Factor, Factorial
from src.report.load import Run
from src.report.table import Cell, Table, share_with, table
from src.statistics import Interval, contrast, pooled_deviation, t_interval


def factor_levels(analysis: Analysis) -> Table:
    rows = [
        [f.name, factor.name, level, *_level(f, factor, level)]
        for f in analysis.factorials
        for factor in f.factors
        for level in factor.levels
    ]
    note = (
        "Means over the cells of a level, weights best by validation. Spread: standard deviation over the seeds of one cell, pooled over the "
        "cells, which holds what sampling adds; its interval takes runs to be independent and normal. Written: completion tokens of a training "
        "run, mean over the cells, interval over seeds. Went wrong: runs in which the monitor spoke, and when it first did."
    )
    columns = (
        "suite, factor, level, #runs, #accuracy, #spread over seeds in points, #tokens, #written in thousand tokens, "
        "#went wrong, #at step (median)"
    )
    return table("factor_levels", "Levels of the factors", note, columns, rows)


def _level(f: Factorial, factor: Factor, level: str) -> list:
    cells = [cell for cell in f.cells if factor.of_cell[cell.key] == level]
    runs = [run for cell in cells for run in f.group.runs[cell.key]]
    accuracies = [f.group.accuracy_SP(cell) for cell in cells]
    mean = contrast([(1 / len(cells), accuracy) for accuracy in accuracies]).interval
    steps = [step for run in runs if (step := _went_wrong_at(run)) is not None]
    return [
        len(runs),
        share_with(Interval(mean.mean, max(0.0, mean.low), min(1.0, mean.high))),
        _spread([accuracy.mean(axis=1) for accuracy in accuracies]),
        round(fmean(float(f.group.tokens_SP(cell).mean()) for cell in cells), 1),
        _written(f, cells),
        len(steps),
        median(steps) if steps else None,
    ]


def _spread(by_cell: Sequence[Sequence[float]]) -> Cell | None:
    if all(len(accuracies) < 2 for accuracies in by_cell):
        return None
    spread = pooled_deviation(by_cell)
    text = f"{100 * spread.mean:.1f} ({100 * spread.low:.1f}–{100 * spread.high:.1f})"
    return Cell(text, round(spread.mean, 6))


def _written(f: Factorial, cells: Sequence[Configuration]) -> Cell | None:
    """Of the seeds that all cells have."""
    by_cell = [{run.seed: run.summary["cost"].get("completion_tokens") for run in f.group.runs[cell.key]} for cell in cells]
    seeds = [seed for seed in by_cell[0] if all(cell.get(seed) is not None for cell in by_cell)]
    if not seeds:
        return None
    written = t_interval([fmean(cell[seed] for cell in by_cell) / 1000 for seed in seeds])
    text = f"{written.mean:.1f} ({written.low:.1f}–{written.high:.1f})"
    return Cell(text if len(seeds) > 1 else f"{written.mean:.1f}", round(written.mean, 3))


def _went_wrong_at(run: Run) -> int | None:
    """The step of the monitor's first alarm."""
    alarms = run.summary.get("stability", {}).get("alarms")
    return alarms[0]["step"] if alarms else None
