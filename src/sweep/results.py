"""What a sweep leaves in its folder besides the storage and the trials: plain files, made anew from the study.

sweep.yaml (what was asked), trials.parquet and trials.csv, best.yaml (parameters, values, the command that reruns it),
confirmation.yaml (what the best came to on fresh seeds), importances.yaml, summary.yaml (what was bought for what, what pruning
saved, and how well lower rungs ranked the trials).
"""

import shlex
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, variance
from typing import TYPE_CHECKING, Any

import optuna
import yaml
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from src.common.errors import UserError
from src.common.files import write_whole
from src.statistics import shrunken
from src.sweep.budget import CONFIRMED, HOURS, Accounts, Spending
from src.sweep.confirm import found_again
from src.sweep.fidelity import rankings, values_of
from src.sweep.read import CONFIRMATION, read_confirmation
from src.sweep.repeats import Configuration, best_of, configurations
from src.sweep.seeds import SEED
from src.sweep.space import Space, written
from src.sweep.trials import load, trials_table

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 50  # of the trials, for the spread of the importances
ENDED, NOISE = "ended", "noise"  # study attributes
FEWEST_TRIALS = 6  # complete ones below which importances mean nothing


def write_yaml(path: Path, content: Any) -> None:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def importances(study: Study, objective: int) -> dict[str, dict[str, float]]:
    """The importance of each parameter for an objective, adding up to 1, with its spread.

    By PED-ANOVA (arXiv 2304.10255) over the complete trials; the spread is the standard deviation over resampled
    trials. A varied seed is none. Empty with fewer than FEWEST_TRIALS.
    """
    import numpy as np

    complete = [t for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if t.params.keys() - {SEED}]
    if len(complete) < FEWEST_TRIALS:
        return {}
    rng = np.random.default_rng(0)
    point = _importances(complete, objective, study)
    draws = [
        _importances([complete[i] for i in rng.integers(len(complete), size=len(complete))], objective, study)
        for _ in range(RESAMPLES)
    ]
    return {
        name: {"importance": round(value, 4), "spread": round(float(np.std([draw.get(name, 0.0) for draw in draws])), 4)}
        for name, value in point.items()
    }


