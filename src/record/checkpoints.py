"""The checkpoints of a run: a folder gets its name only when it is whole and on the disk, and the newest and the best stay.

Each carries checksums. A run goes on from the newest whole one; what is not whole is put aside.
"""

import json
import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from src.common.errors import RunFailed
from src.common.files import UNFINISHED, changed, checksums, seal, sync

STATE_FILE = "lab_state.json"  # beside the trainer's own files
# What a run goes on from, by the patterns of which one must be there; checkpoints of before the checksums are known by it.
PARTS = (
    (STATE_FILE,), ("trainer_state.json",), ("model*.safetensors", "adapter_model.safetensors", "pytorch_model_fsdp*"),
    ("optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*"), ("scheduler.pt", "global_step*"), ("rng_state*.pth",),
)
UNREADABLE = (ValueError, TypeError, AttributeError, OSError, RecursionError)
# Of a checkpoint: what only a run that goes on needs; by far the most of it.
REFERENCE = "reference.state"  # a reference that moves; of no name that a loader takes for weights
STATE = ("optimizer*", "scheduler*", "rng_state*", "global_step*", "zero_to_fp32.py", "latest", "pytorch_model_fsdp*", REFERENCE)


@dataclass
class Progress:
    """What a run knows of itself besides weights, optimiser and random state."""

    step: int = 0
    validation: dict[str, float] = field(default_factory=dict)  # accuracy 0 to 1 by step (a string, for JSON)
    length: dict[str, Any] = field(default_factory=dict)  # state of the length schedule
    selection: dict[str, Any] = field(default_factory=dict)  # state of what draws problems; empty for the walk through the mix
    ledger: dict[str, Any] = field(default_factory=dict)  # state of the account
    stability: dict[str, Any] = field(default_factory=dict)  # state of the monitor
    pending: str | None = None  # what the monitor asked for before the next step
    ended: bool = False  # the monitor stopped training for good
    metrics: str | None = None  # SHA-256 of metrics.jsonl up to this step

    @property
    def best_step(self) -> int | None:
        """The step with the highest validation accuracy, the earliest of equals."""
        return min(map(int, self.validation), key=lambda step: (-self.validation[str(step)], step), default=None)


