"""What all figures share: a figure is a Vega-Lite specification, which the page draws live and which becomes PNG and SVG."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Okabe & Ito's colours for all kinds of colour vision; the black one is left out, since it drowns in the dark.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6BB1", "#A6761D")
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

Row = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """`spec` is complete but for its width."""

    name: str
    title: str
    caption: str
    spec: dict[str, Any]


def colour_of(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def chart(rows: Sequence[Row], **rest: Any) -> dict[str, Any]:
    """Rows go in as CSV: a third of the size of JSON."""
    out = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(out, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    kinds = {column: "number" if numeric(rows, column) else "string" for column in columns}
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": 200,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": out.getvalue(), "format": {"type": "csv", "parse": kinds}},
        **rest,
    }


def intervals(rows: Sequence[Row], y: Row, x: Row, colour: Row, told: Sequence[str]) -> dict[str, Any]:
    """A line for each row, in their order: a point at `x` in its interval from low to high, and a rule at 0.

    `y`, `x` and `colour` are encodings; `told` are the fields that are shown where one points.
    """
    place = {"type": "nominal", "title": None, "sort": [row[y["field"]] for row in rows]} | y
    shared = {"y": place, "color": colour, "tooltip": [{"field": name} for name in told]}
    measured = {"type": "quantitative"} | x
    whisker = {"x": measured | {"field": "low"}, "x2": {"field": "high"}}
    return chart(
        rows,
        height=30 + 24 * len(rows),
        layer=[
            {"mark": {"type": "rule", "strokeDash": [3, 3], "color": "#888888"}, "encoding": {"x": {"datum": 0}}},
            {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": shared | whisker},
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": shared | {"x": measured},
            },
        ],
    )


def numeric(rows: Sequence[Row], column: str) -> bool:
    values = [row[column] for row in rows if row.get(column) is not None]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


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
