"""The figure of costs: where the time of each configuration went."""

from src.report.analysis import Analysis
from src.report.chart import Figure, chart, short
from src.report.cost_tables import PHASES

MOST = 40  # configurations
# By phase; the grey ones are what no step learns from.
HUES = {
    "rollout": "#0072B2", "grading": "#56B4E9", "training": "#009E73", "evaluation": "#E69F00", "saving": "#CC79A7",
    "startup": "#999999", "lost": "#555555",
}  # fmt: skip


def by_phase(analysis: Analysis) -> list[Figure]:
    """Minutes of a run by phase, the mean over the seeds of each configuration; nothing where no run kept account."""
    rows = []
    for configuration in analysis.configurations[:MOST]:
        accounts = [run.summary["cost"]["seconds"] for run in configuration.runs if "seconds" in run.summary.get("cost", {})]
        for phase in PHASES if accounts else ():
            minutes = sum(account.get(phase, 0.0) for account in accounts) / len(accounts) / 60
            rows.append({"configuration": configuration.label, "phase": phase, "minutes": short(minutes), "seeds": len(accounts)})
    if not rows:
        return []
    order = list(dict.fromkeys(row["configuration"] for row in rows))
    spec = chart(
        None,
        rows,
        height=30 + 24 * len(order),
        mark={"type": "bar"},
        encoding={
            "y": {"field": "configuration", "type": "nominal", "title": None, "sort": order, "axis": {"labelLimit": 260}},
            "x": {"field": "minutes", "type": "quantitative", "title": "minutes a run"},
            "color": {
                "field": "phase", "type": "nominal", "title": None, "legend": {"orient": "top", "columns": 4},
                "scale": {"domain": list(HUES), "range": list(HUES.values())},
            },
            "order": {"field": "phase_order", "type": "quantitative"},
            "tooltip": [{"field": name} for name in ("configuration", "phase", "minutes", "seeds")],
        },
        transform=[{"calculate": f"indexof({list(HUES)}, datum.phase)", "as": "phase_order"}],
    )  # fmt: skip
    left = len(analysis.configurations) - MOST
    caption = "Wall-clock time, the mean over seeds." + (f" The first {MOST}; {left} more in the table." if left > 0 else "")
    return [Figure("cost_by_phase", "Where the time went", caption, "cost", spec)]
