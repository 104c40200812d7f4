"""What all figures share: a figure is a Vega-Lite specification, which the page draws live and which becomes PNG and SVG."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from src.report.analysis import Analysis

# Okabe & Ito's colours for all kinds of colour vision; the black one is left out, since it drowns in the dark.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6BB1", "#A6761D")
SHOWN_AT_FIRST = 8  # configurations; the others are chosen in the legend
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

Row = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """`section` is the part of the page; `spec` is complete but for its width."""

    name: str
    title: str
    caption: str
    section: str
    spec: dict[str, Any]


def colour_of(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def shown_at_first(analysis: "Analysis") -> list[str]:
    """The configurations that figures show before anyone chooses: those that measured best."""
    if not analysis.ranked:
        return [c.label for c in analysis.configurations[:SHOWN_AT_FIRST]]
    group = analysis.ranked[0]
    ranked = sorted(group.configurations, key=lambda c: -group.accuracy_SP(c).mean())
    rest = [c for c in analysis.configurations if c not in ranked]
    return [c.label for c in (*ranked, *rest)][:SHOWN_AT_FIRST]


def chart(analysis: "Analysis | None", rows: Sequence[Row], **rest: Any) -> dict[str, Any]:
    """Rows go in as CSV: a third of the size of JSON."""
    out = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(out, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    kinds = {column: "number" if numeric(rows, column) else "string" for column in columns}
    spec = {
        "$schema": SCHEMA,
        "width": "container",
        "height": 200,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": out.getvalue(), "format": {"type": "csv", "parse": kinds}},
        **rest,
    }
    if analysis is not None:
        spec["params"] = [{"name": "shown", "value": shown_at_first(analysis)}, *spec.get("params", [])]
        shown = {"filter": "indexof(shown, datum.configuration) >= 0 || datum.configuration == 'base'"}
        spec["transform"] = [shown, *spec.get("transform", [])]
    return spec


def numeric(rows: Sequence[Row], column: str) -> bool:
    values = [row[column] for row in rows if row.get(column) is not None]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def colour(analysis: "Analysis") -> dict[str, Any]:
    labels = [c.label for c in analysis.configurations]
    return {
        "field": "configuration",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": [*labels, "base"], "range": [*map(colour_of, range(len(labels))), "#888888"]},
    }


def zoom() -> dict[str, Any]:
    """Drag to move, Ctrl and wheel (or a pinch) to zoom, double click to go back: the wheel alone scrolls the page.

    Not Shift, with which browsers turn the wheel sideways.
    """
    return {
        "name": "zoom",
        "select": {"type": "interval", "encodings": ["x", "y"], "zoom": "wheel![event.ctrlKey]"},
        "bind": "scales",
    }


def short(value: float) -> float:
    return float(f"{value:.4g}")
