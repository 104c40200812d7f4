"""Where time and money went: by phase and run, for each point gained, and the published costs."""

from src.drawing.chart import Figure, chart, short
from src.drawing.table import Cell, Table, table
from src.record.ledger import PHASES
from src.report.analysis import Analysis
from src.report.reference.read import reference
from src.report.section import Section


def costs(analysis: Analysis) -> Table:
    main = analysis.ranked[0] if analysis.ranked else None
    rows = []
    for c in analysis.configurations:
        for run in c.runs:
            cost = run.summary.get("cost")
            if not isinstance(cost, dict):
                continue
            seconds = cost.get("seconds", {})
            gain = None
            if main and run in main.runs.get(c.key, ()):
                gain = 100 * (run.final(main.suite).accuracy - run.measures[main.suite, "before"].accuracy)
            usd, total = cost.get("usd", 0.0), sum(seconds.values())
            rows.append(
                [
                    c.label,
                    run.seed,
                    run.status,
                    len(run.steps.get("step", [])),
                    Cell(f"{total:.0f}", round(total, 1)),
                    *[Cell(f"{seconds.get(phase, 0):.0f}", round(seconds.get(phase, 0), 2)) for phase in PHASES],
                    Cell(f"{cost.get('gpu_hours', 0):.3g}", cost.get("gpu_hours", 0)),
                    cost.get("completion_tokens"),
                    Cell(f"${usd:.2f}", usd),
                    None if gain is None else Cell(f"{gain:+.1f}", round(gain, 3)),
                    Cell(f"${usd / gain:.2f}", usd / gain) if gain and gain > 0 and usd else None,
                    Cell(f"{total / gain:.0f} s", total / gain) if gain and gain > 0 else None,
                ]
            )
    columns = (
        f"configuration, #seed, status, #steps, #seconds, {', '.join(f'#{phase}' for phase in PHASES)}, #GPU-hours, "
        "#completion tokens, #cost, #points gained, #cost per point, #time per point"
    )
    suite = f" Points gained on {main.name}." if main else ""
    return table(
        "costs",
        "What it cost",
        f"Seconds of wall-clock time by phase.{suite} A machine without a price costs $0.",
        columns,
        rows,
    )


def published_costs() -> Table:
    rows = [
        [
            r["model"],
            float(r["gpus"]),
            r["gpu"],
            float(r["hours"]),
            Cell(f"${float(r['cost_usd']):,.0f}", float(r["cost_usd"])),
            r["source"],
        ]
        for r in reference("costs")
    ]
    return table(
        "published_costs",
        "Published costs",
        "As their authors give them.",
        "model, #GPUs, GPU, #hours, #cost, source",
        rows,
    )


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
    return [Figure("cost_by_phase", "Where the time went", caption, spec)]


SECTION = Section("cost", "Cost", figures=by_phase, tables=lambda analysis: [costs(analysis), published_costs()])
