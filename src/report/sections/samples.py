"""Several samples a problem: pass@k and majority@k."""

from collections.abc import Sequence

import numpy as np

from src.drawing.chart import Figure, short, zoom
from src.drawing.table import Table, share_with, table
from src.record.measures import Measure
from src.report.analysis import Analysis
from src.report.findings.configurations import Group
from src.report.sections.shown import chart_of, colour
from src.statistics import Interval, Side, share_of


def several_samples(analysis: Analysis) -> Table:
    """pass@k and majority@k for every k up to the number of samples, before and after training."""
    rows = []
    for group in analysis.groups:
        if group.measure.samples == 1:
            continue
        for name, measures in _measured(group):
            for k in group.measure.ks:
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
        for k in group.measure.ks:
            interval = _over_seeds([m.pass_at_P(k) for m in found])
            low, high = short(interval.low), short(interval.high)
            rows.append({"configuration": label, "k": k, "share": short(interval.mean), "low": low, "high": high})
    x = {"field": "k", "type": "quantitative", "scale": {"type": "log", "base": 2}, "axis": {"values": group.measure.ks, "format": "d"}}
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
    name = f"pass_at_k_{group.suite}_{group.protocol['set of problems']}"
    caption = "The chance that one of k samples is correct. Grey: the base. Bands: 95 % intervals."
    return Figure(name, f"{group.name}: pass@k", caption, "fronts", chart_of(analysis, rows, layer=layers, height=240))
