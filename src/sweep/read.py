"""Optuna sweeps from their folders: the table of trials, and what mattered in it. Read, not worked out anew."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from src.record.left_out import LeftOut, Unreadable
from src.record.record import read_steps
from src.sweep.fidelity import RUNG, rungs_of
from src.sweep.seeds import SEED, spread
from src.sweep.trials import TABLES, read_trials

if TYPE_CHECKING:
    import pandas as pd

CONFIRMATION = "confirmation.yaml"
CONFIRM = "confirm"  # folder of the trials that a confirmation runs again
_PARAM = "param/"  # begins the columns of parameters


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
    expected: float | None = None  # the first objective under other seeds, by all trials
    folders: tuple[Path, ...] = ()  # of its runs, or that hold one for each seed; of trials that are one, those of all
    rungs: tuple[float, ...] = ()  # the first objective at each rung that it has done, the last one's included

    @property
    def value(self) -> float | None:
        """The first objective."""
        return self.values[0] if self.values else None


@dataclass(frozen=True)
class Importance:
    """A parameter's share in what decides an objective, and its standard deviation over resampled trials."""

    share: float
    spread: float


@dataclass(frozen=True)
class SweepRecord:
    """A study's trials in the order of their numbers."""

    folder: Path
    name: str
    objectives: dict[str, bool]  # by key of the summary: whether it is maximised
    trials: tuple[SweepTrial, ...]
    logarithmic: frozenset[str]  # parameters drawn on a logarithmic scale
    importances: dict[str, Importance] | None  # for the first objective; empty with too few trials, None before the end
    confirmed: tuple[dict[str, Any], ...] = ()  # by fresh seeds, the best first, see `sweep.confirm.found_again`
    rungs: tuple[dict[str, Any], ...] = ()  # of each its settings, the real one last

    @property
    def default_trial(self) -> Path:
        """Where a confirmation runs the recipe with nothing varied: it is the first of its trials."""
        return self.folder / CONFIRM / "trials" / "0000"

    @property
    def objective(self) -> str:
        """The first one."""
        return next(iter(self.objectives))

    @property
    def maximise(self) -> bool:
        """Whether more of the first objective is better."""
        return self.objectives[self.objective]

    @property
    def complete(self) -> list[SweepTrial]:
        return [trial for trial in self.trials if trial.state == "complete" and trial.value is not None]

    @property
    def best(self) -> SweepTrial | None:
        """Of those with the most seeds, as best.yaml has it."""
        pick, most = max if self.maximise else min, max((trial.seeds for trial in self.complete), default=0)
        return pick((trial for trial in self.complete if trial.seeds == most), key=lambda trial: trial.value, default=None)


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
        found = sorted(_trials(frame, list(objectives), folder, about.get("folder")), key=lambda trial: trial.number)
        trials = tuple(repeats_as_one(found))
    except (KeyError, ValueError) as error:
        raise Unreadable(f"malformed sweep: its table of trials has no proper {error}") from error
    if not trials:
        raise Unreadable("a sweep without a trial yet")
    space = about.get("space") or {}
    logarithmic = frozenset(key for key, words in space.items() if str(words).endswith(", logarithmic"))
    rungs = tuple(rungs_of((about.get("sweep") or {}).get("fidelity") or {}))
    found, confirmed = _importances(folder, next(iter(objectives))), tuple(read_confirmation(folder))
    return SweepRecord(folder, name, objectives, trials, logarithmic, found, confirmed, rungs)


def repeats_as_one(trials: Sequence[SweepTrial]) -> Iterator[SweepTrial]:
    """Trials that differ in their seed alone as one with their mean, under the number of the first; where some are complete, of
    those."""
    groups: dict[Any, list[SweepTrial]] = {}
    for trial in trials:
        rest = tuple((name, str(value)) for name, value in sorted(trial.params.items()) if name != SEED)
        groups.setdefault(rest if SEED in trial.params else trial.number, []).append(trial)
    for group in groups.values():
        complete = [trial for trial in group if trial.state == "complete"] or group
        columns = list(zip(*(trial.values for trial in complete if trial.values), strict=True))
        first = complete[0]
        yield first if SEED not in first.params else replace(
            first, number=group[0].number, values=tuple(fmean(column) for column in columns), seeds=len(complete),
            spread=spread(columns[0]) if columns else None, params={k: v for k, v in first.params.items() if k != SEED},
            folders=tuple(folder for trial in complete for folder in trial.folders),
        )  # fmt: skip


def _trials(frame: "pd.DataFrame", objectives: Sequence[str], folder: Path, was: str | None) -> Iterator[SweepTrial]:
    """`was`: where the sweep lay when it was written."""
    import pandas as pd

    for record in frame.to_dict("records"):
        there = {key: value for key, value in record.items() if not _missing(value, pd)}
        number, state = int(there["number"]), str(there["state"])
        values = tuple(float(there[key]) for key in objectives if key in there)
        asked = Path(str(there.get("folder", f"{number:04d}")))
        place = folder / (asked.relative_to(was) if was and asked.is_relative_to(was) else Path("trials") / asked.name)
        place = max(place.glob(f"{RUNG}*"), key=lambda rung: int(rung.name.removeprefix(RUNG)), default=place)
        rungs = [float(value) for key, value in there.items() if key.startswith(RUNG)]
        if state == "pruned" and not rungs and objectives[0].startswith("evaluation.validation.") and objectives[0].endswith(".accuracy"):
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
            there.get(f"{objectives[0]}/expected"),
            (place,),
            (*rungs, *values[:1]) if state == "complete" else tuple(rungs),
        )


def read_confirmation(folder: Path) -> list[dict[str, Any]]:
    """What confirmation.yaml holds; nothing without one. Raises Unreadable."""
    try:
        found = yaml.safe_load((folder / CONFIRMATION).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, yaml.YAMLError) as error:
        raise Unreadable(f"malformed sweep: {CONFIRMATION} cannot be read ({type(error).__name__})") from error
    if not isinstance(found, list) or not all(isinstance(row, dict) and {"trial", "confirmed"} <= row.keys() for row in found):
        raise Unreadable(f"malformed sweep: {CONFIRMATION} holds no rows of trials")
    return found


def _last_validation(trial: Path) -> tuple[float, ...]:
    """The last validation accuracy of a trial that did not end, the mean over its seeds; nothing where there is none."""
    last = []
    for run in (trial, *sorted(trial.glob("seed_*"))):
        found = [value for step in read_steps(run) if (value := step.get("validation/accuracy")) is not None]
        last += found[-1:]
    return (float(np.mean(last)),) if last else ()


def _missing(value: Any, pd: Any) -> bool:
    return value is None or (np.isscalar(value) and bool(pd.isna(value)))


def _importances(folder: Path, objective: str) -> dict[str, Importance] | None:
    """As the sweep worked them out when it last ended; None if it has not. Raises Unreadable."""
    path = folder / "importances.yaml"
    if not path.is_file():
        return None
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))[objective]
        return {
            name: Importance(float(each["importance"]), float(each["spread"])) for name, each in found.items() if name != SEED
        }
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unreadable(f"malformed sweep: importances.yaml cannot be read ({type(error).__name__})") from error
