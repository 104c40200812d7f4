"""What the sweeper needs of a place to run trials, and the part that all real places share."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from src.sweep.engines.channel import Channel, Outcome, Report
from src.sweep.engines.trial import TrialSpec

LOOKING_SHARE = 0.02  # of the time, at most, for reports


@dataclass(frozen=True, slots=True)
class Ended:
    """A trial's process is gone."""

    number: int
    outcome: Outcome | None  # None = it died without a word
    how: str  # exit code, signal or the cluster's reason


class TrialEngine(Protocol):
    """Runs trials in slots."""

    slots: int

    def now(self) -> float: ...

    def wait(self) -> None:
        """Until something may have happened, a fraction of a second."""

    def start(self, spec: TrialSpec) -> None: ...

    def reports(self) -> Iterator[tuple[int, Report]]: ...

    def answer(self, number: int, report: Report, stop: str | None) -> None: ...

    def ended(self) -> list[Ended]: ...

    def silent_s(self, number: int) -> float:
        """Seconds since a trial showed life."""

    def running_s(self, number: int) -> float:
        """Seconds that a trial's process has run, waiting for resources not counted."""

    def step(self, number: int) -> int | None:
        """The last step that a trial did; None before its first."""

    def stop(self, number: int, reason: str) -> None:
        """Ask a trial to end in order, to be continued later."""

    def kill(self, number: int) -> None: ...

    def close(self) -> None: ...


class FileEngine:
    """Talks to trials through their control folders."""

    def __init__(self) -> None:
        self.channels: dict[int, Channel] = {}
        self.look_again = float("-inf")

    def open(self, spec: TrialSpec) -> Channel:
        channel = Channel(Path(spec.control))
        channel.prepare()
        Path(spec.log).parent.mkdir(parents=True, exist_ok=True)
        self.channels[spec.number] = channel
        return channel

    def reports(self) -> Iterator[tuple[int, Report]]:
        """Looks into every folder, which takes long for hundreds of trials or over a network: a small share of the time."""
        begun = time.perf_counter()
        if begun < self.look_again:
            return
        found = [(number, report) for number, channel in self.channels.items() if (report := channel.report())]
        ended = time.perf_counter()
        self.look_again = ended + (ended - begun) / LOOKING_SHARE
        yield from found

    def answer(self, number: int, report: Report, stop: str | None) -> None:
        self.channels[number].answer(report, stop)

    def silent_s(self, number: int) -> float:
        return self.channels[number].silent_s()

    def running_s(self, number: int) -> float:
        return self.channels[number].running_s()

    def step(self, number: int) -> int | None:
        return self.channels[number].step()

    def stop(self, number: int, reason: str) -> None:
        self.channels[number].stop(reason)

    def gone(self, number: int, how: str) -> Ended:
        return Ended(number, self.channels.pop(number).outcome(), how)
