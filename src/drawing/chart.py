"""What all figures share: a figure is a Vega-Lite specification, which the page draws live and which becomes PNG and SVG."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.statistics import Interval

# Okabe & Ito's colours for all kinds of colour vision; the black one is left out, since it drowns in the dark.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6BB1", "#A6761D")
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
FRONT = {"type": "line", "interpolate": "step-after", "color": "#888888", "strokeDash": [4, 3]}  # the mark of a Pareto front

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


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Of points of two numbers, the more the better, those that no other beats in both."""
    return [not any(a >= x and b >= y and (a, b) != (x, y) for a, b in points) for x, y in points]


def spread(name: str, interval: Interval, unit: float = 1.0, low: str = "low", high: str = "high") -> Row:
    """A mean and its interval as three numbers of a row, times a `unit`, such as 100 for per cent."""
    return {name: short(unit * interval.mean), low: short(unit * interval.low), high: short(unit * interval.high)}


def hues(field: str, colours: Mapping[str, str], **legend: Any) -> Row:
    """The encoding of a field in colours by its values, told in a legend above the figure unless `legend` says otherwise."""
    scale = {"domain": list(colours), "range": list(colours.values())}
    return {"field": field, "type": "nominal", "title": None, "legend": {"orient": "top"} | legend, "scale": scale}


def crosses(size: int, tooltip: Sequence[Row]) -> list[Row]:
    """Layers of points with their intervals both ways, from x_low to x_high and from low to high, where x, y and colour are shared."""
    return [
        {"mark": "rule", "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}}},
        {"mark": "rule", "encoding": {"x": {"field": "x_low"}, "x2": {"field": "x_high"}}},
        {
            "params": [zoom()],
            "mark": {"type": "point", "filled": True, "size": size, "opacity": 1},
            "encoding": {"tooltip": tooltip},
        },
    ]


_WRAP = r"(.{40}\S*) "  # of a label: a line of it ends at the first space from here on


@dataclass(frozen=True)
class Lines:
    """A line for each label, which stands above its marks and is broken where it is long: nothing of it is cut on a phone."""

    y: Row  # encoding
    height: int
    below: int  # pixels from the middle of a line to its marks


def lines(field: str, labels: Sequence[str]) -> Lines:
    broken = max((len(re.findall(_WRAP, label)) for label in labels), default=0)
    step = 36 + 12 * broken
    axis = {
        "labelExpr": f"split(replace(datum.label, regexp('{_WRAP.replace(chr(92), chr(92) * 2)}', 'g'), '$1\\n'), '\\n')",
        "labelAlign": "left", "labelBaseline": "line-top", "labelOffset": 2 - step // 2, "labelPadding": -2, "labelLimit": 0,
        "labelLineHeight": 12, "ticks": False, "domain": False, "zindex": 1,
    }  # fmt: skip
    y = {"field": field, "type": "nominal", "title": None, "sort": list(dict.fromkeys(labels)), "axis": axis, "scale": {"padding": 0}}
    return Lines(y, step * len(set(labels)), step // 2 - 9)


def intervals(rows: Sequence[Row], label: str, x: Row, colour: Row) -> dict[str, Any]:
    """A line for each row, in their order: a point at `x` in its interval from low to high, and a rule at 0.

    `label` is the field that names a row, `x` and `colour` are encodings; all fields are shown where one points.
    """
    place = lines(label, [row[label] for row in rows])
    shared = {"y": place.y, "color": colour, "tooltip": [{"field": name} for name in rows[0]]}
    measured = {"type": "quantitative"} | x
    whisker = {"x": measured | {"field": "low"}, "x2": {"field": "high"}}
    return chart(
        rows,
        height=place.height,
        layer=[
            {"mark": {"type": "rule", "strokeDash": [3, 3], "color": "#888888"}, "encoding": {"x": {"datum": 0}}},
            {"mark": {"type": "rule", "strokeWidth": 2, "yOffset": place.below}, "encoding": shared | whisker},
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "yOffset": place.below},
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


def time_unit(longest_s: float) -> tuple[float, str]:
    """The unit that times up to `longest_s` are read in: its seconds, and its name."""
    return (1, "seconds") if longest_s < 120 else (60, "minutes") if longest_s < 7200 else (3600, "hours")


def short(value: float) -> float:
    return float(f"{value:.4g}")
