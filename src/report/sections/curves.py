"""Learning curves: one figure for each number of metrics.jsonl that tells how training went."""

from collections.abc import Iterable, Sequence
from typing import Any

from src.drawing.chart import Figure, Row, short, zoom
from src.report.analysis import Analysis
from src.report.findings.configurations import Configuration
from src.report.section import Section
from src.report.sections.shown import chart_of, colour

POINTS = 24_000  # of all configurations' curves in one figure; longer ones are averaged over neighbouring steps

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
    terms = dict.fromkeys(
        key
        for run in analysis.runs
        for key in run.steps
        if key.startswith("reward/") and key.endswith("/mean") and key != "reward/mean"
    )
    return [*_CURVES, *((key, f"Reward term: {key.split('/')[1]}", "reward") for key in terms)]


def curves(analysis: Analysis) -> list[Figure]:
    """Every learning curve: the mean over seeds, with a band from the lowest to the highest."""
    figures = []
    for metric, title, unit in told(analysis):
        rows = [row for c in analysis.configurations for row in _curve(c, metric, len(analysis.configurations))]
        if rows:
            name = "curve_" + metric.replace("/", "_")
            figures.append(Figure(name, title, "", _curve_spec(analysis, rows, title, unit)))
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
    stride = max(1, -(-len(steps) * configurations // POINTS), -(-len(steps) // 250) if configurations > 8 else 1)
    stride = max(stride, -(-len(steps) // max(20, 2400 // configurations)))
    for start in range(0, len(steps), stride):
        part = steps[start : start + stride]
        values = [by_step[step] for step in part]
        row = {
            "configuration": configuration.label,
            "step": part[len(part) // 2],
            "value": short(sum(sum(v) / len(v) for v in values) / len(values)),
        }
        if len(configuration.runs) > 1:
            row |= {
                "low": short(sum(map(min, values)) / len(values)),
                "high": short(sum(map(max, values)) / len(values)),
            }
        if metric == "completion_tokens/mean":
            row["limit"] = limits[part[len(part) // 2]]
        yield row


def _curve_spec(analysis: Analysis, rows: Sequence[Row], title: str, unit: str) -> dict[str, Any]:
    x = {
        "field": "step",
        "type": "quantitative",
        "title": "step",
        "axis": {"tickMinStep": 1},
        "scale": {"domainMin": {"expr": "first_step"}, "nice": False},
    }
    share = unit in SHARES
    y = {"type": "quantitative", "title": unit, "scale": {"zero": False}} | ({"axis": {"format": ".0%"}} if share else {})
    value = {"field": "value", "title": title, "format": ".1%" if share else ".4~g"}
    tooltip = [{"field": "configuration"}, {"field": "step"}, value]
    hue = colour(analysis)
    few = max(sum(row["configuration"] == rows[0]["configuration"] for row in rows), 1) <= 30
    layers = []
    if any("low" in row for row in rows):
        layers.append(
            {
                "mark": {"type": "area", "opacity": 0.18},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "low"},
                    "y2": {"field": "high"},
                    "color": hue,
                },
            }
        )
    if any("limit" in row for row in rows):
        layers.append(
            {
                "mark": {"type": "line", "strokeDash": [5, 4], "opacity": 0.7, "interpolate": "step-after"},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "limit"},
                    "color": hue,
                    "detail": {"field": "configuration"},
                },
            }
        )
    layers.append(
        {
            "params": [zoom()],
            "mark": {"type": "line", "point": {"size": 28} if few else False, "strokeWidth": 1.8},
            "encoding": {"x": x, "y": {**y, "field": "value"}, "color": hue, "tooltip": tooltip},
        }
    )
    steps = [row["step"] for row in rows]
    spec = chart_of(
        analysis,
        rows,
        layer=layers,
        params=[
            {"name": "first_step", "value": 0},
            {"name": "last_step", "value": max(steps)},
        ],
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
