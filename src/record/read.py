"""Records become `Run`s. What cannot be read is left out, with the reason; nothing else depends on it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from src.common.files import CHECKSUMS, changed, checksums
from src.record.left_out import LeftOut, Unreadable
from src.record.measures import Measure, read_measure, read_questions
from src.record.recipe import flat
from src.record.record import read_steps

MEASUREMENT = "measurement"  # the `kind` of a record of src.evaluate, in summary.json
NEEDED = ("status", "experiment", "scale", "seed", "versions")  # of summary.json
_MARKS = ("summary.json", "config.yaml", "metrics.jsonl")
_INSIDE = {"checkpoints", "completions", "evaluation", "wandb"}  # of a run folder: no runs below


class _Cost(BaseModel, strict=True):
    usd: float | None = None
    gpu_hours: float | None = None
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    seconds: dict[str, float] = {}
    flops: dict[str, float] = {}


class _Alarm(BaseModel, strict=True):
    signal: str
    says: str
    since: int
    step: int


class _Stability(BaseModel, strict=True):
    alarms: list[_Alarm] = []


class _Tracked(BaseModel, strict=True):
    id: str


class Summary(BaseModel, strict=True):
    """What the report goes by in summary.json, wherever it was written; other keys may stand there."""

    status: str
    experiment: str
    scale: str
    seed: int
    versions: dict[str, Any]
    steps: int | None = None
    best_step: int | None = None
    reason: str | None = None
    evaluation: dict[str, dict[str, Any]] = {}
    cost: _Cost = _Cost()
    stability: _Stability = _Stability()
    wandb: _Tracked | None = None


@dataclass(frozen=True)
class Run:
    """One record. `measures` is empty for a run that did not end in order: it has curves, and no verdict."""

    folder: Path
    summary: dict[str, Any]
    config: dict[str, Any]  # flat: dotted key to value
    steps: dict[str, list[Any]]  # metrics.jsonl by column; None where a step has no such number
    measures: dict[tuple[str, str], Measure] = field(default_factory=dict)

    @property
    def status(self) -> str:
        return self.summary["status"]

    @property
    def seed(self) -> int:
        return self.summary["seed"]

    @property
    def name(self) -> str:
        return self.summary["experiment"]

    @property
    def only_measured(self) -> bool:
        """Whether it is of a model that was measured, not trained: of each suite it has what was `measured`."""
        return self.summary.get("kind") == MEASUREMENT

    @property
    def seconds(self) -> float:
        """Of wall-clock time, by its account; 0 of a run that kept none."""
        return sum(self.summary.get("cost", {}).get("seconds", {}).values())

    @property
    def usd(self) -> float:
        return self.summary.get("cost", {}).get("usd") or 0.0

    @property
    def suites(self) -> list[str]:
        return list(dict.fromkeys(suite for suite, _ in self.measures))

    def final(self, suite: str) -> Measure:
        """The weights that a verdict speaks of: the best by validation, and on validation itself the last ones."""
        return self.measures[suite, "after" if suite == "validation" else "best"]


def read_records(paths: Sequence[Path]) -> tuple[list[Run], list[LeftOut]]:
    """All runs in and below `paths`, oldest first, and what was left out."""
    found, left_out = read_all(paths)
    return [run for run in found if not run.only_measured], left_out


def read_all(paths: Sequence[Path]) -> tuple[list[Run], list[LeftOut]]:
    """The same with records of models that were only measured."""
    runs: dict[Path, Run] = {}
    left_out: list[LeftOut] = []
    for path in paths:
        folders = list(run_folders(path)) if path.is_dir() else []
        if not folders:
            reason = "no record: no run folder in it" if path.is_dir() else "no such folder"
            left_out.append(LeftOut(str(path), reason if not path.is_file() else "no record: it is a file"))
        for folder in folders:
            try:
                runs.setdefault(folder.resolve(), read_run(folder))
            except Unreadable as error:
                left_out.append(LeftOut(str(folder), str(error)))
    return sorted(runs.values(), key=lambda run: str(run.folder)), left_out


def run_folders(path: Path) -> Iterator[Path]:
    """Folders in and below `path` that are or were meant to be records."""
    if any((path / mark).is_file() for mark in _MARKS):
        yield path
        return
    for child in sorted(path.iterdir()):
        if child.is_dir() and not child.name.startswith(".") and child.name not in _INSIDE:
            yield from run_folders(child)


def read_run(folder: Path) -> Run:
    """The record in `folder`. Raises Unreadable, with the reason in words."""
    _check_sums(folder)
    summary, config = _summary(folder), _config(folder)
    steps = _columns(read_steps(folder))
    if summary["status"] != "complete":
        return Run(folder, summary, config, steps)
    return Run(folder, summary, config, steps, _measures(folder, summary))


def _check_sums(folder: Path) -> None:
    """Raise Unreadable where a file that a report goes by is another than the run wrote."""
    known = {name: sums for name, sums in checksums(folder).items() if not name.startswith("completions/")}
    if fault := changed(folder, known):
        raise Unreadable(f"damaged: {fault} (without {CHECKSUMS} it would be taken as it is)")


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / "summary.json"
    if not path.is_file():
        raise Unreadable("half-written: it has no summary.json")
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise Unreadable(f"malformed: summary.json is not JSON ({error})") from error
    if not isinstance(summary, dict):
        raise Unreadable("malformed: summary.json is not an object")
    if missing := [key for key in NEEDED if key not in summary]:
        raise Unreadable(f"from an older version: summary.json has no {', '.join(missing)}")
    try:
        Summary.model_validate(summary)
    except ValidationError as error:
        first = error.errors()[0]
        raise Unreadable(f"malformed: {'.'.join(map(str, first['loc']))} of summary.json: {first['msg']}") from error
    return summary


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError as error:
        raise Unreadable("half-written: it has no config.yaml") from error
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        raise Unreadable(f"malformed: config.yaml is not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict):
        raise Unreadable("malformed: config.yaml holds no keys")
    try:
        json.dumps(content, default=str)  # finds what holds itself
        return flat(content)
    except (ValueError, TypeError, RecursionError) as error:
        raise Unreadable(f"malformed: config.yaml is nested without end ({error})") from error


def _columns(steps: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """A column for each name, with None where a step has no such number."""
    columns: dict[str, list[Any]] = {}
    for number, step in enumerate(steps):
        for key, value in step.items():
            column = columns.setdefault(key, [])
            column.extend([None] * (number - len(column)))
            column.append(value if isinstance(value, int | float) else None)
    return {key: column + [None] * (len(steps) - len(column)) for key, column in columns.items()}


def _measures(folder: Path, summary: dict[str, Any]) -> dict[tuple[str, str], Measure]:
    evaluation = summary.get("evaluation")
    if not isinstance(evaluation, dict) or not evaluation:
        raise Unreadable("its evaluation is missing from summary.json")
    read_questions(folder)  # raises where it cannot be read
    if summary.get("kind") == MEASUREMENT:
        return {(suite, "measured"): read_measure(folder, suite, "measured") for suite in evaluation}
    measures = {}
    for suite in evaluation:
        for when in ("before", "after"):
            measures[suite, when] = read_measure(folder, suite, when)
        # Where the last weights are the best ones, they were measured once.
        other = (folder / "evaluation" / f"{suite}_best.parquet").is_file()
        measures[suite, "best"] = read_measure(folder, suite, "best") if other else measures[suite, "after"]
        if measures[suite, "before"].problems != measures[suite, "after"].problems:
            raise Unreadable(f"malformed: {suite} was measured on other problems before than after")
    return measures
