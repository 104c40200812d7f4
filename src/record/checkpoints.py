"""The checkpoints of a run: a folder gets its name only when it is whole, and the newest and the best stay."""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

STATE_FILE = "lab_state.json"  # beside the trainer's own files
# Of a checkpoint: what only a run that goes on needs; by far the most of it.
STATE = ("optimizer*", "scheduler*", "rng_state*", "global_step*", "zero_to_fp32.py", "latest", "pytorch_model_fsdp*")


@dataclass
class Progress:
    """What a run knows of itself besides weights, optimiser and random state."""

    step: int = 0
    validation: dict[str, float] = field(default_factory=dict)  # accuracy 0 to 1 by step (a string, for JSON)
    length: dict[str, Any] = field(default_factory=dict)  # state of the length schedule
    ledger: dict[str, Any] = field(default_factory=dict)  # state of the account
    stability: dict[str, Any] = field(default_factory=dict)  # state of the monitor
    pending: str | None = None  # what the monitor asked for before the next step
    ended: bool = False  # the monitor stopped training for good

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
        """Steps that have a checkpoint, rising."""
        return sorted(int(path.name.rpartition("-")[2]) for path in self.folder.glob("checkpoint-*"))

    def newest(self) -> Path | None:
        steps = self.steps()
        return self.at(steps[-1]) if steps else None

    def progress(self) -> Progress:
        """What the newest checkpoint says of the run; a fresh start where there is none."""
        newest = self.newest()
        return Progress(**json.loads((newest / STATE_FILE).read_text(encoding="utf-8"))) if newest else Progress()

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

    def commit(self, progress: Progress) -> None:
        """Give the checkpoint in `partial` its name, and drop those that are neither recent nor the best."""
        written = self.partial / f"checkpoint-{progress.step}"
        (written / STATE_FILE).write_text(json.dumps(asdict(progress), allow_nan=False), encoding="utf-8")
        self._remove(progress.step)  # of an earlier try at the same step
        os.replace(written, self.at(progress.step))
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

    def _remove(self, step: int) -> None:
        """Delete a checkpoint. It loses its name first, so that a kill leaves none that is half there."""
        if self.at(step).exists():
            doomed = self.folder / "deleted"
            shutil.rmtree(doomed, ignore_errors=True)  # left by a kill
            os.replace(self.at(step), doomed)
            shutil.rmtree(doomed)
