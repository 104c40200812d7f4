"""Starts a run's training processes where one is not enough, and sees to it that all of them end.

Each is the same command, `python -m src.run` or a trial's, with a rank in its environment, as torchrun gives it; accelerate,
in TRL's trainer, makes the rest of it (DDP, or DeepSpeed's ZeRO-2 by `hardware.sharding`). This process waits, hands
signals on to rank 0, shows the first failure once, and leaves nobody behind.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from src.common.errors import FAILED, INTERRUPTED, RunFailed
from src.hardware.config import HardwareConfig
from src.hardware.processes import TICK_S, adopt_orphans, end_children, endings
from src.hardware.ranks import LAUNCHER, SET_FOLDER, error_file, failed_rank, in_set, last_word, pace_file

LAST_WORDS_S = 20.0  # for rank 0 to close its record after another rank failed, and for the rest to end after rank 0


def needs_launch(hardware: HardwareConfig) -> bool:
    """Whether this process has to start the training processes, being none of them itself."""
    return not in_set() and (hardware.processes > 1 or hardware.sharding != "none")


@dataclass(frozen=True, slots=True)
class SetEnd:
    """How a set of training processes ended."""

    code: int
    said: str  # by the process that failed first; empty without a failure


def launch(hardware: HardwareConfig, command: Sequence[str], given: str = "") -> SetEnd:
    """Run a command in as many processes as asked for; each reads `given` from its standard input."""
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="grpo-lab-") as name:
        folder = Path(name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ranks: list[subprocess.Popen] = []
        with signals_to(ranks) as received:
            try:
                for number in range(hardware.processes):
                    ranks.append(start(number, hardware.processes, port, folder, command, given))
                failed = watch(ranks, folder)
                if received and failed_rank(folder) is None:  # rank 0 had not come as far as to say so itself
                    return SetEnd(INTERRUPTED, "")
                return ended(failed, ranks, folder)
            finally:
                for process in ranks:
                    process.kill()  # those that are left wait for one that is gone
                end_children(signal.SIGTERM, LAST_WORDS_S)  # theirs, such as a server whose guard has work to do


def start(number: int, size: int, port: int, folder: Path, command: Sequence[str], given: str) -> subprocess.Popen:
    """One training process. Only rank 0 has the screen; what the others print is kept in case they fail."""
    environment = os.environ | {
        "RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), SET_FOLDER: str(folder), LAUNCHER: str(os.getpid()),
    }
    with error_file(folder, number).open("wb") as errors:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=None if number == 0 else errors, stderr=errors,
            start_new_session=True,  # so that Ctrl-C in a terminal comes to rank 0 once, from here
        )
    assert process.stdin
    process.stdin.write(given.encode())
    process.stdin.close()
    return process


@contextmanager
def signals_to(ranks: Sequence[subprocess.Popen]) -> Iterator[list[int]]:
    """Hand Ctrl-C, SIGTERM and SIGHUP on to rank 0, which decides for all: after the step in hand first, at once the second time.

    Gives the list of what was received.
    """
    received: list[int] = []

    def hand_on(number: int, frame) -> None:
        received.append(number)
        if ranks and ranks[0].poll() is None:
            ranks[0].send_signal(number)

    previous = {number: signal.signal(number, hand_on) for number in endings()}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def watch(ranks: Sequence[subprocess.Popen], folder: Path) -> int | None:
    """Wait for the end of the set, which is the end of rank 0 or of the first rank that fails; that rank, or None.

    Raises RunFailed where rank 0 no longer advances, waiting for one that is frozen, or being that itself.
    """
    pace = PaceSeen(pace_file(folder))
    with error_file(folder, 0).open("rb") as errors:
        while (failed := first_failure(ranks, folder)) is None and ranks[0].poll() is None:
            show(errors, folder)
            if hung_s := pace.hung_s():
                raise RunFailed(f"no progress for {hung_s:.0f} s: a training process hangs; go on with resume=<the run's folder>")
            time.sleep(TICK_S)
        for process in ranks if failed is None else {ranks[0], ranks[failed]}:
            wait(process, LAST_WORDS_S)
        if not failed:
            show(errors, folder)
    return failed


class PaceSeen:
    """When the file of rank 0's pace was last new, by this process's own clock."""

    def __init__(self, path: Path) -> None:
        self.path, self.stamp, self.since = path, 0, time.monotonic()

    def hung_s(self) -> float | None:
        """Seconds since rank 0 last advanced, if those are more than it may take."""
        stamp = self.path.stat().st_mtime_ns if self.path.exists() else 0
        if stamp != self.stamp:
            self.stamp, self.since = stamp, time.monotonic()
        still = time.monotonic() - self.since
        return still if stamp and still > float(self.path.read_text(encoding="utf-8")) else None


def first_failure(ranks: Sequence[subprocess.Popen], folder: Path) -> int | None:
    """The rank that was ended from outside, that left word of its failure first, or that has ended by one without a word."""
    ended = {number: code for number, process in enumerate(ranks) if (code := process.poll()) not in (None, 0)}
    killed = next((number for number, code in ended.items() if code < 0), None)  # in its wake the others fail, and say so
    if killed is not None:
        return killed
    return noted if (noted := failed_rank(folder)) is not None else next(iter(ended), None)


def show(errors: BinaryIO, folder: Path) -> None:
    """Copy what rank 0 has written to its error stream; not what it says of another rank's end."""
    text = errors.read()
    if text and failed_rank(folder) in (None, 0):
        print(text.decode(errors="replace"), end="", file=sys.stderr, flush=True)


def ended(failed: int | None, ranks: Sequence[subprocess.Popen], folder: Path) -> SetEnd:
    """The end of the whole set, after showing what rank `failed` had to say."""
    if failed is None:
        return SetEnd(0, "")
    if failed:
        print(error_file(folder, failed).read_text(encoding="utf-8", errors="replace"), end="", file=sys.stderr, flush=True)
    code = ranks[failed].poll()
    if code is not None and code < 0:
        said = f"training process {failed} was ended by {signal.Signals(-code).name}"
        print(f"error: {said}", file=sys.stderr)
        return SetEnd(FAILED, said)
    return SetEnd(code or FAILED, last_word(folder, failed))


def wait(process: subprocess.Popen, seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass  # it is killed with the rest
