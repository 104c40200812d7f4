"""Sweeps: the effects of a factorial one; of a search its trials, history, Pareto front, importances, slices, and what was
pruned when."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.drawing.chart import COLOURS, FRONT, Figure, chart, hues, intervals, numeric, on_front, spread, zoom
from src.drawing.table import Cell, Table, p_value, plain, table
from src.record.read import Run
from src.report.analysis import Analysis
from src.report.findings.configurations import in_a_file_name
from src.report.section import Section
from src.report.sections.factors import cells, effects, effects_figure, factor_levels
from src.report.sections.uncertainty import UNCERTAIN, uncertain, uncertain_by
from src.statistics import Difference, Interval, Side, contrast
from src.sweep.fidelity import rankings
from src.sweep.read import Importance, SweepRecord


def of_sweep(sweep: SweepRecord, number: int) -> list[Figure]:
    """History, importances and slices of a search, and what was pruned when."""
    figures = [_history(sweep, number)] if any(trial.value is not None for trial in sweep.trials) else []
    if len(sweep.objectives) > 1 and sweep.complete:
        figures.append(_pareto(sweep, number))
    if sweep.importances:
        figures.append(_importances(sweep, number, sweep.importances))
    names = dict.fromkeys([*(sweep.importances or ()), *(name for trial in sweep.trials for name in trial.params)])
    figures += [figure for name in list(names)[:8] if (figure := _slice(sweep, number, name))]
    if any(trial.state == "pruned" and trial.step is not None for trial in sweep.trials):
        figures.append(_pruned(sweep, number))
    return figures


_STATES = hues("state", {"complete": "#0072B2", "pruned": "#E69F00", "fail": "#D55E00", "running": "#888888"})
_DOTS = {"type": "point", "filled": True, "size": 60}


def _history(sweep: SweepRecord, number: int) -> Figure:
    pick, best, rows = max if sweep.maximise else min, None, []
    for trial in sweep.trials:
        if (value := trial.value) is None:
            continue
        if trial.state == "complete":
            best = value if best is None else pick(best, value)
        row = {"trial": trial.number, "value": value, "state": trial.state, "best": best, "params": _settings(trial.params)}
        ends = {"low": value - (trial.spread or 0.0), "high": value + (trial.spread or 0.0)}
        rows.append(row | ends | {"seeds": trial.seeds})
    tooltip = [{"field": f} for f in ("trial", "value", "state", "seeds", "params")]
    x = {"field": "trial", "type": "quantitative", "axis": {"tickMinStep": 1}}
    spec = chart(
        rows,
        height=240,
        encoding={"x": x, "y": _axis(sweep.objective, "value")},
        layer=[
            {"mark": {"type": "line", "interpolate": "step-after", "color": "#009E73"}, "encoding": {"y": {"field": "best"}}},
            {"mark": "rule", "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}, "color": _STATES}},
            {"params": [zoom()], "mark": _DOTS, "encoding": {"color": _STATES, "tooltip": tooltip}},
        ],
    )
    caption = "Line: the best so far of complete trials."
    if any(trial.spread for trial in sweep.trials):
        caption += " Bars: one standard deviation between seeds, either way."
    return Figure(f"sweep{number}_history", f"{sweep.name}: history", caption, spec)


def _axis(objective: str, field: str) -> dict[str, Any]:
    title = " ".join(objective.removeprefix("evaluation.").split("."))
    axis = {"format": ".0%"} if is_share(objective) else {}
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False}, "axis": axis}


def _pareto(sweep: SweepRecord, number: int) -> Figure:
    (of_first, up), (of_second, other_up) = list(sweep.objectives.items())[:2]
    trials = [trial for trial in sweep.complete if len(trial.values) > 1]
    front = on_front([(t.values[0] if up else -t.values[0], t.values[1] if other_up else -t.values[1]) for t in trials])
    rows = [
        {"trial": t.number, "first": t.values[0], "second": t.values[1], "front": int(ahead), "params": _settings(t.params)}
        for t, ahead in zip(trials, front, strict=True)
    ]
    tooltip = [{"field": f} for f in ("trial", "first", "second", "params")]
    colour = {"condition": {"test": "datum.front == 1", "value": COLOURS[4]}, "value": COLOURS[0]}
    spec = chart(
        rows,
        height=260,
        encoding={"x": _axis(of_second, "second"), "y": _axis(of_first, "first")},
        layer=[
            {"transform": [{"filter": "datum.front == 1"}], "mark": FRONT},
            {"params": [zoom()], "mark": _DOTS | {"opacity": 1}, "encoding": {"tooltip": tooltip, "color": colour}},
        ],
    )
    caption = "Dashed: the Pareto front, trials that no other beats in both objectives."
    return Figure(f"sweep{number}_pareto", f"{sweep.name}: Pareto front", caption, spec)


def _importances(sweep: SweepRecord, number: int, found: Mapping[str, Importance]) -> Figure:
    rows = [
        {"parameter": name, **spread("importance", Interval(each.share, each.share - each.spread, each.share + each.spread), 100)}
        for name, each in found.items()
    ]
    spec = intervals(rows, "parameter", {"field": "importance", "title": "share in what decides, %"}, {"value": COLOURS[0]})
    caption = "PED-ANOVA over complete trials; bars: one standard deviation over resampled trials, either way."
    return Figure(f"sweep{number}_importances", f"{sweep.name}: importances", caption, spec)


def _slice(sweep: SweepRecord, number: int, name: str) -> Figure | None:
    rows = [
        {"trial": trial.number, "parameter": trial.params[name], "value": trial.value, "state": trial.state}
        for trial in sweep.trials
        if name in trial.params and trial.value is not None
    ]
    if len({str(row["parameter"]) for row in rows}) < 2:
        return None
    scale = {"type": "log"} if name in sweep.logarithmic else {"zero": False}
    kind = {"type": "quantitative", "scale": scale} if numeric(rows, "parameter") else {"type": "nominal"}
    encoding = {
        "x": {"field": "parameter", "title": name} | kind,
        "y": _axis(sweep.objective, "value"),
        "color": _STATES,
        "tooltip": [{"field": f} for f in ("trial", "parameter", "value", "state")],
    }
    spec = chart(rows, mark=_DOTS, encoding=encoding)
    return Figure(f"sweep{number}_slice_{in_a_file_name(name)}", f"{sweep.name}: {name}", "", spec)


def _pruned(sweep: SweepRecord, number: int) -> Figure:
    rows = [
        {"trial": trial.number, "step": trial.step, "state": trial.state, "reason": trial.reason or ""}
        for trial in sweep.trials
        if trial.step is not None
    ]
    encoding = {
        "x": {"field": "trial", "type": "ordinal", "axis": {"labelOverlap": True}},
        "y": {"field": "step", "type": "quantitative", "title": "last step"},
        "color": _STATES,
        "tooltip": [{"field": f} for f in ("trial", "step", "state", "reason")],
    }
    title = f"{sweep.name}: what was pruned, and when"
    return Figure(f"sweep{number}_pruned", title, "", chart(rows, mark="bar", encoding=encoding))


def trials(analysis: Analysis) -> Table:
    runs = _runs_of_trials(analysis)
    rows = [
        [
            sweep.name,
            trial.number,
            trial.state,
            *(told(sweep.objective, value) for value in (trial.value, trial.expected)),
            told(sweep.objective, trial.spread or None, points=""),
            trial.seeds,
            told(list(sweep.objectives)[1], trial.values[1]) if len(trial.values) > 1 else None,
            trial.step,
            _settings(trial.params),
            trial.reason or "",
            uncertain(found) if (found := _measured(sweep, [run for folder in trial.folders for run in runs.get(folder.resolve(), ())])) else None,
        ]
        for sweep in analysis.sweeps
        for trial in sweep.trials
    ]
    going = [sweep.name for sweep in analysis.sweeps if sweep.importances is None]
    objectives = "; ".join(f"{sweep.name}: {', '.join(sweep.objectives)}" for sweep in analysis.sweeps)
    note = (
        f"Objectives: {objectives}. Of a pruned trial the last validation. The best of many trials flatters itself: it was "
        "chosen for its value. Expected: under other seeds, drawn towards the median of all trials as far as their spread is that "
        "between seeds (empirical Bayes). sweep.confirm runs the best again on fresh seeds."
        + (f" No importances yet of {', '.join(going)}: a sweep works them out when it ends." if going else "")
    )
    columns = "sweep, #trial, state, #objective, #expected, #spread over seeds, #seeds, #second objective, #steps, parameters, why it ended, "
    columns += UNCERTAIN
    return table("trials", "Trials", note, columns, rows)


def confirmation(analysis: Analysis) -> Table:
    rows = [[sweep.name, *_confirmed(sweep, row)] for sweep in analysis.sweeps for row in sweep.confirmed]
    note = (
        "The best of a search and the default recipe, run again on the same fresh seeds: what the search had said, what was then to "
        "be expected (empirical Bayes), what came, and by how much the search had flattered it. Intervals are over seeds and "
        "problems, against the default paired by both; p is corrected for the number of configurations (Holm)."
    )
    columns = (
        "sweep, configuration, #the search said, #expected, #on fresh seeds, #seeds, #flattered by, #against the default, #p, " + UNCERTAIN
    )
    return table("confirmation", "The best of a search, run again", note, columns, rows, brief=True)


def rungs(analysis: Analysis) -> Table:
    rows = [
        [
            sweep.name,
            *(_settings(sweep.rungs[rung - 1]) for rung in each.rungs),
            each.trials,
            Cell(f"{each.correlation.mean:.2f} ({each.correlation.low:.2f} to {each.correlation.high:.2f})".replace("-", "−"), each.correlation.mean),
            *(_settings(next(trial.params for trial in sweep.trials if trial.number == best)) for best in each.best),
        ]
        for sweep in analysis.sweeps
        for each in rankings({trial.number: trial.rungs for trial in sweep.trials}, sweep.maximise)
    ]
    note = (
        "Of trials that climbed rungs (sweep.fidelity): how far a lower rung ranks them as a higher one does (Spearman's rank "
        "correlation, Bonett and Wright's 95 % interval), and which is the best by each. Only trials that were good at one rung come "
        "to the next, and those differ less, so that over all trials the correlation would mostly be higher."
    )
    columns = "sweep, lower rung, higher rung, #trials with both, #rank correlation, best at the lower, best at the higher"
    return table("rungs", "How small runs rank large ones", note, columns, rows)


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={plain(value)}" for key, value in values.items())


def _confirmed(sweep: SweepRecord, row: Mapping[str, Any]) -> list[Any]:
    trial = next((trial for trial in sweep.trials if trial.number == row["trial"]), None)
    params = _settings(trial.params) if trial else ""
    against = row.get("against_default")
    return [
        "the default recipe" if row["trial"] is None else f"trial {row['trial']}: {params}",
        *(told(sweep.objective, row.get(key)) for key in ("search", "expected")),
        told(sweep.objective, *(row[key] for key in ("confirmed", "low", "high"))),
        len(row["by_seed"]),
        told(sweep.objective, row.get("flattered_by"), points="+"),
        told(sweep.objective, *(against[key] for key in ("mean", "low", "high")), points="+") if against else None,
        p_value(against["p"]) if against else None,
        uncertain_by(against["shares"], len(row["by_seed"])) if against and "shares" in against else None,
    ]


def is_share(objective: str) -> bool:
    """Whether an objective is a share, which is told in %."""
    return objective.endswith(("accuracy", "_share"))


def told(objective: str, value: float | None, *ends: float, points: str | None = None) -> Cell | None:
    """A value of an objective, with the ends of its interval; or a difference of two, with the format of its sign in `points`."""
    if value is None:
        return None
    share = is_share(objective)
    texts = [f"{100 * each:{points or ''}.1f}" if share else f"{each:{points or ''}.4g}" for each in (value, *ends)]
    unit = "" if not share else " %" if points is None else " points"
    text = f"{texts[0]} ({texts[1]} to {texts[2]}){unit}" if ends else texts[0] + unit
    return Cell(text.replace("-", "−"), value)


def _runs_of_trials(analysis: Analysis) -> dict[Path, list[Run]]:
    """By a trial's folder, which is that of its run or holds one for each seed."""
    found: dict[Path, list[Run]] = {}
    for run in (*analysis.runs, *analysis.picked):
        for folder in (run.folder.resolve(), run.folder.resolve().parent):
            found.setdefault(folder, []).append(run)
    return found


