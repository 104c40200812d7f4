"""Processes that must not outlive the one that started them. Linux; elsewhere the closed pipes and sockets have to do."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
TICK_S = 0.05


def endings() -> list[signal.Signals]:
    """Signals that ask a run to end in order; SIGHUP, of a terminal that goes, not under nohup, which has it ignored."""
    hang_up = [] if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hang_up]


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that `end_children` finds it."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def kill_group(process: int) -> None:
    """Kill a process and all of its group; nothing happens if it is gone."""
    for kill in (os.killpg, os.kill):  # the group is the child's own only after its setsid
        try:
            kill(process, signal.SIGKILL)
        except ProcessLookupError:
            pass


def children() -> list[int]:
    """Ids of this process's children, ended ones that nobody has waited for included."""
    return [int(number) for task in Path("/proc/self/task").glob("*/children") for number in task.read_text().split()]


def end_children(number: signal.Signals, patience_s: float) -> None:
    """Send `number` to every child, and after `patience_s` SIGKILL; returns when none is left, adopted ones included."""
    told: set[int] = set()
    deadline = time.monotonic() + patience_s
    while left := children():
        late = time.monotonic() > deadline
        for child in left:
            if late or child not in told:
                _send(child, signal.SIGKILL if late else number)
                told.add(child)
        _reap()
        time.sleep(TICK_S)


def _send(process: int, number: signal.Signals) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        pass


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
