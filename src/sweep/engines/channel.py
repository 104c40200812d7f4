"""What a trial and its sweeper say to each other: small files in the trial's own control folder.

Files work across machines with a shared file system, survive either side, and leave a trace. Each is written whole.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from src.common.files import write_json, write_whole
from src.common.pace import PACE

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Report:
    """A trial asks whether to go on, after a validation, one of its seeds or one of its rungs."""

    id: str
    kind: str  # "validation", "seed" or "rung"
    step: int  # of training, counted on over the runs of the trial; of a rung what the pruner is told
    value: float  # of the objective to prune on, the mean over the seeds so far
    outcomes: list[float]  # share of samples solved of each problem
    seed_values: list[float]  # of the objective to prune on, of each finished seed
    error: float = 0.0  # standard error of `value`, from the interval of an accuracy; 0 of what has none


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended by itself."""

    status: str  # complete, pruned, interrupted or failed
    reason: str
    can_pass: bool  # a failure that a new attempt may not meet again
    values: list[float]  # of each objective, the mean over the seeds; empty unless complete
    by_seed: list[list[float]]  # the values of each seed that was run
    low: float | None  # 95 % interval of the first objective where it is an accuracy, the first seed's
    high: float | None
    step: int  # steps done, over all seeds
    seconds: float
    usd: float
    gpu_hours: float
    rungs: list[float] = field(default_factory=list)  # of the first objective, at each rung that was left or pruned at


class Channel:
    """The control folder of one trial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / "lock"  # held by the trial's process
        self.has_process = False  # as far as the engine knows
        self._seen: dict[str, tuple[int, float]] = {}  # of a file that the trial touches: its time, and when that was new

    # The sweeper's side.

    def prepare(self) -> None:
        """Forget what earlier attempts said."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("report.json", "answer.json", "stop.json", "outcome.json", "started", "step"):
            (self.folder / name).unlink(missing_ok=True)
        self._seen.clear()
        self.has_process = False

    def report(self) -> Report | None:
        return self._as(Report, "report")

    def answer(self, report: Report, stop: str | None) -> None:
        """Answer a report; `stop` is the reason to end the trial as pruned."""
        (self.folder / "report.json").unlink(missing_ok=True)
        write_json(self.folder / "answer.json", {"id": report.id, "stop": stop})

    def stop(self, reason: str) -> None:
        """Ask the trial to end in order after the step in hand, to be continued later."""
        write_json(self.folder / "stop.json", {"reason": reason})

    def outcome(self) -> Outcome | None:
        return self._as(Outcome, "outcome")

    def final(self) -> Outcome | None:
        """The outcome of a trial that is at its end, whoever was there to hear of it."""
        outcome = self.outcome()
        return outcome if outcome and outcome.status in ("complete", "pruned") else None

    def silent_s(self) -> float:
        """Seconds since the trial last showed life, or since it is known to have a process; 0 before."""
        return self._unchanged_s("alive") if self.has_process or self.begun() else 0.0

    def running_s(self) -> float:
        """Seconds since the trial's process began; 0 before."""
        return self._unchanged_s("started") if self.begun() else 0.0

    def step(self) -> int | None:
        """The last step that the trial did, counted on over its runs; None before the first."""
        try:
            return int((self.folder / "step").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def begun(self) -> bool:
        return (self.folder / "started").exists()

    def start_delay_s(self) -> float | None:
        """Seconds from the slot being free to the first line of the trial's log."""
        try:
            return float((self.folder / "started").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def _unchanged_s(self, name: str) -> float:
        """Seconds since a file was first seen with the time that it has.

        By this process's own clock, which does not jump: what the file's time itself says may be another machine's, or change
        with a correction of the wall clock.
        """
        now, path = time.monotonic(), self.folder / name
        stamp = path.stat().st_mtime_ns if path.exists() else 0
        if name not in self._seen or self._seen[name][0] != stamp:
            self._seen[name] = (stamp, now)
        return now - self._seen[name][1]

    # The trial's side.

    def begin(self, delay_s: float) -> None:
        """The trial's process has begun, so long after its slot was free."""
        self.show_life()
        write_whole(self.folder / "started", lambda path: path.write_text(str(delay_s), encoding="utf-8"))

    def show_life(self) -> None:
        (self.folder / "alive").touch()

    def did(self, step: int) -> None:
        (self.folder / "step").write_text(str(step), encoding="utf-8")

    def ask(self, report: Report) -> str | None:
        """Report, and wait for the answer: the reason to stop, or None. An answer that never comes means to go on."""
        write_json(self.folder / "report.json", asdict(report))
        until = time.monotonic() + 120
        while time.monotonic() < until:
            PACE.advance()  # it is the sweeper that takes its time
            content = self._read("answer")
            if content and content.get("id") == report.id:
                return content.get("stop")
            time.sleep(0.01)
        return None

    def asked_to_stop(self) -> str | None:
        content = self._read("stop")
        return content.get("reason") if content else None

    def end(self, outcome: Outcome) -> None:
        write_json(self.folder / "outcome.json", asdict(outcome))

    def _read(self, name: str) -> dict[str, Any] | None:
        """What a file says; None where it is not there or damaged, as if it had never been written."""
        try:
            content = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None

    def _as(self, kind: type[T], name: str) -> T | None:
        try:
            return kind(**content) if (content := self._read(name)) else None
        except TypeError:  # another version's
            return None