class Checkpoints:
    """Folders `checkpoint-<step>` below one folder."""

    def __init__(self, folder: Path, kept: int) -> None:
        self.folder, self.kept = folder, kept

    def at(self, step: int) -> Path:
        return self.folder / f"checkpoint-{step}"

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, rising. Whatever else lies there is none."""
        names = [re.fullmatch(r"checkpoint-([1-9]\d*)", path.name) for path in self.folder.glob("checkpoint-*") if path.is_dir()]
        return sorted(int(name[1]) for name in names if name)

    def newest(self) -> Path | None:
        steps = self.steps()
        return self.at(steps[-1]) if steps else None

    def progress(self) -> Progress:
        """What the newest checkpoint says of the run; a fresh start where there is none."""
        newest = self.newest()
        return _progress(newest) if newest else Progress()

    def fault(self, step: int) -> str | None:
        """What is wrong with a checkpoint; None if it is whole, and so is the best that it knows of."""
        if fault := _fault(self.at(step)):
            return f"checkpoint-{step}: {fault}"
        progress = _progress(self.at(step))
        if progress.step != step:
            return f"checkpoint-{step}: {STATE_FILE} is of step {progress.step}"
        best = progress.best_step
        if best not in (None, step) and (fault := _fault(self.at(best))):
            return f"checkpoint-{best}, the best: {fault}"
        return None

    def check(self, step: int) -> Path:
        """The checkpoint of a step. Raises RunFailed where it is not whole."""
        if fault := self.fault(step):
            raise RunFailed(f"a checkpoint is damaged ({fault})")
        return self.at(step)

    def go_back(self, metrics: Mapping[int, str]) -> list[str]:
        """Put aside what a run cannot go on from: what is not whole, and what fits no line of the record, of which `metrics`
        has the checksum up to each step; says what was wrong. What a kill left half is deleted."""
        for left in (self.partial, self._doomed):
            shutil.rmtree(left, ignore_errors=True)
        faults: list[str] = []
        for step in reversed(self.steps()):
            fault = self.fault(step)
            if fault is None and self.fits(step, metrics):
                break
            fault = fault or f"checkpoint-{step}: metrics.jsonl is not what was written up to its step"
            faults.append(fault)
            self._put_aside(step)
        return faults

    def fits(self, step: int, metrics: Mapping[int, str]) -> bool:
        """Whether a record with these checksums, by step, is the one that a checkpoint belongs to."""
        try:
            return step in metrics and _progress(self.at(step)).metrics in (None, metrics[step])
        except UNREADABLE:
            return step in metrics

    def _put_aside(self, step: int) -> None:
        aside = self.folder / f"checkpoint-{step}.damaged"
        shutil.rmtree(aside, ignore_errors=True)  # of an earlier time
        os.replace(self.at(step), aside)

    def sharding(self) -> tuple[str | None, int]:
        """Under which `hardware.sharding` the newest checkpoint was written, None without one, and into how many parts its
        optimiser is split: under DeepSpeed one for each process, otherwise one."""
        newest = self.newest()
        if newest is None:
            return None, 0
        if parts := len(list(newest.glob("global_step*/*_optim_states.pt"))):
            return "zero2", parts
        return ("fsdp2" if (newest / "optimizer.bin").is_file() else "none"), 1

    @property
    def partial(self) -> Path:
        """Where a checkpoint is written before it is whole."""
        return self.folder / "partial"

    @property
    def _doomed(self) -> Path:
        return self.folder / "deleted"

    def commit(self, progress: Progress) -> None:
        """Give the checkpoint in `partial` its name, and drop those that are neither recent nor the best."""
        written = self.partial / f"checkpoint-{progress.step}"
        (written / STATE_FILE).write_text(json.dumps(asdict(progress), allow_nan=False), encoding="utf-8")
        seal(written)
        self._remove(progress.step)  # of an earlier try at the same step
        os.replace(written, self.at(progress.step))
        sync(self.folder)
        shutil.rmtree(self.partial)
        steps = self.steps()
        for step in set(steps) - {*steps[-self.kept :], progress.best_step}:
            self._remove(step)

    def keep_weights(self, step: int) -> None:
        """Of a finished run, keep this checkpoint's weights and nothing to go on from."""
        for other in set(self.steps()) - {step}:
            self._remove(other)
        for path in (path for pattern in STATE for path in self.at(step).glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        seal(self.at(step))

    def name_best(self, step: int) -> Path:
        """A link `best` to a finished run's best checkpoint, and its path; where a file system has no links, that of the
        checkpoint itself."""
        link, other = self.folder / "best", self.folder / f"best{UNFINISHED}"
        try:
            other.unlink(missing_ok=True)
            other.symlink_to(self.at(step).name)
            os.replace(other, link)
        except OSError:
            return self.at(step)
        return link

    def _remove(self, step: int) -> None:
        """Delete a checkpoint. It loses its name first, so that a kill leaves none that is half there."""
        if self.at(step).exists():
            shutil.rmtree(self._doomed, ignore_errors=True)  # left by a kill
            os.replace(self.at(step), self._doomed)
            shutil.rmtree(self._doomed)


def _progress(checkpoint: Path) -> Progress:
    """What a checkpoint says of its run. Raises one of UNREADABLE where it says nothing."""
    return Progress(**json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8")))


def _fault(checkpoint: Path) -> str | None:
    """What is wrong with the files of a checkpoint; None if nothing is."""
    if sums := checksums(checkpoint):
        if fault := changed(checkpoint, sums):
            return fault
    elif fault := _fault_without_sums(checkpoint):
        return fault
    try:
        _ = _progress(checkpoint).best_step
    except UNREADABLE:
        return f"{STATE_FILE} cannot be read"
    return None


def _fault_without_sums(checkpoint: Path) -> str | None:
    """As far as files say it by themselves: torch's have sums of their own, those of safetensors their length."""
    for patterns in PARTS:
        if not any(any(checkpoint.glob(pattern)) for pattern in patterns):
            return f"{patterns[0]} is missing"
    for path in sorted(checkpoint.iterdir()):
        if path.suffix in READABLE and not READABLE[path.suffix](path):
            return f"{path.name} cannot be read"
    return None


def _is_zip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return False


def _is_safetensors(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt"):
            return True
    except (SafetensorError, OSError):
        return False


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
        return True
    except (ValueError, OSError, RecursionError):
        return False


READABLE = {".pt": _is_zip, ".pth": _is_zip, ".safetensors": _is_safetensors, ".json": _is_json}