def _measured(sweep: SweepRecord, runs: Sequence[Run]) -> Difference | None:
    """The objective over the seeds of a trial and problems, where it is an accuracy that all its runs have measured alike."""
    key = re.fullmatch(r"evaluation\.(\w+)\.(after|best)\.accuracy", sweep.objective)
    if not key or not runs or any(key.groups() not in run.measures for run in runs):
        return None
    measures = [run.measures[key[1], key[2]] for run in runs]
    if any(measure.problems != measures[0].problems for measure in measures):
        return None
    values_SP = [measure.accuracy_P for measure in measures]
    return contrast([Side(values_SP, tuple(run.seed for run in runs), samples=min(m.effective_samples for m in measures))])


def importances(analysis: Analysis) -> Table:
    rows = [
        [sweep.name, name, Cell(f"{100 * each.share:.0f} ± {100 * each.spread:.0f} %", each.share)]
        for sweep in analysis.sweeps
        for name, each in (sweep.importances or {}).items()
    ]
    note = (
        "Share in what decides the first objective, by PED-ANOVA, with the standard deviation over resampled trials, as the "
        "sweep worked it out when it last ended."
    )
    return table("importances", "Importances", note, "sweep, parameter, #importance", rows)


def figures(analysis: Analysis) -> list[Figure]:
    factorial = [figure for each in analysis.factorials for figure in (cells(each), effects_figure(each))]
    return factorial + [figure for number, sweep in enumerate(analysis.sweeps) for figure in of_sweep(sweep, number)]


SECTION = Section(
    "sweeps",
    "Sweeps",
    "What each choice does.",
    figures,
    lambda analysis: [
        effects("effects", "Factorial effects", analysis.factorials), factor_levels(analysis), confirmation(analysis), rungs(analysis),
        importances(analysis), trials(analysis),
    ],
)
