"""Servers that help to measure suites, on the GPUs that train: before training these have nothing to do, and after it neither.

They help where they can: what keeps one from starting or from answering is said, and measured without it.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from src.common.errors import RunFailed, UserError
from src.common.pace import PACE
from src.common.screen import Screen
from src.common.threads import in_thread
from src.config.tree import LabConfig
from src.experiment.serving import weights_server
from src.experiment.sharing import engine_of
from src.hardware.gpus import MIB, gpus_here, nvidia_smi
from src.model.architecture import architecture
from src.plan.cost_model import GB, USABLE, Workload, helped_if_sooner, smallest_engine
from src.plan.workload import workload
from src.rollout.engine import Engine
from src.rollout.several import Several
from src.rollout.vllm import Served

if TYPE_CHECKING:
    from src.experiment.session import Session
    from src.rollout.server import Server

SETTLED_S, LOOKS = 5.0, 12  # how often it is looked whether processes that ended have given their memory back
SAME = 0.2 * GB  # bytes that it moves by when they have


class Helpers:
    """One for each GPU that trains and has room, for one folder of weights at a time."""

    def __init__(self, session: "Session", screen: Screen) -> None:
        self.session, self.config, self.screen = session, session.config, screen
        self.servers: list[Server] = []
        self.planned = _planned(self.config)
        self.given_up = self.planned is None

    @contextmanager
    def engine(self, weights: str, revision: str | None) -> Iterator[Engine]:
        """What samples from the session's policy, which has these weights; helped where GPUs are idle."""
        if self.given_up:
            yield engine_of(self.session)
            return
        try:
            yield Several(engine_of(self.session), lambda: self._started(weights, revision), self.screen.warn)
        finally:
            self._stop()

    def _started(self, weights: str, revision: str | None) -> list[Engine]:
        from src.rollout.client import WatchedClient

        PACE.advance()
        self._choose(weights, revision)
        for server in self.servers:
            server.start()
        waiting = [in_thread(server.wait) for server in self.servers]
        ready = [server for server, each in zip(self.servers, waiting, strict=True) if self._came_up(each)]
        PACE.advance()
        self.given_up = not ready
        return [Served(WatchedClient(base_url=server.url), self.session.trainer.ends) for server in ready]

    def _came_up(self, waiting) -> bool:
        try:
            waiting.result()
        except RunFailed as error:
            self.screen.warn(f"measuring without it: {error}")
            return False
        return True

    def _choose(self, weights: str, revision: str | None) -> None:
        torch.cuda.empty_cache()
        self.servers, needed = [], smallest_engine(self.planned)
        for gpu, (free, total) in _memory_of(self.config.hardware.processes).items():
            if USABLE * free < needed:
                self.screen.note(
                    f"GPU {gpu} has {free / GB:.1f} GB left, and a server needs {needed / GB:.1f} GB: measured without it"
                )
                continue
            log = self.session.record.folder / f"server_gpu_{gpu}.log"
            self.servers.append(weights_server(self.config, weights, revision, gpu, USABLE * free / total, log))
        self.screen.note(f"measuring with {len(self.servers)} more server(s), on the GPUs that train")

    def _stop(self) -> None:
        for server in self.servers:
            server.ask_to_end()
        for server in self.servers:
            try:
                server.stop()
            except subprocess.TimeoutExpired:
                self.screen.warn(f"the server at {server.url} did not end, and was killed")


def _planned(config: LabConfig) -> Workload | None:
    """The run as the plan sees it, where there may be such servers and they measure sooner; None also where nothing is known of its
    model."""
    if not config.measured_on_idle_gpus:
        return None
    try:
        w, spec = workload(config, architecture(config.model)), config.hardware.known_spec
    except UserError:
        return None
    return w if spec is None or helped_if_sooner(w, spec).helpers else None


def _memory_of(processes: int) -> dict[str, tuple[float, float]]:
    """Free and all bytes of the GPUs that train, once the training processes that ended have given theirs back."""
    now = _memory_now(processes)
    for _ in range(LOOKS):
        time.sleep(SETTLED_S)
        before, now = now, _memory_now(processes)
        if all(free - before.get(gpu, (0.0, 0.0))[0] < SAME for gpu, (free, _) in now.items()):
            break
    return now


def _memory_now(processes: int) -> dict[str, tuple[float, float]]:
    lines = nvidia_smi("--query-gpu=uuid,memory.free,memory.total", "--format=csv,noheader,nounits").splitlines()
    rows = [line.split(", ") for line in lines]
    known = {
        uuid: (float(free) * MIB * GB, float(total) * MIB * GB) for uuid, free, total in rows if free.isdigit() and total.isdigit()
    }
    return {gpu.handle: known[gpu.uuid] for gpu in gpus_here()[:processes] if gpu.uuid in known}
