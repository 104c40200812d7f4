"""The card's figures: the funnel, and what the problems look like before and after."""

from collections.abc import Iterator, Sequence
from typing import Any

from src.curate.store import Candidate, Finished
from src.drawing.chart import COLOURS, Figure, chart

LENGTH_BIN = 100  # characters
LONGEST = 2_000  # characters; longer questions share the last bin
RATE_BIN = 1 / 16
SOURCES_SHOWN = 20
TICKS = 6
PADDING = 20  # pixels: the letters of whoever looks at an SVG may be wider than those it was laid out with

Row = dict[str, Any]


def all_figures(steps: Sequence[Finished]) -> list[Figure]:
    """The funnel, and the distributions of pass rate, length and source at the beginning and the end."""
    figures = [funnel_figure(steps)]
    stages = [("after reading", steps[0]), ("at the end", steps[-1])]
    counts = {name: _counts(step.candidates()) for name, step in stages}
    for field, title, axis in (
        ("rate", "Pass rates", "pass rate"),
        ("length", "Lengths", f"characters of the question ({LONGEST:,}: or more)"),
    ):
        rows = [
            {"stage": stage, "value": value, "share": number / sum(values[field].values())}
            for stage, values in counts.items()
            for value, number in sorted(values[field].items())
        ]
        if rows:
            width, end = (LENGTH_BIN, LONGEST) if field == "length" else (RATE_BIN, 1)
            figures.append(_histogram(field, title, axis, rows, width, end))
    figures.append(_sources({stage: values["source"] for stage, values in counts.items()}))
    return figures


def funnel_figure(steps: Sequence[Finished]) -> Figure:
    """A bar for the rows read and one for what each step kept, a tick where a publication counts otherwise."""
    rows: list[Row] = [{"step": "rows read", "problems": steps[0].rows, "text": f"{steps[0].rows:,}"}]
    for step in steps:
        lost = f"{step.kept:,}  (−{step.rows - step.kept:,})" if step.kept < step.rows else f"{step.kept:,}"
        rows.append({"step": step.name, "problems": step.kept, "text": lost, "published": step.published})
    widest = 1.25 * max(row.get("published") or row["problems"] for row in rows)
    y = {"field": "step", "type": "nominal", "sort": [row["step"] for row in rows], "title": None}
    axis = {"grid": False, "tickCount": TICKS}
    x = {"field": "problems", "type": "quantitative", "scale": {"domain": [0, widest]}, "axis": axis}
    text = {"x": x, "y": y, "text": {"field": "text", "type": "nominal"}}
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "bar", "color": COLOURS[0]}, "encoding": {"x": x, "y": y}},
        {"mark": {"type": "text", "align": "left", "dx": 6}, "encoding": text},
    ]
    if any(step.published for step in steps):
        published = x | {"field": "published"}
        tick = {"type": "tick", "color": COLOURS[4], "thickness": 3}
        layers.append({"mark": tick, "encoding": {"x": published, "y": y}})
    spec = chart(rows, layer=layers, height=28 * len(rows), padding=PADDING)
    caption = "What each step kept" + (", red: as published." if len(layers) == 3 else ".")
    return Figure("funnel", "Funnel", caption, spec)


def _counts(candidates: Iterator[Candidate]) -> dict[str, dict[Any, int]]:
    counts: dict[str, dict[Any, int]] = {"rate": {}, "length": {}, "source": {}}
    for candidate in candidates:
        values = {
            "rate": None if candidate.pass_rate is None else min(int(candidate.pass_rate / RATE_BIN), 15) * RATE_BIN,
            "length": min(len(candidate.question), LONGEST - 1) // LENGTH_BIN * LENGTH_BIN,
            "source": candidate.source,
        }
        for field, value in values.items():
            if value is not None:
                counts[field][value] = counts[field].get(value, 0) + 1
    return counts


def _histogram(name: str, title: str, axis: str, rows: list[Row], width: float, end: float) -> Figure:
    rows = [row | {"end": row["value"] + width} for row in rows]
    encoding = {
        "x": {
            "field": "value", "type": "quantitative", "bin": "binned", "title": axis, "scale": {"domain": [0, end]},
            "axis": {"tickCount": 2 * TICKS},
        },
        "x2": {"field": "end"},
        "y": {"field": "share", "type": "quantitative", "title": "share of problems", "axis": {"format": ".0%"}},
        "color": _stage_colour(),
    }
    spec = chart(rows, mark={"type": "bar", "opacity": 0.55}, encoding=encoding, padding=PADDING)
    spec["encoding"]["y"]["stack"] = None
    return Figure(name, title, f"By {axis}.", spec)


def _sources(counts: dict[str, dict[str, int]]) -> Figure:
    names = sorted(next(iter(counts.values())), key=lambda name: -counts["after reading"][name])[:SOURCES_SHOWN]
    rows = [
        {"stage": stage, "source": name, "problems": values.get(name, 0)}
        for stage, values in counts.items()
        for name in names
    ]
    encoding = {
        "y": {"field": "source", "type": "nominal", "sort": names, "title": None, "axis": {"labelLimit": 260}},
        "x": {"field": "problems", "type": "quantitative", "axis": {"tickCount": TICKS}},
        "yOffset": {"field": "stage"},
        "color": _stage_colour(),
    }
    spec = chart(rows, mark="bar", encoding=encoding, height=max(60, 40 * len(names)), padding=PADDING)
    return Figure("source", "Sources", f"The {len(names)} largest sources.", spec)


def _stage_colour() -> dict[str, Any]:
    return {
        "field": "stage",
        "type": "nominal",
        "title": None,
        "legend": {"orient": "top"},
        "scale": {"domain": ["after reading", "at the end"], "range": list(COLOURS[:2])},
    }
