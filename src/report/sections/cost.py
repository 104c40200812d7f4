"""Where time and money went: by phase, for each point gained, and the published costs."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from src.drawing.chart import Figure, chart, hues, lines, short, time_unit
from src.drawing.table import Cell, Table, counted, dollars, gain_with, seconds, table
from src.record.ledger import PHASES
from src.report.analysis import Analysis
from src.report.findings.configurations import Configuration
from src.report.reference.read import reference
from src.report.section import Section
from src.report.sections.uncertainty import UNCERTAIN, uncertain

TOLD = ("rollout", "grading", "training", "evaluation")  # phases with a column of their own


def costs(analysis: Analysis) -> Table:
    main = analysis.ranked[0] if analysis.ranked else None
    rows = []
    for c in analysis.configurations:
        if not (bills := _bills(c)):
            continue
        spent = _mean_seconds(bills)
        usd, gpu_hours, tokens = (fmean(bill.get(key) or 0.0 for bill in bills) for key in ("usd", "gpu_hours", "completion_tokens"))
        time, gain = sum(spent.values()), analysis.verdict.of(main, c).difference if main and c.key in main.runs else None
        gained = 100 * gain.mean if gain else 0.0
        rows.append(
            [
                c.label,
                len(bills),
                seconds(time),
                *(seconds(spent[phase]) for phase in TOLD),
                seconds(time - sum(spent[phase] for phase in TOLD)),
                Cell(f"{gpu_hours:.3g}", gpu_hours),
                counted(tokens),
                dollars(usd),
                gain_with(gain.interval) if gain else None,
                dollars(usd / gained) if gained > 0 and usd else None,
                seconds(time / gained) if gained > 0 else None,
                uncertain(gain) if gain else None,
            ]
        )
    columns = (
        f"configuration, #runs, #time a run, {', '.join(f'#{phase}' for phase in TOLD)}, #other, #GPU-hours, #completion tokens, #cost a run, "
        f"#points gained, #cost per point, #time per point, {UNCERTAIN}"
    )
    suite = f" Points gained on {main.name}." if main else ""
    note = f"Mean of a configuration's runs that ended in order, wall-clock time by phase.{suite} A machine without a price costs $0."
    return table("costs", "What it cost", note, columns, rows)


def _bills(configuration: Configuration) -> list[dict[str, Any]]:
    return [bill for run in configuration.measured or configuration.runs if (bill := run.summary.get("cost"))]


def _mean_seconds(bills: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of a run, by phase."""
    return {phase: fmean(bill.get("seconds", {}).get(phase, 0.0) for bill in bills) for phase in PHASES}


def published_costs(analysis: Analysis) -> Table:
    rows = [
        [r["model"], float(r["gpus"]), r["gpu"], float(r["hours"]), dollars(float(r["cost_usd"])), r["source"]]
        for r in reference("costs")
    ]
    columns = "model, #GPUs, GPU, #hours, #cost, source"
    closed = "A" not in analysis.studies
    return table("published_costs", "Published costs", "As their authors give them.", columns, rows, closed=closed)


MOST = 40  # configurations
# By phase; the grey ones are what no step learns from.
HUES = {
    "rollout": "#0072B2", "grading": "#56B4E9", "training": "#009E73", "evaluation": "#E69F00", "saving": "#CC79A7",
    "startup": "#999999", "lost": "#555555",
}  # fmt: skip


def by_phase(analysis: Analysis) -> list[Figure]:
    """Time of a run by phase, the mean over the seeds of each configuration; nothing where no run kept account."""
    bills = {c.label: found for c in analysis.configurations[:MOST] if (found := _bills(c))}
    spent = {label: _mean_seconds(found) for label, found in bills.items()}
    longest = max((sum(each.values()) for each in spent.values()), default=0.0)
    if not longest:
        return []
    size, unit = time_unit(longest)
    rows = [
        {"configuration": label, "phase": phase, "order": order, "time": short(each[phase] / size), "seeds": len(bills[label])}
        for label, each in spent.items()
        for order, phase in enumerate(HUES)
    ]
    place = lines("configuration", list(spent))
    spec = chart(
        rows,
        height=place.height,
        mark={"type": "bar", "size": 12, "yOffset": place.below},
        encoding={
            "y": place.y,
            "x": {"field": "time", "type": "quantitative", "title": f"{unit} a run"},
            "color": hues("phase", HUES, columns=4),
            "order": {"field": "order", "type": "quantitative"},
            "tooltip": [{"field": "configuration"}, {"field": "phase"}, {"field": "time", "title": unit}, {"field": "seeds"}],
        },
    )
    left = len(analysis.configurations) - MOST
    caption = "Wall-clock time, the mean over seeds." + (f" The first {MOST}; {left} more in the table." if left > 0 else "")
    return [Figure("cost_by_phase", "Where the time went", caption, spec)]


SECTION = Section("cost", "Cost", figures=by_phase, tables=lambda analysis: [costs(analysis), published_costs(analysis)])
