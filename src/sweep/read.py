"""Optuna sweeps from their folders: the table of trials, and what mattered in it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from src.record.left_out import LeftOut, Unreadable
from src.statistics import Interval
from src.sweep.trials import TABLES, read_trials

if TYPE_CHECKING:
    import pandas as pd

_PARAM = "param/"  # begins the columns of parameters
RESAMPLED_TIMES = 20  # importances, for their spread
FEWEST_TRIALS = 6  # complete, before importances are worked out


@dataclass(frozen=True)
class SweepTrial:
    """One trial. `values` are its objectives: none if it has none, and of a pruned one the last validation accuracy,
    where that is the objective; `step` is the last one it did."""

    number: int
    state: str  # "complete", "pruned", "fail", "running" or "waiting"
    values: tuple[float, ...]
    params: dict[str, Any]
    step: int | None
    reason: str | None
    spread: float | None = None  # standard deviation of the first objective between seeds
    seeds: int = 1

    @property
    def value(self) -> float | None:
        """The first objective."""
        return self.values[0] if self.values else None


@dataclass(frozen=True)
class SweepRecord:
    """A study's trials in the order of their numbers."""

    folder: Path
    name: str
    objectives: dict[str, bool]  # by key of the summary: whether it is maximised
    trials: tuple[SweepTrial, ...]
    logarithmic: frozenset[str]  # parameters drawn on a logarithmic scale
    importances: dict[str, Interval]  # by parameter, adding up to about 1; empty with too few trials

    @property
    def maximise(self) -> bool:
        """Whether more of the first objective is better."""
        return next(iter(self.objectives.values()))

    @property
    def complete(self) -> list[SweepTrial]:
        return [trial for trial in self.trials if trial.state == "complete" and trial.value is not None]

    @property
    def best(self) -> SweepTrial | None:
        pick = max if self.maximise else min
        return pick(self.complete, key=lambda trial: trial.value, default=None)


def read_sweeps(paths: Sequence[Path]) -> tuple[list[SweepRecord], list[LeftOut]]:
    """All sweeps in and below `paths`, and those that could not be read."""
    sweeps, left_out = [], []
    for folder in dict.fromkeys(folder for path in paths if path.is_dir() for folder in _folders(path)):
        try:
            sweeps.append(read_sweep(folder))
        except Unreadable as error:
            left_out.append(LeftOut(str(folder), str(error)))
    return sweeps, left_out


def _folders(path: Path) -> Iterator[Path]:
    if (path / "summary.json").is_file():
        return
    if any((path / name).is_file() for name in ("sweep.yaml", *TABLES)):
        yield path
    for child in sorted(path.iterdir()):
        if child.is_dir() and not child.name.startswith("."):
            yield from _folders(child)


