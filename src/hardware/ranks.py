"""Which of a run's training processes this one is, and how they agree.

A run has one process, or a set of them with ranks from 0 on: started by `launch.py` beside this, `accelerate launch`,
torchrun or Slurm's srun. Rank 0 writes the record, prints, tracks, measures and decides; the others train along, and draw
a part of its samples where they can.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from src.common.errors import FAILED, UserError
from src.common.pace import PACE
from src.hardware.gpus import visible_gpus
from src.hardware.processes import die_with_parent

SET_FOLDER = "GRPO_LAB_SET"  # environment: where the processes that launch.py started leave word
LAUNCHER = "GRPO_LAB_LAUNCHER"  # environment: the process that started them
PATIENCE_S = 7 * 24 * 3600  # that processes wait for each other: the others for rank 0 while it measures
FIRST_PORT = 20_000  # of those that Slurm's jobs take for their rendezvous, by job number


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    return rank() == 0


def in_set() -> bool:
    """Whether something has started this process as one of a set; a set of one counts."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def slurm_tasks() -> int:
    """Tasks that srun has started together, this one among them."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))  # not set in a batch script


def adopt_slurm() -> None:
    """Under srun with several tasks, name this process's place in the way of torchrun, which torch understands."""
    tasks = slurm_tasks()
    if in_set() or tasks == 1:
        return
    job = int(os.environ["SLURM_JOB_ID"])
    os.environ |= {
        "RANK": os.environ["SLURM_PROCID"],
        "LOCAL_RANK": "0" if has_own_gpu() else os.environ["SLURM_LOCALID"],  # torch takes it for the number of its GPU
        "WORLD_SIZE": str(tasks),
        # "4(x2),3": as many tasks on this node as on the first, which is what torch wants to know
        "LOCAL_WORLD_SIZE": re.split(r"\D", os.environ.get("SLURM_STEP_TASKS_PER_NODE", str(tasks)))[0],
    }
    os.environ.setdefault("MASTER_ADDR", _first_host(os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")))
    os.environ.setdefault("MASTER_PORT", str(FIRST_PORT + job % 10_000))


def has_own_gpu() -> bool:
    """Whether Slurm has given this task a GPU that the others do not see, as `srun --gpus-per-task=1` does."""
    by_task = "SLURM_GPUS_PER_TASK", "SLURM_NTASKS_PER_GPU"
    asked = any(name in os.environ for name in by_task) or "gpu" in os.environ.get("SLURM_TRES_PER_TASK", "")
    return asked and slurm_tasks() > 1 and len(visible_gpus()) == 1


def _first_host(nodes: str) -> str:
    if not re.search(r"[\[,]", nodes):
        return nodes
    found = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True)
    return found.stdout.split()[0]


def check_world(processes: int) -> None:
    """Raise UserError where another number of training processes runs than is asked for: the batch would be wrong."""
    if world_size() != processes:
        raise UserError(
            f"hardware.processes: {processes} asked for, {world_size()} running; start as many, or set "
            f"hardware.processes={world_size()}, which keeps the global batch"
        )


def agree(value: Any) -> Any:
    """Rank 0's value, on every rank; all of them must ask. Needs the processes to have met (TRL's config does that)."""
    if world_size() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value], from_process=0)[0]


def meet() -> None:
    """Wait for all ranks, on the CPU: a GPU on which NCCL waits takes turns with whatever else runs there. All of them must come."""
    if world_size() == 1:
        return
    import torch.distributed as dist

    group = dist.new_group(backend="gloo", timeout=timedelta(seconds=PATIENCE_S))
    dist.barrier(group)
    dist.destroy_process_group(group)


def gather(rows: list[Any]) -> list[Any]:
    """The rows of all ranks, in their order; all of them must ask."""
    if world_size() == 1:
        return rows
    from accelerate.utils import gather_object

    return gather_object(rows)


@contextmanager
def failure_noted() -> Iterator[None]:
    """In a process that `launch.py` started, end with it, and leave word for it when this is the first of the set to
    fail; the others fail in its wake."""
    if SET_FOLDER in os.environ:
        die_with_parent()
        if os.environ.get(LAUNCHER, str(os.getppid())) != str(os.getppid()):
            os._exit(FAILED)  # it ended before the kernel was told
    try:
        yield
    except SystemExit as leaving:
        if leaving.code:
            _note_failure()
        raise
    except BaseException:
        _note_failure()
        raise


def _note_failure() -> None:
    if SET_FOLDER in os.environ:
        try:
            with (Path(os.environ[SET_FOLDER]) / "failed").open("x", encoding="utf-8") as file:
                file.write(str(rank()))
        except FileExistsError:
            pass  # another was first


def failed_rank(folder: Path) -> int | None:
    """The rank that failed first, if one did."""
    path = folder / "failed"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return int(text) if text else None


def tell_pace() -> None:
    """Have rank 0's advances seen by whoever started this set: they wait for each other, so that a frozen one stops it too."""
    if is_first() and (folder := os.environ.get(SET_FOLDER)):
        PACE.tell = lambda patience_s: _write_pace(Path(folder), patience_s)


def _write_pace(folder: Path, patience_s: float) -> None:
    path, text = pace_file(folder), str(patience_s)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        path.touch()  # which a full disk allows
        return
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def pace_file(folder: Path) -> Path:
    """When rank 0 last advanced, which is the file's time, and the seconds that it may take to the next time."""
    return folder / "pace"


def error_file(folder: Path, number: int) -> Path:
    """What a rank writes to its error stream."""
    return folder / f"rank_{number}.err"


def reason_elsewhere() -> str | None:
    """What another rank failed of, if that is why this one fails now."""
    if SET_FOLDER not in os.environ:
        return None
    folder = Path(os.environ[SET_FOLDER])
    first = failed_rank(folder)
    if first is None or first == rank():
        return None
    return last_word(folder, first) or f"training process {first} ended"


def last_word(folder: Path, number: int) -> str:
    """The last line that a rank wrote to its error stream."""
    lines = error_file(folder, number).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else ""
