"""Tables of sweeps: every trial with what came of it, and what mattered."""

from src.report.analysis import Analysis
from src.report.configurations import plain
from src.report.table import Cell, Table, table


def trials(analysis: Analysis) -> Table:
    rows = [
        [
            sweep.name,
            trial.number,
            trial.state,
            None if trial.value is None else Cell(f"{trial.value:.4g}", trial.value),
            None if not trial.spread else Cell(f"{trial.spread:.2g}", trial.spread),
            trial.seeds,
            None if len(trial.values) < 2 else Cell(f"{trial.values[1]:.4g}", trial.values[1]),
            trial.step,
            ", ".join(f"{key}={plain(value)}" for key, value in trial.params.items()),
            trial.reason or "",
        ]
        for sweep in analysis.sweeps
        for trial in sweep.trials
    ]
    objectives = "; ".join(f"{sweep.name}: {', '.join(sweep.objectives)}" for sweep in analysis.sweeps)
    note = (
        f"Objectives: {objectives}. Of a pruned trial the last validation. The best of many trials flatters itself: it was "
        "chosen for its value. Run it again under other seeds before believing it."
    )
    columns = "sweep, #trial, state, #objective, #spread over seeds, #seeds, #second objective, #steps, parameters, why it ended"
    return table("trials", "Trials", note, columns, rows)


def importances(analysis: Analysis) -> Table:
    rows = [
        [sweep.name, name, Cell(f"{i.mean:.2f} ({i.low:.2f}–{i.high:.2f})", round(i.mean, 4))]
        for sweep in analysis.sweeps
        for name, i in sweep.importances.items()
    ]
    note = "Share in what decides the first objective, by PED-ANOVA, with the 2.5 to 97.5 percentiles over resampled trials."
    return table("importances", "Importances", note, "sweep, parameter, #importance", rows)