def read_sweep(folder: Path) -> SweepRecord:
    """The sweep in `folder`. Raises Unreadable, with the reason in words."""
    try:
        about = yaml.safe_load((folder / "sweep.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise Unreadable(f"malformed sweep: sweep.yaml cannot be read ({type(error).__name__})") from error
    if not isinstance(about, dict) or not isinstance(about.get("objectives"), dict) or not about["objectives"]:
        raise Unreadable("malformed sweep: sweep.yaml names no objectives")
    objectives = {key: direction == "maximize" for key, direction in about["objectives"].items()}
    name = str(about.get("study", folder.name))
    frame = read_trials(folder, name, about.get("storage"), list(objectives))
    try:
        trials = tuple(sorted(_trials(frame, list(objectives), folder), key=lambda trial: trial.number))
    except (KeyError, ValueError) as error:
        raise Unreadable(f"malformed sweep: its table of trials has no proper {error}") from error
    if not trials:
        raise Unreadable("a sweep without a trial yet")
    space = about.get("space") or {}
    logarithmic = frozenset(key for key, words in space.items() if str(words).endswith(", logarithmic"))
    sweep = SweepRecord(folder, name, objectives, trials, logarithmic, {})
    return replace(sweep, importances=_importances(sweep))


def _trials(frame: "pd.DataFrame", objectives: Sequence[str], folder: Path) -> Iterator[SweepTrial]:
    import pandas as pd

    for record in frame.to_dict("records"):
        there = {key: value for key, value in record.items() if not _missing(value, pd)}
        number, state = int(there["number"]), str(there["state"])
        values = tuple(float(there[key]) for key in objectives if key in there)
        place = folder / "trials" / Path(str(there.get("folder", f"{number:04d}"))).name
        if state == "pruned" and objectives[0].startswith("evaluation.validation.") and objectives[0].endswith(".accuracy"):
            values = _last_validation(place)
        step = there.get("steps")
        yield SweepTrial(
            number,
            state,
            values,
            {key.removeprefix(_PARAM): value for key, value in there.items() if key.startswith(_PARAM)},
            None if step is None else int(step),
            there.get("reason") or None,
            there.get(f"{objectives[0]}/spread"),
            len(list(place.glob("seed_*"))) or 1,
        )


def _last_validation(trial: Path) -> tuple[float, ...]:
    """The last validation accuracy of a trial that did not end, the mean over its seeds; nothing where there is none."""
    last = []
    for path in (trial / "metrics.jsonl", *sorted(trial.glob("seed_*/metrics.jsonl"))):
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
        found = [step["validation/accuracy"] for step in map(json.loads, lines) if step.get("validation/accuracy") is not None]
        last += found[-1:]
    return (float(np.mean(last)),) if last else ()


def _missing(value: Any, pd: Any) -> bool:
    return value is None or (np.isscalar(value) and bool(pd.isna(value)))


def _importances(sweep: SweepRecord) -> dict[str, Interval]:
    """Share of each parameter in what decides the value (PED-ANOVA, Watanabe et al. 2023, of Optuna), with the 2.5 and
    97.5 percentiles over resampled trials."""
    params = list(dict.fromkeys(name for trial in sweep.complete for name in trial.params))
    varied = [name for name in params if len({str(trial.params.get(name)) for trial in sweep.complete}) > 1]
    shared = [trial for trial in sweep.complete if all(name in trial.params for name in varied)]
    if len(shared) < FEWEST_TRIALS or not varied or len({trial.value for trial in shared}) < 3:
        return {}
    if len(varied) == 1:
        return {varied[0]: Interval(1.0, 1.0, 1.0)}
    rng = np.random.default_rng(0)
    whole = _ped_anova(shared, varied, sweep.maximise)
    drawn = [
        _ped_anova([shared[i] for i in rng.integers(0, len(shared), len(shared))], varied, sweep.maximise)
        for _ in range(RESAMPLED_TIMES)
    ]
    spread = {name: np.percentile([each[name] for each in drawn], [2.5, 97.5]) for name in varied}
    order = sorted(varied, key=lambda name: -whole[name])
    return {name: Interval(whole[name], float(spread[name][0]), float(spread[name][1])) for name in order}


def _ped_anova(trials: Sequence[SweepTrial], names: Sequence[str], maximise: bool) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {name: _distribution([trial.params[name] for trial in trials]) for name in names}
    study = optuna.create_study(direction="maximize" if maximise else "minimize")
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: _choice(trial.params[name], distributions[name]) for name in names},
                distributions=distributions,
                value=trial.value,
            )
            for trial in trials
        ]
    )
    found = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), params=list(names)
    )
    return {name: float(found.get(name, 0.0)) for name in names}


def _distribution(values: Sequence[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values) and len(set(values)) > 1:
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=low > 0 and high / low > 20)
    return CategoricalDistribution(sorted({str(value) for value in values}))


def _choice(value: Any, distribution: Any) -> Any:
    return str(value) if hasattr(distribution, "choices") else float(value)
