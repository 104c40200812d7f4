"""The `record` keys and what a run leaves behind: one folder of plain files, each written whole or not at all.

config.yaml, metrics.jsonl (a line a step), completions/, evaluation/, checkpoints/, problems.parquet, summary.json, and in
checksums.json what each of them holds.
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field

from src.common.base import Config
from src.common.errors import RunFailed, UserError
from src.common.files import CHECKSUMS, checksums, file_hash, unfinished, write_json, write_text, write_whole
from src.common.locks import FileLock, is_held
from src.common.types import Problem
from src.record.left_out import Unreadable

if TYPE_CHECKING:
    import pandas as pd


LOCK_PATIENCE_S = 5.0  # for the children of a killed run, which the kernel ends, to let go of its folder
BEFORE_THE_SUMMARY = {"config.yaml", CHECKSUMS, "plan.json", "problems.parquet", "candidates.parquet", "evaluation"}


class RecordConfig(Config):
    completions_every_steps: int = Field(ge=1)
    checkpoint_every_steps: int = Field(ge=1)
    checkpoints_kept: int = Field(ge=1)
    checkpoint: Literal["all", "weights"] | None = None  # that a finished run keeps; null = all, and in a sweep weights

    def of_a_trial(self) -> "RecordConfig":
        """The same in a sweep, where many runs finish."""
        return self.model_copy(update={"checkpoint": self.checkpoint or "weights"})


def versions(rules: str = "by_form") -> dict[str, str]:
    """Versions of what decides the numbers; `rules` of grading."""
    import platform
    from importlib.metadata import version

    from src import __version__
    from src.grading.grader import VERSIONS

    packages = ("torch", "transformers", "trl", "math-verify", "datasets", "accelerate")
    found = {package: version(package) for package in packages}
    return {"python": platform.python_version(), "grpo-lab": __version__} | found | {"grader": VERSIONS[rules]}


def commit() -> str:
    """The project's git commit, "+changes" where the tree differs from it; "unknown" outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # a repository further up is another project's
        return "unknown"
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        changes = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


