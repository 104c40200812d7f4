"""Which configurations the figures show at first, and in which colour."""

from collections.abc import Sequence
from typing import Any

from src.drawing.chart import Row, chart, colour_of
from src.report.analysis import Analysis

SHOWN_AT_FIRST = 8  # configurations; the others are chosen in the legend


def shown_at_first(analysis: Analysis) -> list[str]:
    """The configurations that figures show before anyone chooses: those that measured best."""
    ranked = analysis.ranked[0].by_accuracy if analysis.ranked else []
    return list(dict.fromkeys(c.label for c in (*ranked, *analysis.configurations)))[:SHOWN_AT_FIRST]


def chart_of(analysis: Analysis, rows: Sequence[Row], **rest: Any) -> dict[str, Any]:
    """A chart of configurations, of which it shows those chosen in the legend."""
    spec = chart(rows, **rest)
    spec["params"] = [{"name": "shown", "value": shown_at_first(analysis)}, *spec.get("params", [])]
    shown = {"filter": "indexof(shown, datum.configuration) >= 0 || datum.configuration == 'base'"}
    spec["transform"] = [shown, *spec.get("transform", [])]
    return spec


def colour(analysis: Analysis) -> dict[str, Any]:
    labels = [c.label for c in analysis.configurations]
    return {
        "field": "configuration",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": [*labels, "base"], "range": [*map(colour_of, range(len(labels))), "#888888"]},
    }
