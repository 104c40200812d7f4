"""What accuracy costs: against mean tokens and against money or time, with the Pareto front, and with several samples."""

from collections.abc import Sequence

import numpy as np

from src.drawing.chart import Figure, chart, short, time_unit, zoom
from src.drawing.table import Table, share_with, table
from src.record.measures import Measure
from src.report.analysis import Analysis
from src.report.findings.configurations import Configuration, Group
from src.report.section import Section
from src.report.sections.shown import chart_of, colour, shown_at_first
from src.statistics import Interval, Side, mean_of, share_of


def fronts(analysis: Analysis, group: Group) -> list[Figure]:
    """Accuracy against mean tokens, and against cost where anything cost something, else against time."""
    accuracy = {c.key: share_of(group.side(c)) for c in group.configurations}
    tokens = {c.key: mean_of(group.tokens_side(c)) for c in group.configurations}
    base = group.measures(group.configurations[0], "before")[0]
    with_base = [("base", Interval(base.tokens, base.tokens, base.tokens), share_of(Side(base.accuracy_P, samples=base.effective_samples)))]
    points = [(c.label, tokens[c.key], accuracy[c.key]) for c in group.configurations]
    figures = [_front(analysis, group, "tokens", ("mean tokens", ",~f"), [*with_base, *points])]
    spent = {c.key: _spent(group, c) for c in group.configurations}
    priced = any(usd for usd, _ in spent.values())
    size, name = time_unit(max(seconds for _, seconds in spent.values()))
    unit = ("cost a run", "$.2f") if priced else (f"{name} a run", ",~f")
    paid = {key: usd if priced else seconds / size for key, (usd, seconds) in spent.items()}
    costs = [(c.label, Interval(*[paid[c.key]] * 3), accuracy[c.key]) for c in group.configurations]
    figures.append(_front(analysis, group, "cost", unit, costs))
    return figures


def _spent(group: Group, configuration: Configuration) -> tuple[float, float]:
    runs = group.runs[configuration.key]
    return float(np.mean([run.usd for run in runs])), float(np.mean([run.seconds for run in runs]))


def _front(
    analysis: Analysis, group: Group, kind: str, unit: tuple[str, str], points: Sequence[tuple[str, Interval, Interval]]
) -> Figure:
    """`unit`: the title of what is spent, and the format of its numbers."""
    best, on_front = -1.0, set()
    for label, x, y in sorted(points, key=lambda point: (point[1].mean, -point[2].mean)):
        if y.mean > best:
            best = y.mean
            on_front.add(label)
    rows = [
        {
            "configuration": label,
            "x": short(x.mean),
            "x_low": short(x.low),
            "x_high": short(x.high),
            "accuracy": short(y.mean),
            "low": short(y.low),
            "high": short(y.high),
            "front": int(label in on_front),
        }
        for label, x, y in points
    ]
    title, form = unit
    x = {"type": "quantitative", "title": title, "scale": {"zero": False, "padding": 16}, "axis": {"format": form}}
    y = {
        "type": "quantitative",
        "title": "accuracy",
        "scale": {"zero": False, "padding": 12},
        "axis": {"format": ".0%"},
    }
    tooltip = [
        {"field": "configuration"},
        {"field": "accuracy", "format": ".1%"},
        {"field": "low", "format": ".1%"},
        {"field": "high", "format": ".1%"},
        {"field": "x", "title": title, "format": form},
    ]
    faded = {
        "condition": {"test": "indexof(shown, datum.configuration) >= 0 || datum.configuration == 'base'", "value": 1},
        "value": 0.12,
    }
    layers = [
        {
            "transform": [{"filter": "datum.front == 1"}],
            "mark": {"type": "line", "interpolate": "step-after", "color": "#888888", "strokeDash": [4, 3]},
            "encoding": {"x": {**x, "field": "x"}, "y": {**y, "field": "accuracy"}},
        },
        {
            "mark": "rule",
            "encoding": {
                "x": {**x, "field": "x"},
                "y": {**y, "field": "low"},
                "y2": {"field": "high"},
                "color": colour(analysis),
                "opacity": faded,
            },
        },
        {
            "mark": "rule",
            "encoding": {
                "x": {**x, "field": "x_low"},
                "x2": {"field": "x_high"},
                "y": {**y, "field": "accuracy"},
                "color": colour(analysis),
                "opacity": faded,
            },
        },
        {
            "params": [zoom()],
            "mark": {"type": "point", "filled": True, "size": 90},
            "encoding": {
                "x": {**x, "field": "x"},
                "y": {**y, "field": "accuracy"},
                "color": colour(analysis),
                "opacity": faded,
                "tooltip": tooltip,
            },
        },
    ]
    spec = chart(rows, layer=layers, height=260, params=[{"name": "shown", "value": shown_at_first(analysis)}])
    caption = "Bars: 95 % intervals. Dashed: the Pareto front, more accurate than all that is cheaper."
    return Figure(f"{kind}_{group.file_name}", f"{group.name}: accuracy against {title}", caption, spec)


