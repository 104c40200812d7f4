"""What accuracy costs: against mean tokens and against money or time, with the Pareto front, and with several samples."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from src.drawing.chart import FRONT, Figure, chart, crosses, on_front, spread, time_unit, zoom
from src.drawing.table import Table, share_with, table
from src.record.measures import Measure
from src.report.analysis import Analysis
from src.report.findings.configurations import Group
from src.report.section import Section
from src.report.sections.shown import chart_of, colour, shown_at_first
from src.statistics import Interval, Side, mean_of, share_of


def fronts(analysis: Analysis, group: Group) -> list[Figure]:
    """Accuracy against mean tokens, and against cost where anything cost something, else against time."""
    labels = [c.label for c in group.configurations]
    accuracy = [share_of(group.side(c)) for c in group.configurations]
    tokens = [mean_of(group.tokens_side(c)) for c in group.configurations]
    base = group.measures(group.configurations[0], "before")[0]
    start = ("base", _exactly(base.tokens), share_of(Side(base.accuracy_P, samples=base.effective_samples)))
    usd, seconds = ([fmean(getattr(run, of) for run in group.runs[c.key]) for c in group.configurations] for of in ("usd", "seconds"))
    size, name = time_unit(max(seconds))
    unit, paid = (("cost a run", "$.2f"), usd) if any(usd) else ((f"{name} a run", ",~f"), [each / size for each in seconds])
    return [
        _front(analysis, group, "tokens", ("mean tokens", ",~f"), [start, *zip(labels, tokens, accuracy, strict=True)]),
        _front(analysis, group, "cost", unit, list(zip(labels, map(_exactly, paid), accuracy, strict=True))),
    ]


def _exactly(value: float) -> Interval:
    return Interval(value, value, value)


def _front(
    analysis: Analysis, group: Group, kind: str, unit: tuple[str, str], points: Sequence[tuple[str, Interval, Interval]]
) -> Figure:
    """`unit`: the title of what is spent, and the format of its numbers."""
    front = on_front([(-x.mean, y.mean) for _, x, y in points])
    rows = [
        {"configuration": label, **spread("x", x, low="x_low", high="x_high"), **spread("accuracy", y), "front": int(ahead)}
        for (label, x, y), ahead in zip(points, front, strict=True)
    ]
    title, form = unit
    x = {"field": "x", "type": "quantitative", "title": title, "scale": {"zero": False, "padding": 16}, "axis": {"format": form}}
    y = {"type": "quantitative", "title": "accuracy", "scale": {"zero": False, "padding": 12}, "axis": {"format": ".0%"}}
    shares = [{"field": field, "format": ".1%"} for field in ("accuracy", "low", "high")]
    tooltip = [{"field": "configuration"}, *shares, {"field": "x", "title": title, "format": form}]
    shown = "indexof(shown, datum.configuration) >= 0 || datum.configuration == 'base'"
    faded = {"condition": {"test": shown, "value": 1}, "value": 0.12}
    spec = chart(
        rows,
        height=260,
        params=[{"name": "shown", "value": shown_at_first(analysis)}],
        encoding={"x": x, "y": y | {"field": "accuracy"}},
        layer=[
            {"transform": [{"filter": "datum.front == 1"}], "mark": FRONT},
            {"encoding": {"color": colour(analysis), "opacity": faded}, "layer": crosses(90, tooltip)},
        ],
    )
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
    rows = [
        {"configuration": label, "k": k, **spread("share", _over_seeds([m.pass_at_P(k) for m in found]))}
        for label, found in _measured(group)
        for k in group.ks
    ]
    x = {"field": "k", "type": "quantitative", "scale": {"type": "log", "base": 2}, "axis": {"values": group.ks, "format": "d"}}
    y = {"field": "share", "type": "quantitative", "title": "pass@k", "scale": {"zero": False}, "axis": {"format": ".0%"}}
    tooltip = [{"field": "configuration"}, {"field": "k"}, *({"field": f, "format": ".1%"} for f in ("share", "low", "high"))]
    spec = chart_of(
        analysis,
        rows,
        height=240,
        encoding={"x": x, "y": y, "color": colour(analysis)},
        layer=[
            {"mark": {"type": "area", "opacity": 0.12}, "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}}},
            {"params": [zoom()], "mark": {"type": "line", "point": {"size": 40}}, "encoding": {"tooltip": tooltip}},
        ],
    )
    caption = "The chance that one of k samples is correct. Grey: the base. Bands: 95 % intervals."
    return Figure(f"pass_at_k_{group.file_name}", f"{group.name}: pass@k", caption, spec)


def figures(analysis: Analysis) -> list[Figure]:
    several = [several_samples_figure(analysis, group) for group in analysis.ranked if group.samples > 1]
    return [figure for group in analysis.ranked for figure in fronts(analysis, group)] + several


SECTION = Section("fronts", "Accuracy and cost", figures=figures, tables=lambda analysis: [several_samples(analysis)], legend=True)
