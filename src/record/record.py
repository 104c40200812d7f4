"""The `record` keys and what a run leaves behind: one folder of plain files, each written whole or not at all.

config.yaml, metrics.jsonl (a line a step), completions/, evaluation/, checkpoints/, problems.parquet, summary.json.
"""

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from src.common.base import Config
from src.common.errors import UserError
from src.common.files import write_json, write_whole

if TYPE_CHECKING:
    import pandas as pd


class RecordConfig(Config):
    completions_every_steps: int = Field(ge=1)
    checkpoint_every_steps: int = Field(ge=1)
    checkpoints_kept: int = Field(ge=1)
    checkpoint: Literal["all", "weights"] | None = None  # that a finished run keeps; null = all, and in a sweep weights

    def of_a_trial(self) -> "RecordConfig":
        """The same in a sweep, where many runs finish."""
        return self.model_copy(update={"checkpoint": self.checkpoint or "weights"})


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    import platform
    from importlib.metadata import version

    from src.grading.grader import VERSION

    packages = ("grpo-lab", "torch", "transformers", "trl", "math-verify", "datasets", "accelerate")
    found = {package: version(package) for package in packages}
    return {"python": platform.python_version()} | found | {"grader": VERSION}


def commit() -> str:
    """The project's git commit, "+changes" where the tree differs from it; "unknown" outside a checkout."""
    root = Path(__file__).parents[2]
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        changes = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


class Record:
    """One run's folder. `open` makes it, `reopen` continues one."""

    def __init__(self, folder: Path, summary: dict[str, Any]) -> None:
        self.folder, self.summary = folder, summary

    @classmethod
    def open(cls, folder: Path, config_yaml: str, summary: dict[str, Any]) -> "Record":
        """Make the folder, which counts as a run from the first `save` on. Raises UserError if it exists or cannot be
        written."""
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            raise UserError(f"run_dir: {folder} exists; give another, or continue it with resume={folder}") from error
        except OSError as error:
            raise UserError(f"run_dir: cannot write {folder} ({error.strerror}); set output_root or run_dir") from error
        record = cls(folder, {"status": "running"} | summary | {"versions": versions(), "commit": commit()})
        write_whole(folder / "config.yaml", lambda path: path.write_text(config_yaml, encoding="utf-8"))
        return record

    @classmethod
    def reopen(cls, folder: Path) -> "Record":
        """Continue a run. Raises UserError if the folder is no run or the run is complete."""
        summary = read_summary(folder)
        if summary["status"] in ("complete", "pruned"):
            raise UserError(f"resume: {folder} is {summary['status']}; there is nothing to continue")
        record = cls(folder, summary | {"status": "running"})
        record.summary.pop("reason", None)
        record.save()
        return record

    def save(self, **entries: Any) -> None:
        """Add entries to the summary and write it."""
        self.summary |= entries
        write_json(self.folder / "summary.json", self.summary)

    def step(self, metrics: dict[str, Any]) -> None:
        """Append a step's line to metrics.jsonl."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics, allow_nan=False) + "\n")

    def rewind(self, step: int) -> None:
        """Drop what was recorded after `step`, the last one that a checkpoint holds; half-written lines too."""
        kept = [line for line in self.steps() if line["step"] <= step]
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in kept)
        write_whole(self.folder / "metrics.jsonl", lambda path: path.write_text(text, encoding="utf-8"))
        for path in (self.folder / "completions").glob("step_*.parquet"):
            if int(path.stem.removeprefix("step_")) > step:
                path.unlink()

    def steps(self) -> list[dict[str, Any]]:
        """The whole lines of metrics.jsonl so far."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
        # The last piece is empty after a whole line, and the torn rest of one after a kill.
        return [json.loads(line) for line in lines[:-1]]

    def table(self, name: str, frame: "pd.DataFrame") -> None:
        """Write a Parquet table, `name` being its path in the folder without the ending."""
        write_whole(self.folder / f"{name}.parquet", lambda path: frame.to_parquet(path, index=False))


class NoRecord(Record):
    """A run's folder to the ranks other than 0: they know where it is, and leave nothing in it but their checkpoints."""

    def save(self, **entries: Any) -> None: ...

    def step(self, metrics: dict[str, Any]) -> None: ...

    def rewind(self, step: int) -> None: ...

    def table(self, name: str, frame: "pd.DataFrame") -> None: ...


def read_summary(folder: Path) -> dict[str, Any]:
    """A run's summary.json. Raises UserError if the folder is no run."""
    path = folder / "summary.json"
    if not path.is_file():
        raise UserError(f"{folder} is not a run (no summary.json); run folders are <output_root>/<experiment>/<date_time>")
    return json.loads(path.read_text(encoding="utf-8"))


def new_folder(output_root: str, experiment: str) -> Path:
    """<output_root>/<experiment>/<date_time>, made unique if two runs start in one second."""
    base = Path(output_root) / experiment / time.strftime("%Y-%m-%d_%H-%M-%S")
    folder, number = base, 2
    while folder.exists():
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
