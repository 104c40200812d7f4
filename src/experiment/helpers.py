"""Servers that help to measure suites, on the GPUs that train: before training these have nothing to do, and after it neither."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from src.common.errors import RunFailed
from src.common.screen import Screen
from src.config.tree import LabConfig
from src.experiment.serving import weights_server
from src.experiment.sharing import engine_of
from src.hardware.gpus import MIB, gpus_here, nvidia_smi
from src.model.architecture import architecture
from src.plan.cost_model import GB, USABLE, quicker_helper, smallest_engine
from src.plan.workload import workload
from src.rollout.engine import Engine
from src.rollout.several import Several
from src.rollout.vllm import Served

if TYPE_CHECKING:
    from src.experiment.session import Session
    from src.rollout.server import Server

SETTLED_S = 5.0  # in which no memory is given back any more


@contextmanager
def helped_engine(session: "Session", weights: str, revision: str | None, screen: Screen) -> Iterator[Engine]:
    """What samples from the policy, which has these weights; with servers of them beside it where GPUs are idle."""
    if not _helps(session.config):
        yield engine_of(session)
        return
    servers: list[Server] = []

    def start() -> list[Engine]:
        from src.rollout.client import WatchedClient

        servers.extend(_servers(session, weights, revision, screen))
        for server in servers:
            server.start()
        return [Served(WatchedClient(base_url=server.url), session.trainer.ends) for server in servers if _ready(server, screen)]

    try:
        yield Several(engine_of(session), start, screen.warn)
    finally:
        for server in servers:
            server.stop()


def _helps(config: LabConfig) -> bool:
    """Whether such servers may be, and by the plan, where there is one, measure sooner."""
    spec = config.hardware.known_spec
    return config.measured_on_idle_gpus and (spec is None or bool(quicker_helper(workload(config, architecture(config.model)), spec)))


def _servers(session: "Session", weights: str, revision: str | None, screen: Screen) -> "list[Server]":
    """One for each GPU that trains and has room for it."""
    config, found = session.config, []
    needed = smallest_engine(workload(config, architecture(config.model)))
    torch.cuda.empty_cache()
    for number, (gpu, (free, total)) in enumerate(_memory_of(config.hardware.processes).items()):
        if USABLE * free < needed:
            screen.note(f"GPU {gpu} has {free / GB:.1f} GB left, and a server needs {needed / GB:.1f} GB: measured without it")
            continue
        log = session.record.folder / f"server_{number}.log"
        found.append(weights_server(config, weights, revision, gpu, USABLE * free / total, log))
    if found:
        screen.note(f"starting {len(found)} more server(s) on the GPUs that train, to measure with")
    return found


def _memory_of(processes: int) -> dict[str, tuple[float, float]]:
    """Free and all bytes of the GPUs that train, once the training processes that ended have given theirs back."""
    seen: dict[str, tuple[float, float]] = {}
    while seen != (now := _memory_now(processes)):
        seen = now
        time.sleep(SETTLED_S)
    return now


def _memory_now(processes: int) -> dict[str, tuple[float, float]]:
    lines = nvidia_smi("--query-gpu=uuid,memory.free,memory.total", "--format=csv,noheader,nounits").splitlines()
    known = {uuid: (float(free) * MIB * GB, float(total) * MIB * GB) for uuid, free, total in (line.split(", ") for line in lines)}
    return {gpu.handle: known[gpu.uuid] for gpu in gpus_here()[:processes] if gpu.uuid in known}


def _ready(server: "Server", screen: Screen) -> bool:
    try:
        server.wait()
    except RunFailed as error:
        screen.warn(f"measuring without it: {error}")
        return False
    return True
