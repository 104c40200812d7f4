"""A factorial: its effects, its cells, and what each level of its factors came to."""

from collections.abc import Sequence
from statistics import fmean, median

from src.drawing.chart import COLOURS, Figure, Row, chart, hues, intervals, spread
from src.drawing.table import Cell, Table, gain_with, p_value, points, share_with, spanned, table, tokens_with
from src.report.analysis import Analysis
from src.report.findings.configurations import Configuration, in_a_file_name
from src.report.findings.effects import Factor, Factorial
from src.report.sections.uncertainty import UNCERTAIN, found, uncertain
from src.statistics import Interval, contrast, pooled_deviation, share_of, t_interval


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
        f"#went wrong, #at step (median), {UNCERTAIN}"
    )
    return table("factor_levels", "Levels of the factors", note, columns, rows, brief=True)


def _level(f: Factorial, factor: Factor, level: str) -> list:
    cells = [cell for cell in f.cells if factor.of_cell[cell.key] == level]
    runs = [run for cell in cells for run in f.group.runs[cell.key]]
    mean = contrast([f.group.side(cell).times(1 / len(cells)) for cell in cells])
    within = mean.interval
    alarms = [found for run in runs if (found := run.summary.get("stability", {}).get("alarms"))]
    return [
        len(runs),
        share_with(Interval(within.mean, max(0.0, within.low), min(1.0, within.high))),
        _spread([f.group.accuracy_SP(cell).mean(axis=1) for cell in cells]),
        round(fmean(float(f.group.tokens_SP(cell).mean()) for cell in cells), 1),
        _written(f, cells),
        len(alarms),
        median(first["step"] for first, *_ in alarms) if alarms else None,
        uncertain(mean),
    ]


def _spread(by_cell: Sequence[Sequence[float]]) -> Cell | None:
    if all(len(accuracies) < 2 for accuracies in by_cell):
        return None
    deviation = pooled_deviation(by_cell)
    return Cell(spanned(deviation, ".1f", 100), round(100 * deviation.mean, 4))


def _written(f: Factorial, cells: Sequence[Configuration]) -> Cell | None:
    """Of the seeds that all cells have."""
    by_cell = [{run.seed: run.summary["cost"].get("completion_tokens") for run in f.group.runs[cell.key]} for cell in cells]
    seeds = [seed for seed in by_cell[0] if all(cell.get(seed) is not None for cell in by_cell)]
    if not seeds:
        return None
    written = t_interval([fmean(cell[seed] for cell in by_cell) / 1000 for seed in seeds])
    return tokens_with(written, ".1f") if len(seeds) > 1 else Cell(f"{written.mean:.1f}", round(written.mean, 3))


def effects(name: str, title: str, factorials: Sequence[Factorial]) -> Table:
    rows = [
        [
            f.name,
            e.name,
            e.kind,
            gain_with(e.difference.interval),
            p_value(e.p),
            "; ".join(f"{100 * effect:+.1f}" for effect in e.by_seed).replace("-", "−"),
            found(e.difference),
            points(e.difference.equal_within),
            tokens_with(e.tokens.interval),
            p_value(e.p_of_tokens),
            e.difference.seeds,
            uncertain(e.difference),
        ]
        for f in factorials
        for e in f.effects
    ]
    note = (
        "Main effect: mean change when the factor changes, over all cells. Interaction: how much more one factor does at the "
        "new level of the other. Intervals are 95 %, paired by seed and problem, not corrected; p is corrected for the number of "
        "effects (Holm). Equal within: by two one-sided tests, not corrected."
    )
    columns = (
        "suite, change, kind, #effect in points, #p, by seed, #detectable in points, #equal within points, "
        f"#effect in tokens, #p of tokens, #seeds per cell, {UNCERTAIN}"
    )
    return table(name, title, note, columns, rows, brief=True)


def effects_figure(factorial: Factorial) -> Figure:
    """Main effects and interactions with intervals."""
    rows = [{"effect": e.name, "kind": e.kind, **spread("points", e.difference.interval, 100)} for e in factorial.effects]
    colours = {"interaction": COLOURS[0], "main effect": COLOURS[1]}
    spec = intervals(rows, "effect", {"field": "points", "title": "effect on accuracy, points"}, hues("kind", colours))
    factors = ", ".join(factor.name for factor in factorial.factors)
    caption = f"Factors: {factors}; {len(factorial.cells)} cells; 95 % intervals over problems and seeds."
    return Figure(f"effects_{in_a_file_name(factorial.name)}", f"{factorial.name}: what each factor does", caption, spec)


def cells(factorial: Factorial) -> Figure:
    """Accuracy of each cell: a row for each level of the factor that has most; a colour, a shape and a place in the row for
    the others, those with the largest effects first."""
    by_effect = sorted(factorial.factors, key=lambda factor: -_largest(factorial, factor))
    rows_of = max(by_effect, key=lambda factor: len(factor.levels))
    coloured, *others = [factor for factor in by_effect if factor is not rows_of]
    levels = {"level": rows_of, "colour": coloured} | ({"shape": others[0]} if others else {})
    rows = [
        {name: factor.of_cell[cell.key] for name, factor in levels.items()}
        | {"cell": ", ".join(f"{factor.name}={factor.of_cell[cell.key]}" for factor in factorial.factors)}
        | {"rest": " ".join(factor.of_cell[cell.key] for factor in (coloured, *others))}
        | spread("accuracy", share_of(factorial.group.side(cell)), 100)
        for cell in factorial.cells
    ]
    legend = {"orient": "top", "titleLimit": 400}
    encoding = {
        "x": {"field": "accuracy", "type": "quantitative", "title": "accuracy, %", "scale": {"zero": False}},
        "y": {"field": "level", "type": "nominal", "title": rows_of.name, "axis": {"labelLimit": 240}},
        "yOffset": {"field": "rest", "type": "nominal"},
        "color": {"field": "colour", "type": "nominal", "title": coloured.name, "scale": {"range": list(COLOURS)}, "legend": legend},
    }
    point: Row = {"tooltip": [{"field": name} for name in ("cell", "accuracy", "low", "high")]}
    if others:
        point["shape"] = {"field": "shape", "type": "nominal", "title": others[0].name, "legend": legend}
    spec = chart(
        rows,
        height={"step": 14},
        encoding=encoding,
        layer=[
            {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {"x": {"field": "low"}, "x2": {"field": "high"}}},
            {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1}, "encoding": point},
        ],
    )
    caption = "Mean over seeds of the weights best by validation; 95 % intervals over problems and seeds, not of differences."
    return Figure(f"cells_{in_a_file_name(factorial.name)}", f"{factorial.name}: the cells", caption, spec)


def _largest(factorial: Factorial, factor: Factor) -> float:
    """The largest effect on accuracy of a change of this factor alone."""
    alone = (e for e in factorial.effects if not e.interaction and e.name.startswith(f"{factor.name}: "))
    return max(abs(e.difference.interval.mean) for e in alone)
