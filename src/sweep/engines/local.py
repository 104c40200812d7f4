"""Trials on this machine: forked from a nursery, each with GPUs of its own."""

import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace

from src.common.errors import RunFailed, UserError
from src.common.files import NO_ROOM
from src.hardware.gpus import visible_gpus
from src.sweep.engines.engine import Ended, FileEngine
from src.sweep.engines.trial import TrialSpec

TICK_S = 0.02
NURSERY_DEATHS = 3  # without a trial that ended well in between
READY_S = 600.0  # for the nursery to import its libraries


def share_gpus(slots: int, per_trial: int) -> list[list[str]]:
    """The GPUs of each slot. Raises UserError where there are too few."""
    if per_trial == 0:
        return [[] for _ in range(slots)]
    gpus = visible_gpus()
    if per_trial > len(gpus):
        raise UserError(f"sweep.gpus_per_trial: {per_trial} GPUs for each trial, but this machine has {len(gpus)}")
    if slots * per_trial > len(gpus):
        raise UserError(
            f"sweep.n_jobs: {slots} slots with {per_trial} GPUs each need {slots * per_trial}, this machine has "
            f"{len(gpus)}; set sweep.n_jobs={len(gpus) // per_trial}"
        )
    return [gpus[slot * per_trial : (slot + 1) * per_trial] for slot in range(slots)]


class LocalEngine(FileEngine):
    """`slots` trials at once. A nursery that does not answer within `patience_s` is ended, and another takes its place."""

    def __init__(self, slots: int, gpus_per_trial: int, patience_s: float = 60.0) -> None:
        super().__init__()
        self.slots, self.patience_s = slots, patience_s
        self.gpus = share_gpus(slots, gpus_per_trial)
        self.slot_of: dict[int, int] = {}
        self.gone_by: list[Ended] = []
        self.deaths = 0
        self._start_nursery()

    def _start_nursery(self) -> None:
        mine, theirs = socket.socketpair()
        environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
        # Threads of numpy's BLAS would be running already when the nursery forks.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "src.sweep.engines.nursery", str(theirs.fileno())],
            pass_fds=[theirs.fileno()], env=environment, start_new_session=True, stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self.connection, self.buffer = mine, b""
        self.owed, self.due = True, self.now() + READY_S  # whether an answer is, and by when; or when to ask for the next

    def now(self) -> float:
        return time.monotonic()

    def wait(self) -> None:
        ready, _, _ = select.select([self.connection], [], [], TICK_S)
        if ready:
            self._listen()
        self._ask()

    def _ask(self) -> None:
        """See whether the nursery lives: one that is frozen would leave its slots empty for ever."""
        if self.now() < self.due:
            return
        if self.owed:
            self.process.kill()
            self._nursery_died("it gave no answer")
        else:
            self.owed, self.due = True, self.now() + self.patience_s
            self._tell({"ping": self.process.pid})

    def start(self, spec: TrialSpec) -> None:
        self.open(spec)
        slot = next(slot for slot in range(self.slots) if slot not in self.slot_of.values())
        self.slot_of[spec.number] = slot
        environment = dict(spec.environment)
        if self.gpus[slot]:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus[slot])
        self._tell({"start": asdict(replace(spec, environment=environment))})

    def kill(self, number: int) -> None:
        self._tell({"kill": number})

    def ended(self) -> list[Ended]:
        gone, self.gone_by = self.gone_by, []
        return gone

    def close(self) -> None:
        if not self.slot_of:
            self.process.kill()  # it may still be importing; with trials it has to end them first
        self.connection.close()
        self.process.wait()

    def _tell(self, message: dict) -> None:
        try:
            self.connection.sendall(json.dumps(message).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            self._nursery_died()

    def _listen(self) -> None:
        try:
            data = self.connection.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        if not data:
            self._nursery_died()
            return
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "ready" in message or "pong" in message:
                self.owed, self.due = False, self.now() + self.patience_s / 4
            if message.get("started") in self.channels:
                self.channels[message["started"]].has_process = True  # which can hang before its first word
            if "ended" in message:
                self._end(message["ended"], _how(message["code"]))

    def _end(self, number: int, how: str) -> None:
        del self.slot_of[number]
        ended = self.gone(number, how)
        if ended.outcome:
            self.deaths = 0
        self.gone_by.append(ended)

    def _nursery_died(self, how: str = "") -> None:
        """Its trials died with it; another takes its place."""
        code = self.process.wait()
        how = how or _how(code)
        self.connection.close()
        for number in list(self.slot_of):
            self._end(number, f"its parent process ended ({how})")
        self.deaths += 1
        if self.deaths > NURSERY_DEATHS:
            raise RunFailed(f"sweep: the process that starts trials does not stay alive ({how}); see the lines above")
        self._start_nursery()


def _how(code: int) -> str:
    if code == errno.ENOSPC:
        return NO_ROOM
    if code == -signal.SIGKILL:
        return "killed (SIGKILL; a machine that runs out of memory does that)"
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