class Record:
    """One run's folder, locked as long as this process works in it. `open` makes it, `reopen` continues one."""

    def __init__(self, folder: Path, summary: dict[str, Any]) -> None:
        self.folder, self.summary = folder, summary
        # The lock is on a file that every run has and that is never replaced, so a kill leaves none behind.
        self._lock = FileLock(folder / "config.yaml")
        self._sums = checksums(folder)

    @classmethod
    def open(cls, folder: Path, config_yaml: str, summary: dict[str, Any], rules: str = "by_form") -> "Record":
        """Make the folder, which counts as a run from the first `save` on. Raises UserError if it exists or cannot be
        written."""
        try:
            if not folder.is_dir() or not _never_began(folder):
                folder.mkdir(parents=True)
        except FileExistsError as error:
            raise UserError(f"run_dir: {folder} exists; give another, or continue it with resume={folder}") from error
        except OSError as error:
            raise UserError(f"run_dir: cannot write {folder} ({error.strerror}); set output_root or run_dir") from error
        record = cls(folder, {"status": "running"} | summary | {"versions": versions(rules), "commit": commit()})
        record._sums = {}
        write_text(folder / "config.yaml", config_yaml, record._note("config.yaml"))
        record._take()
        return record

    @classmethod
    def branch(cls, source: Path, folder: Path, config_yaml: str, beside: Mapping[str, Any]) -> None:
        """Make of a run that was left a second one in `folder`, to go on from the same step under another configuration, with JSON
        files `beside` by name."""
        partial = folder.with_name(f"{folder.name}.branching")
        shutil.rmtree(partial, ignore_errors=True)  # left by a kill
        shutil.copytree(source, partial)
        write_text(partial / "config.yaml", config_yaml, cls(partial, {})._note("config.yaml"))
        for name, content in beside.items():
            write_json(partial / name, content)
        os.replace(partial, folder)

    @classmethod
    def reopen(cls, folder: Path) -> "Record":
        """Continue a run. Raises UserError if the folder is no run, the run is complete, or another process is at it."""
        summary = read_summary(folder)
        if summary["status"] in ("complete", "pruned"):
            raise UserError(f"resume: {folder} is {summary['status']}; there is nothing to continue")
        record = cls(folder, summary | {"status": "running"})
        record._take()
        record.summary.pop("reason", None)
        record.save()
        return record

    def _take(self) -> None:
        """Lock the folder, and clear what a kill has left half written."""
        try:
            free = self._lock.acquire(LOCK_PATIENCE_S)
        except OSError:  # a file system without locks
            return
        if not free:
            raise UserError(f"resume: another process is at work in {self.folder}; wait for its end, or end it")
        for path in list(unfinished(self.folder)):
            path.unlink()

    def close(self) -> None:
        """Let others have the folder."""
        self._lock.release()

    @property
    def lost(self) -> bool:
        """Whether the folder was deleted, or replaced, since it was opened."""
        return self._lock.lost

    def _check_there(self) -> None:
        if self.lost:
            raise RunFailed(f"the run's folder {self.folder} was deleted while it ran; start a new run")

    def _note(self, name: str) -> Callable[[Path], None]:
        """What writes down a file's checksum before the file gets its name; what it held before stays good, for a kill
        between the two."""

        def note(path: Path) -> None:
            self._sums[name] = [file_hash(path), *self._sums.get(name, [])[:1]]
            write_json(self.folder / CHECKSUMS, self._sums)

        return note

    def save(self, **entries: Any) -> None:
        """Add entries to the summary and write it. Raises RunFailed if the folder is gone."""
        self._check_there()
        self.summary |= entries
        write_json(self.folder / "summary.json", self.summary)

    def complete(self, **entries: Any) -> None:
        """The last save of a run. Raises RunFailed if anything that was written is missing."""
        self._check_there()
        for name in (*self._sums, "metrics.jsonl"):
            if not (self.folder / name).is_file():
                raise RunFailed(f"{self.folder / name} was deleted while the run went on; the record is not complete")
        self._note("metrics.jsonl")(self.folder / "metrics.jsonl")
        self.save(status="complete", **entries)

    def step(self, metrics: dict[str, Any]) -> None:
        """Append a step's line to metrics.jsonl."""
        self._check_there()
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())  # a checkpoint of this step is worth nothing without it

    def rewind(self, step: int) -> None:
        """Drop what was recorded after `step`, the last one that a checkpoint holds; half-written lines too."""
        self._check_there()
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in self.steps()[:step])
        write_text(self.folder / "metrics.jsonl", text)
        self._sums.pop("metrics.jsonl", None)
        for path in (self.folder / "completions").glob("step_*.parquet"):
            number = path.stem.removeprefix("step_")
            if number.isdecimal() and int(number) > step:
                path.unlink()
                self._sums.pop(str(path.relative_to(self.folder)), None)
        write_json(self.folder / CHECKSUMS, self._sums)

    def steps(self) -> list[dict[str, Any]]:
        """The whole lines of metrics.jsonl so far, up to the first that is not the next step's."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
        # The last piece is empty after a whole line, and the torn rest of one after a kill.
        steps = [_line(line, number) for number, line in enumerate(lines[:-1], 1)]
        return list(takewhile(lambda step: step is not None, steps))  # type: ignore[arg-type]

    def metrics_sums(self) -> dict[int, str]:
        """By step, the SHA-256 of metrics.jsonl up to its line."""
        path, so_far = self.folder / "metrics.jsonl", hashlib.sha256()
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
        sums = {}
        for number, line in enumerate(lines[: len(self.steps())], 1):
            so_far.update(line + b"\n")
            sums[number] = so_far.hexdigest()
        return sums

    def table(self, name: str, frame: "pd.DataFrame") -> None:
        """Write a Parquet table, `name` being its path in the folder without the ending."""
        self._check_there()
        path = self.folder / f"{name}.parquet"
        write_whole(path, lambda temporary: frame.to_parquet(temporary, index=False), self._note(f"{name}.parquet"))

    def problems(self, name: str, problems: Iterable[Problem]) -> None:
        """Write a table of problems, without what else their rows held."""
        import pandas as pd

        names = [field.name for field in fields(Problem) if field.name != "columns"]
        self.table(name, pd.DataFrame([{name: getattr(problem, name) for name in names} for problem in problems], columns=names))


class NoRecord(Record):
    """A run's folder to the ranks other than 0: they know where it is, and leave nothing in it but their checkpoints."""

    def save(self, **entries: Any) -> None: ...

    def step(self, metrics: dict[str, Any]) -> None: ...

    def rewind(self, step: int) -> None: ...

    def table(self, name: str, frame: "pd.DataFrame") -> None: ...