def _importances(trials: Sequence[FrozenTrial], objective: int, study: Study) -> dict[str, float]:
    copy = optuna.create_study(direction=study.directions[objective].name.lower())
    copy.add_trials(
        [
            create_trial(value=t.values[objective], params=_but_seed(t.params), distributions=_but_seed(t.distributions))
            for t in trials
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a parameter with one value among the trials is no reason to warn
        return get_param_importances(copy, evaluator=PedAnovaImportanceEvaluator())


def _but_seed(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name != SEED}


def rerun_command(space: Space, params: Mapping[str, Any]) -> str:
    """The command line that runs one trial's configuration again, by itself."""
    words = [*space.options, *space.shown]
    if any(word.startswith("+sweep=") for word in words):
        words.append("hydra.mode=RUN")  # sweep files set MULTIRUN
    words += [f"{space.keys.get(name, name)}={written(value)}" for name, value in params.items()]
    return " ".join(["python -m src.run", *map(shlex.quote, words)])


def _remember(study: Study, why: str | None, noise: float | None) -> None:
    """What the results say and only the sweeper knew, for them to be written anew."""
    for key, value in ((ENDED, why), (NOISE, noise)):
        if study.user_attrs.get(key) != value:
            study.set_user_attr(key, value)


def saved_by_pruning(study: Study) -> dict[str, float]:
    """Seconds and dollars that pruned trials would have taken besides, had each gone on as long as the mean full one."""
    accounts: dict[TrialState, list[dict[str, Any]]] = {TrialState.COMPLETE: [], TrialState.PRUNED: []}
    for trial in study.get_trials(deepcopy=False, states=tuple(accounts)):
        if account := trial.user_attrs.get("account"):
            accounts[trial.state].append(account)
    full, pruned = accounts[TrialState.COMPLETE], accounts[TrialState.PRUNED]
    saved = {"trials": float(len(pruned))}
    for key in ("seconds", "usd"):
        mean = sum(account[key] for account in full) / len(full) if full else 0.0
        saved[key] = sum(max(0.0, mean - account[key]) for account in pruned)
    return saved


def write_results(
    folder: Path, study: Study, objectives: Sequence[str], space: Space, spending: Spending, why: str | None, *,
    noise: float | None = None, again: Study | None = None,
) -> dict[str, Any]:
    """Write all tables and files; returns what summary.yaml says. What of them fails is said, and takes no other down.

    `noise` is the variance of the first objective between runs of one recipe, for trials of one seed; `again` the study that
    confirmed the best."""
    _part("the storage", lambda: _remember(study, why, noise))
    expected = _part("what is expected of the trials", lambda: expectations(study, noise), {})
    table = _part("the table of trials", lambda: plain(with_expected(trials_table(study, objectives), objectives[0], expected)), None)
    if table is not None:
        _part("trials.parquet", lambda: write_whole(folder / "trials.parquet", lambda path: table.to_parquet(path, index=False)))
        _part("trials.csv", lambda: write_whole(folder / "trials.csv", lambda path: table.to_csv(path, index=False)))
    if again:
        _part("the confirmation", lambda: write_yaml(folder / CONFIRMATION, found_again(study, again, objectives[0], expected)))
    confirmed = _part("the confirmation", lambda: read_confirmation(folder), [])
    best = _part("the best", lambda: best_rows(study, objectives, space, expected, confirmed), [])
    _part("best.yaml", lambda: write_yaml(folder / "best.yaml", best))
    found = {
        key: _part(f"importances for {key}", lambda place=place: importances(study, place), {})
        for place, key in enumerate(objectives)
    }
    _part("importances.yaml", lambda: write_yaml(folder / "importances.yaml", found))
    states = Counter(trial.state.name.lower() for trial in study.get_trials(deepcopy=False))
    going_on = states["running"] and f"{states['running']} of {states.total()} trials are not done"
    summary = {
        "study": study.study_name, "ended": why or going_on or "all trials are done", "trials": dict(states),
        "best": best, "confirmation": confirmed, "importances": found,
        "rankings": _part("how the rungs rank the trials", lambda: ranked(study), []),
        "saved_by_pruning": _part("what pruning saved", lambda: saved_by_pruning(study), {"trials": 0.0, "seconds": 0.0, "usd": 0.0}),
        "spent": {"usd": spending.usd, "hours": spending.hours, "trials": spending.trials},
        "spent_by_state": _part("what was spent", lambda: _by_state(table), {}) if table is not None else {},
    }
    _part("summary.yaml", lambda: write_yaml(folder / "summary.yaml", summary))
    return summary


def write_results_anew(folder: Path) -> dict[str, Any]:
    """The results of the sweep in a folder once more, from its storage. Raises UserError where there is no sweep to be read."""
    try:
        about = yaml.safe_load((folder / "sweep.yaml").read_text(encoding="utf-8"))
        name, objectives = about["study"], list(about["objectives"])
        study = load(folder, name, about.get("storage"))
        known = optuna.get_all_study_names(study._storage)
    except Exception as error:
        raise UserError(f"sweep: {folder} holds no sweep that can be read ({' '.join(f'{type(error).__name__}: {error}'.split())})") from error
    again = load(folder, f"{name}-confirm", about.get("storage")) if f"{name}-confirm" in known else None
    space = Space({}, about.get("keys", {}), tuple(about.get("fixed", ())), tuple(about.get("options", ())))
    spending = Accounts().read(study.get_trials(deepcopy=False))
    also = study.user_attrs.get(CONFIRMED, {"usd": 0.0, "hours": 0.0})
    spending.hours = also["hours"] + sum(hours for key, hours in study.user_attrs.items() if key.startswith(f"{HOURS}:"))
    spending.usd += also["usd"]
    noise = study.user_attrs.get(NOISE)
    return write_results(folder, study, objectives, space, spending, study.user_attrs.get(ENDED), noise=noise, again=again)


def _part(what: str, make: Callable[[], Any], otherwise: Any = None) -> Any:
    """What `make` gives; `otherwise`, and a line on the screen, if it fails."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - the other results must not go with this one
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        print(f"sweep: {what} cannot be had ({reason}); the other results are written", file=sys.stderr)
        return otherwise


def plain(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table with parameters of mixed types, such as null and 0.1, as Hydra spells them: a column has one type."""
    mixed = [name for name in table if name.startswith("param/") and len({_kind(v) for v in table[name].dropna()}) > 1]
    return table.assign(**{name: table[name].map(written, na_action="ignore") for name in mixed})


def _kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def best_rows(
    study: Study, objectives: Sequence[str], space: Space, expected: Mapping[int, float], confirmed: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The best configuration, or those of the front, with the command that runs each again; once confirmed, the best by fresh
    seeds. Where the seed is varied, `trial` and the command are those of its first."""
    again = {row["trial"]: row for row in confirmed if row["trial"] is not None}
    best = next(iter(again), None)
    chosen = best_of(study) if best is None else [each for each in configurations(study) if each.number == best]
    return [
        {"trial": each.number, "values": dict(zip(objectives, each.values, strict=True))}
        | ({"seeds": each.seeds, "spread": dict(zip(objectives, each.spreads, strict=True))} if each.seeds else {})
        | ({"expected": expected[each.number]} if each.number in expected else {})
        | ({"confirmed": dict(again[each.number])} if again else {})
        | {
            "params": _but_seed(each.trials[0].params), "folder": each.account.get("folder"),
            "command": rerun_command(space, each.trials[0].params),
        }
        for each in chosen
    ]  # fmt: skip


def expectations(study: Study, noise: float | None) -> dict[int, float]:
    """By number, what is to be expected of a complete configuration's first objective under other seeds; nothing where nobody
    knows how much seeds matter. Their variance is that between its own seeds where each had several, else `noise`."""
    found = configurations(study)
    by_seed = [values for each in found if len(values := _by_seed(each)) > 1]
    if by_seed and len(by_seed) == len(found):
        noise = fmean(variance(values) / len(values) for values in by_seed)
    if noise is None:
        return {}
    values = shrunken([each.values[0] for each in found], noise)
    return {trial.number: value for each, value in zip(found, values, strict=True) for trial in each.trials}


def _by_seed(each: Configuration) -> Sequence[float]:
    """The first objective, of the seeds of its trials or of those within its one trial."""
    return each.columns[0] if len(each.trials) > 1 else [values[0] for values in each.account.get("by_seed", ())]


def with_expected(table: "pd.DataFrame", objective: str, expected: Mapping[int, float]) -> "pd.DataFrame":
    return table.assign(**{f"{objective}/expected": table["number"].map(expected)}) if expected else table


def ranked(study: Study) -> list[dict[str, Any]]:
    """How well each rung of a trial has ranked each higher one; nothing of trials that climb no rungs."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    found = rankings({trial.number: values_of(trial) for trial in trials}, study.directions[0] == StudyDirection.MAXIMIZE)
    return [
        {"rungs": list(each.rungs), "trials": each.trials, "best": list(each.best)}
        | {"correlation": each.correlation.mean, "low": each.correlation.low, "high": each.correlation.high}
        for each in found
    ]


def _by_state(table: "pd.DataFrame") -> dict[str, dict[str, float]]:
    """What the finished, the pruned and the failed trials took."""
    if not len(table):
        return {}
    sums = table.groupby("state")[["seconds", "usd"]].agg(lambda column: float(column.fillna(0).astype(float).sum()))
    return {str(state): {key: float(row[key]) for key in ("seconds", "usd")} for state, row in sums.iterrows()}
