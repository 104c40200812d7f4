"""Trials as Ray tasks, on every machine of a cluster. The machines share the file system that the sweep's folder is on.

Ray places the trials, gives each its GPUs, and tells when a machine is lost; a lost trial goes on elsewhere from its
last checkpoint, which is the sweeper's business as on one machine.
"""

import os
import socket
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from src.common.errors import UserError
from src.sweep.engines.engine import Ended, FileEngine
from src.sweep.engines.trial import TrialSpec

TICK_S = 0.05
KNOCK_S = 5.0


class RayEngine(FileEngine):
    """At most `slots` tasks at once, each with `cpus` and `gpus`."""

    def __init__(self, slots: int, cpus: int, gpus: int, address: str) -> None:
        super().__init__()
        try:
            import ray
        except ImportError as error:
            raise UserError("sweep.engine=ray needs Ray; pip install 'grpo-lab[ray]'") from error
        self.ray, self.slots = ray, slots
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"sweep.ray.address: no Ray cluster at {address} ({_first_line(error)}); start one with ray start --head"
            ) from error
        largest = max((node["Resources"].get("GPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
        if gpus > largest:
            raise UserError(f"sweep.gpus_per_trial: {gpus} GPUs for each trial, but no machine of the cluster has over {largest:g}")
        # One process for each task: a trial leaves nothing behind that the next would meet.
        self.task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, max_calls=1)(_run)
        self.numbers: dict[Any, int] = {}
        self.ready: list[Any] = []

    def now(self) -> float:
        return time.monotonic()

    def wait(self) -> None:
        if not self.numbers:
            time.sleep(TICK_S)
            return
        self.ready, _ = self.ray.wait(list(self.numbers), num_returns=len(self.numbers), timeout=TICK_S, fetch_local=False)

    def start(self, spec: TrialSpec) -> None:
        self.open(spec)
        asked = time.time() - (time.monotonic() - spec.asked_at)  # machines share no other clock
        spec = replace(spec, asked_at=asked)
        self.numbers[self.task.remote(asdict(spec), os.environ.get("OMP_NUM_THREADS"), str(_project()), os.getcwd())] = spec.number

    def ended(self) -> list[Ended]:
        gone = []
        for task in self.ready:
            number = self.numbers.pop(task)
            try:
                self.ray.get(task)
                how = "its process ended without an outcome"
            except self.ray.exceptions.RayError as error:
                how = f"{type(error).__name__}: {_first_line(error)}"
            gone.append(self.gone(number, how))
        self.ready = []
        return gone

    def kill(self, number: int) -> None:
        for task, known in self.numbers.items():
            if known == number:
                self.ray.cancel(task, force=True)

    def close(self) -> None:
        for number in list(self.numbers.values()):
            self.kill(number)
        self.ray.shutdown()


def _run(content: dict[str, Any], threads: str | None, project: str, here: str) -> None:
    """The task: a trial in a worker process of Ray, its output in its log."""
    if threads:
        os.environ["OMP_NUM_THREADS"] = threads
    if project not in sys.path:
        sys.path.insert(0, project)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (project, os.environ.get("PYTHONPATH"))))  # of a trial's processes

    from src.sweep.engines.nursery import redirect
    from src.sweep.engines.trial import TrialSpec, run_trial

    os.chdir(here if os.path.isdir(here) else Path(content["folder"]).parent.parent)  # paths may be relative to where the sweep was begun
    os.environ.update(content["environment"])
    redirect(content["log"])
    asked = time.monotonic() - (time.time() - content["asked_at"])
    run_trial(TrialSpec(**content | {"asked_at": asked}))


def _knock(address: str) -> None:
    """Raise OSError if nothing answers at host:port; Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.rpartition("/")[2], int(port)), timeout=KNOCK_S).close()


def _project() -> Path:
    return Path(__file__).resolve().parents[3]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
