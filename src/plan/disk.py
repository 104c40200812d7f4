"""Room on the disk for checkpoints: what a run or a sweep writes, and whether there is as much."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from src.common.errors import UserError
from src.common.files import NO_ROOM
from src.config.tree import LabConfig
from src.model.architecture import architecture
from src.plan.cost_model import GB, Workload
from src.plan.workload import workload

ADAPTER_BYTES = 4  # of an element; PEFT keeps adapters in float32


def checkpoint_bytes(w: Workload) -> dict[str, float]:
    """Of one checkpoint: the weights, and what only a run that goes on needs."""
    adapted = w.trained_parameters != w.architecture.parameters
    weights = w.trained_parameters * ADAPTER_BYTES if adapted else w.architecture.parameters * w.element_bytes
    state = {
        "none": 2 * w.trained_parameters * (ADAPTER_BYTES if adapted else w.element_bytes),  # AdamW's moments
        "zero2": 12 * w.trained_parameters + w.element_bytes * w.architecture.parameters,  # float32 weights too; DeepSpeed's copy
        "fsdp2": 2 * w.trained_parameters * w.element_bytes + w.architecture.parameters * w.element_bytes,  # accelerate's copy
    }
    return {"weights": weights, "state": state[w.sharding]}


def disk_bytes(config: LabConfig, w: Workload) -> dict[str, float]:
    """Of one checkpoint by part, of all that lie there at once, the one that is being written among them, and of what a
    finished run keeps."""
    one, record = checkpoint_bytes(w), config.record
    every = record.checkpoint_every_steps, config.evaluation.validation.every_steps
    steps = range(1, config.scale.steps + 1)
    written = sum(step == steps[-1] or any(config.batch.due(step, one) for one in every) for step in steps)
    whole = sum(one.values())
    kept = one["weights"] if record.checkpoint == "weights" else min(written, record.checkpoints_kept + 1) * whole  # the best too
    return one | {"at once": min(written, record.checkpoints_kept + 2) * whole, "kept": kept}


def check_disk(config: LabConfig) -> None:
    """Raise UserError where a run's checkpoints would not find room. One whose model's shape is not known goes on unchecked."""
    try:
        needed = disk_bytes(config, workload(config, architecture(config.model)))["at once"]
    except UserError:
        return
    folder = Path(config.resume or config.run_dir or config.output_root)
    there = size_of(folder / "checkpoints") if config.resume else 0
    check_room(folder, needed - there, "record.checkpoints_kept=1 or output_root=<a folder with more room>")


def check_room(folder: Path, needed: float, remedy: str) -> None:
    """Raise UserError where so many bytes more are not free on the disk of `folder`, which need not exist yet."""
    if needed > (free := free_bytes(folder)):
        raise UserError(
            f"{NO_ROOM}: checkpoints need {needed / GB:.1f} GB more in {folder}, and {free / GB:.1f} GB are free; set {remedy}"
        )


def free_bytes(folder: Path) -> int:
    places = (folder.absolute(), *folder.absolute().parents)
    there = next(place for place in places if os.path.exists(place))  # which is False of a name that is too long
    return shutil.disk_usage(there).free


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder; 0 where there is none, and of what another process removes meanwhile."""
    size = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.stat(os.path.join(at, name)).st_size
    return size
