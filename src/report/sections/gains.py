"""Gains over the base."""


from src.drawing.chart import Figure, chart
from src.report.analysis import Analysis
from src.report.findings.configurations import Group
from src.report.sections.shown import colour

MOST_GAINS = 40  # configurations in one figure of gains


def gains(analysis: Analysis, group: Group) -> Figure:
    """Gain over the base by configuration, with intervals."""
    rows = []
    for c in group.configurations:
        found = analysis.verdict.of(group, c)
        interval = found.difference.interval
        rows.append(
            {
                "configuration": c.label,
                "gain": round(100 * interval.mean, 3),
                "low": round(100 * interval.low, 3),
                "high": round(100 * interval.high, 3),
                "standing": found.standing,
                "seeds": found.difference.seeds,
            }
        )
    rows.sort(key=lambda row: -row["gain"])
    left = max(0, len(rows) - MOST_GAINS)
    rows = rows[:MOST_GAINS]
    tooltip = [{"field": name} for name in ("configuration", "gain", "low", "high", "standing", "seeds")]
    order = [row["configuration"] for row in rows]
    y = {"field": "configuration", "type": "nominal", "title": None, "sort": order, "axis": {"labelLimit": 260}}
    spec = chart(
        rows,
        height=30 + 24 * len(rows),
        layer=[
            {"mark": {"type": "rule", "strokeDash": [3, 3], "color": "#888888"}, "encoding": {"x": {"datum": 0}}},
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {
                    "y": y,
                    "x": {"field": "low", "type": "quantitative", "title": "gain over the base, points"},
                    "x2": {"field": "high"},
                    "color": colour(analysis),
                    "tooltip": tooltip,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": {"field": "gain", "type": "quantitative"},
                    "color": colour(analysis),
                    "tooltip": tooltip,
                },
            },
        ],
    )
    caption = "Points of accuracy with 95 % intervals." + (
        f" The best {MOST_GAINS}; {left} more in the table." if left else ""
    )
    return Figure(
        f"gains_{group.suite}_{group.protocol['set of problems']}",
        f"{group.name}: gain over the base",
        caption,
        "verdict",
        spec,
    )


