"""Tables of costs: by phase and run and for each point gained, and the published ones."""

from src.report.analysis import Analysis
from src.report.published import reference
from src.report.table import Cell, Table, table

PHASES = ("startup", "rollout", "grading", "training", "evaluation", "saving", "lost")


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