def read_steps(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's metrics.jsonl, none where it has none. Raises Unreadable, naming a line that is no step."""
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n") if path.is_file() else [b""]
    steps: list[dict[str, Any]] = []
    for number, text in enumerate(lines[:-1], 1):  # the last is empty, or the torn rest of a line after a kill
        if (step := _line(text, number)) is None:
            raise Unreadable(f"malformed: metrics.jsonl, line {number} is no step")
        steps.append(step)
    return steps


def _line(text: bytes, number: int) -> dict[str, Any] | None:
    """A line of metrics.jsonl, None if it is not that of step `number`."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) and line.get("step") == number and not isinstance(line["step"], bool) else None


def _never_began(folder: Path) -> bool:
    """Whether a folder holds no more than what is written of a run before its first summary, by a process that is gone."""
    names = {path.name for path in set(folder.iterdir()) - set(unfinished(folder))}
    return names <= BEFORE_THE_SUMMARY and not is_held(folder / "config.yaml")


def read_summary(folder: Path) -> dict[str, Any]:
    """A run's summary.json. Raises UserError if the folder is no run, or the file is damaged."""
    path = folder / "summary.json"
    if not path.is_file():
        raise UserError(f"{folder} is not a run (no summary.json); run folders are <output_root>/<experiment>/<date_time>")
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(summary, dict) and isinstance(summary.get("status"), str):
            return summary
    except (ValueError, OSError, RecursionError):
        pass
    raise UserError(f"{path} is damaged: it is no run's summary; restore it, or start a new run")


def read_config(folder: Path) -> dict[str, Any]:
    """A run's config.yaml. Raises UserError if it cannot be read, or is not what the run wrote."""
    path, known = folder / "config.yaml", checksums(folder).get("config.yaml")
    if not path.is_file() or (known and file_hash(path) not in known):
        raise UserError(
            f"{path} is missing, or not what the run wrote; restore it, start a new run, or delete {CHECKSUMS} to have it "
            "taken as it is"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        json.dumps(content, default=str)  # finds what holds itself
    except (yaml.YAMLError, ValueError, TypeError, OSError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({' '.join(str(error).split())}); restore it, or start a new run") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it holds no keys; restore it, or start a new run")
    return content


def new_folder(output_root: str, experiment: str) -> Path:
    """<output_root>/<experiment>/<date_time>, made unique if two runs start in one second."""
    base = Path(output_root) / experiment / time.strftime("%Y-%m-%d_%H-%M-%S")
    folder, number = base, 2
    while os.path.lexists(folder):
        folder, number = base.with_name(f"{base.name}_{number}"), number + 1
    return folder


def look_up(summary: dict[str, Any], key: str) -> float:
    """A number of the summary by its dotted path. Raises UserError if there is none."""
    value: Any = summary
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UserError(f"objective: the summary has no {key} ({part} is missing)")
        value = value[part]
    if not isinstance(value, int | float):
        raise UserError(f"objective: {key} is not a number in the summary")
    return float(value)