def several_samples(analysis: Analysis) -> Table:
    """pass@k and majority@k for every k up to the number of samples, before and after training."""
    rows = []
    for group in analysis.groups:
        if group.samples == 1:
            continue
        for name, measures in _measured(group):
            for k in group.ks:
                passed, majority = (_over_seeds([of(m, k) for m in measures]) for of in (Measure.pass_at_P, Measure.majority_at_P))
                rows.append([group.name, name, len(measures), k, share_with(passed), share_with(majority)])
    note = (
        "pass@k: the chance that one of k samples is correct, without bias (Chen et al. 2021). majority@k: the chance that the "
        "answer given most often in k samples is. k = 1 is the accuracy. Training that only makes sampled answers surer "
        "raises the first k and not the last."
    )
    return table("several_samples", "With several samples a problem", note, "suite, configuration, #seeds, #k, #pass@k, #majority@k", rows)


def _measured(group: Group) -> list[tuple[str, list[Measure]]]:
    base = group.measures(group.configurations[0], "before")[:1]
    return [("base", base), *((c.label, group.measures(c)) for c in group.configurations)]


def _over_seeds(values_SP: Sequence[np.ndarray]) -> Interval:
    return share_of(Side(np.stack(values_SP), tuple(range(len(values_SP)))))


def several_samples_figure(analysis: Analysis, group: Group) -> Figure:
    """pass@k over k, of the base and of each configuration."""
    rows = []
    for label, found in _measured(group):
        for k in group.ks:
            interval = _over_seeds([m.pass_at_P(k) for m in found])
            low, high = short(interval.low), short(interval.high)
            rows.append({"configuration": label, "k": k, "share": short(interval.mean), "low": low, "high": high})
    x = {"field": "k", "type": "quantitative", "scale": {"type": "log", "base": 2}, "axis": {"values": group.ks, "format": "d"}}
    y = {"type": "quantitative", "title": "pass@k", "scale": {"zero": False}, "axis": {"format": ".0%"}}
    tooltip = [{"field": "configuration"}, {"field": "k"}, *({"field": f, "format": ".1%"} for f in ("share", "low", "high"))]
    hue = colour(analysis)
    layers = [
        {"mark": {"type": "area", "opacity": 0.12}, "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": hue}},
        {
            "params": [zoom()],
            "mark": {"type": "line", "point": {"size": 40}},
            "encoding": {"x": x, "y": {**y, "field": "share"}, "color": hue, "tooltip": tooltip},
        },
    ]
    name = f"pass_at_k_{group.file_name}"
    caption = "The chance that one of k samples is correct. Grey: the base. Bands: 95 % intervals."
    return Figure(name, f"{group.name}: pass@k", caption, chart_of(analysis, rows, layer=layers, height=240))


def figures(analysis: Analysis) -> list[Figure]:
    several = [several_samples_figure(analysis, group) for group in analysis.ranked if group.samples > 1]
    return [figure for group in analysis.ranked for figure in fronts(analysis, group)] + several


SECTION = Section(
    "fronts",
    "Accuracy and cost",
    figures=figures,
    tables=lambda analysis: [several_samples(analysis)],
    legend=True,
)
