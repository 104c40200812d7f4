"""Learning curves: one figure for each number of metrics.jsonl that tells how training went."""

import re
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from src.drawing.chart import Figure, Row, short, zoom
from src.report.analysis import Analysis
from src.report.findings.configurations import Configuration
from src.report.section import Section
from src.report.sections.shown import chart_of, colour

POINTS = 2_400  # of all configurations' curves in one figure; longer ones are averaged over neighbouring steps
FEWEST = 20  # of one curve

ACCURACY = "accuracy"
SHARES = (ACCURACY, "truncated")  # axes of shares, in %
# Curves: column of metrics.jsonl, title, axis.
_CURVES = (
    ("validation/accuracy", "Validation accuracy", ACCURACY),
    ("accuracy", "Training accuracy", ACCURACY),
    ("completion_tokens/mean", "Completion length; dashed: the limit", "tokens"),
    ("truncated_share", "Truncated completions", "truncated"),
    ("entropy", "Entropy", "nats"),
    ("kl", "KL from the reference", "nats"),
    ("reward/mean", "Reward in all, weighted", "reward"),
)


def told(analysis: Analysis) -> list[tuple[str, str, str]]:
    """Column, title and axis of each curve, those of the reward's terms last."""
    found = [re.fullmatch(r"reward/([^/]+)/mean", key) for run in analysis.runs for key in run.steps]
    terms = dict.fromkeys(term[1] for term in found if term)
    return [*_CURVES, *((f"reward/{term}/mean", f"Reward term: {term}", "reward") for term in terms)]


def curves(analysis: Analysis) -> list[Figure]:
    """Every learning curve: the mean over seeds, with a band from the lowest to the highest."""
    figures = []
    for metric, title, unit in told(analysis):
        rows = [row for c in analysis.configurations for row in _curve(c, metric, len(analysis.configurations))]
        if rows:
            figures.append(Figure("curve_" + metric.replace("/", "_"), title, "", _curve_spec(analysis, rows, title, unit)))
    return figures


def _curve(configuration: Configuration, metric: str, configurations: int) -> Iterable[Row]:
    by_step: dict[int, list[float]] = {}
    limits: dict[int, float] = {}
    for run in configuration.runs:
        if metric == "validation/accuracy" and ("validation", "before") in run.measures:
            by_step.setdefault(0, []).append(run.measures["validation", "before"].accuracy)
        limit = run.steps.get("length_limit", [None] * len(run.steps.get("step", [])))
        for step, value, most in zip(run.steps.get("step", []), run.steps.get(metric, []), limit, strict=False):
            if value is not None:
                by_step.setdefault(step, []).append(value)
                limits[step] = most
    steps = sorted(by_step)
    stride = max(1, -(-len(steps) // max(FEWEST, POINTS // configurations)))
    for start in range(0, len(steps), stride):
        part = steps[start : start + stride]
        step, values = part[len(part) // 2], [by_step[each] for each in part]
        row = {"configuration": configuration.label, "step": step, "value": short(fmean(map(fmean, values)))}
        if len(configuration.runs) > 1:
            row |= {"low": short(fmean(map(min, values))), "high": short(fmean(map(max, values)))}
        if metric == "completion_tokens/mean":
            row["limit"] = limits[step]
        yield row


def _curve_spec(analysis: Analysis, rows: Sequence[Row], title: str, unit: str) -> dict[str, Any]:
    share, steps = unit in SHARES, [row["step"] for row in rows]
    few = sum(row["configuration"] == rows[0]["configuration"] for row in rows) <= 30
    domain = {"domainMin": {"expr": "first_step"}, "nice": False}
    x = {"field": "step", "type": "quantitative", "title": "step", "axis": {"tickMinStep": 1}, "scale": domain}
    y = {"field": "value", "type": "quantitative", "title": unit, "scale": {"zero": False}, "axis": {"format": ".0%"} if share else {}}
    value = {"field": "value", "title": title, "format": ".1%" if share else ".4~g"}
    band = {"mark": {"type": "area", "opacity": 0.18}, "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}}}
    dashed = {"type": "line", "strokeDash": [5, 4], "opacity": 0.7, "interpolate": "step-after"}
    curve = {
        "params": [zoom()],
        "mark": {"type": "line", "point": {"size": 28} if few else False, "strokeWidth": 1.8},
        "encoding": {"tooltip": [{"field": "configuration"}, {"field": "step"}, value]},
    }
    spec = chart_of(
        analysis,
        rows,
        encoding={"x": x, "y": y, "color": colour(analysis)},
        layer=[
            *[band] * any("low" in row for row in rows),
            *[{"mark": dashed, "encoding": {"y": {"field": "limit"}}}] * any("limit" in row for row in rows),
            curve,
        ],
        params=[{"name": "first_step", "value": 0}, {"name": "last_step", "value": max(steps)}],
    )
    spec["transform"].append({"filter": "datum.step >= first_step && datum.step <= last_step"})
    return spec


SECTION = Section(
    "curves",
    "Learning curves",
    "Mean over seeds; the band reaches from the lowest seed to the highest.",
    figures=curves,
    legend=True,
)
