"""The `stability` group: watch a run for the collapse that the papers report, say so early, and act on it.

Published runs lose accuracy after 150 to 200 steps, while their lengths grow again and other languages appear (arXiv
2503.16219). Each signal is compared with the best that this run has had: the median of its last steps against the best one
of as many steps before, with the noise estimated from neighbouring steps. Add a signal by adding it to SIGNALS.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field

from src.common.base import Config

MEDIAN_TO_STD = 1.4826  # of a normal distribution
SAME_LIMIT = 0.1  # steps whose length limits differ by a larger share are not compared
VALIDATION = "validation/accuracy"
LOST = 0.05  # of validation accuracy, below the best of the run, in two validations in a row
# What a signal must not reach in so many steps in a row, whatever was before: completions cut off, above which little can be
# learnt, and KL in nats a token, which begins at 0 and has no best; single steps of healthy runs reach 0.9 of it.
LIMITS = {
    "truncated_share": (0.75, 4, "most completions are cut off"),
    "kl": (0.15, 2, "the policy runs away from its base"),
}

Line = Mapping[str, Any]  # of metrics.jsonl
Action = Literal["none", "stop", "decay", "rollback"]


class StabilityConfig(Config):
    on_collapse: Action
    window_steps: int = Field(ge=2)
    confirm_steps: int = Field(ge=1)
    threshold: float = Field(gt=0)  # standard errors
    decay_factor: float = Field(gt=0, lt=1)
    actions: int = Field(ge=1)


@dataclass(frozen=True, slots=True)
class Signal:
    """A number of metrics.jsonl, and what it does in a run that goes wrong."""

    key: str
    says: str
    rises: bool
    smallest: float  # change that counts, however little the signal varies
    relative: bool = False  # `smallest` is a share of the best value
    by_problems: bool = True  # it depends on a step's problems and on the length limit


# Falling lengths, entropy and truncation are what learning does; so only their rise is a signal.
SIGNALS = (
    Signal("accuracy", "training accuracy falls", rises=False, smallest=0.25),
    Signal("format_share", "the format is lost", rises=False, smallest=0.25),
    Signal("language_share", "another language appears", rises=False, smallest=0.1),
    Signal("truncated_share", "completions are cut off", rises=True, smallest=0.25),
    Signal("completion_tokens/mean", "completions grow", rises=True, smallest=0.5, relative=True),
    Signal("entropy", "entropy rises", rises=True, smallest=0.75, relative=True, by_problems=False),
)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A signal that went wrong: from step `since` on it was beyond its bound, at `step` that was sure enough to say."""

    signal: str
    says: str
    since: int
    step: int
    value: float
    best: float  # that `value` is compared with

    def __str__(self) -> str:
        return f"{self.says}: {self.signal} {self.value:.3g} against {self.best:.3g}, since step {self.since}"


def alarm_at(lines: Sequence[Line], signal: Signal, config: StabilityConfig) -> Alarm | None:
    """The alarm that the last of these lines gives for a signal."""
    seen = [line for line in lines if line.get(signal.key) is not None and (_sampled(line) or not signal.by_problems)]
    if not seen or seen[-1] is not lines[-1]:
        return None
    beyond = []
    for back in range(config.confirm_steps):
        part = seen[: len(seen) - back]
        found = _against_best(part, signal, config)
        if found is None:
            return None
        beyond.append((part[-1]["step"], *found))
    (step, value, best), since = beyond[0], beyond[-1][0]
    return Alarm(signal.key, signal.says, since, step, value, best)


def _against_best(lines: Sequence[Line], signal: Signal, config: StabilityConfig) -> tuple[float, float] | None:
    """The median of the last window and the best one before it, if they are further apart than the bound."""
    width, sign = config.window_steps, 1 if signal.rises else -1
    alike = [_alike(line, lines[-1]) or not signal.by_problems for line in lines]
    values = [float(line[signal.key]) for line in lines]
    ends = [end for end in range(width, len(lines) + 1) if all(alike[end - width : end])]
    earlier = [end for end in ends if end <= len(lines) - width]
    if not earlier or ends[-1] != len(lines):
        return None
    now = statistics.median(values[-width:])
    best = sign * min(sign * statistics.median(values[end - width : end]) for end in earlier)
    error = _noise(values[:-width]) * math.sqrt(2 / width)
    bound = max(config.threshold * error, signal.smallest * (abs(best) if signal.relative else 1))
    return (now, best) if sign * (now - best) > bound else None


def _sampled(line: Line) -> bool:
    """Whether the step sampled completions; a further update on the same ones repeats what they were."""
    return line.get("completion_tokens/mean") is not None


def _alike(line: Line, other: Line) -> bool:
    return abs(line["length_limit"] - other["length_limit"]) <= SAME_LIMIT * other["length_limit"]


def _noise(values: Sequence[float]) -> float:
    """Standard deviation of a step, from the differences of neighbours, which a trend hardly moves."""
    differences = [abs(later - earlier) for earlier, later in pairwise(values)]
    return MEDIAN_TO_STD * statistics.median(differences) / math.sqrt(2) if differences else 0.0


def _lost_at(lines: Sequence[Line]) -> Alarm | None:
    """The alarm of two validations in a row below the best, the last line being the second."""
    seen = [line for line in lines if line.get(VALIDATION) is not None]
    if len(seen) < 3 or seen[-1] is not lines[-1]:
        return None
    best = max(line[VALIDATION] for line in seen)
    if any(best - line[VALIDATION] <= LOST for line in seen[-2:]):
        return None
    return Alarm(VALIDATION, "validation accuracy falls", seen[-2]["step"], seen[-1]["step"], seen[-1][VALIDATION], best)


def _above_limit(lines: Sequence[Line], key: str) -> Alarm | None:
    """The alarm of a signal that was at its limit of LIMITS or above it in the last steps, the last line's among them."""
    limit, steps, says = LIMITS[key]
    seen = [line for line in lines if line.get(key) is not None][-steps:]
    if len(seen) < steps or seen[-1] is not lines[-1]:
        return None
    least = min(line[key] for line in seen)
    return Alarm(f"{key}/limit", says, seen[0]["step"], seen[-1]["step"], least, limit) if least >= limit else None


class Monitor:
    """Looks at each step's line as it is written; what it said, and did, is kept in a checkpoint as `state`."""

    def __init__(
        self, config: StabilityConfig, shuffled: bool, lines: Sequence[Line] = (), state: Mapping[str, Any] | None = None
    ) -> None:
        """`lines` are those of an earlier session. Without `shuffled` problems a step's accuracy, length and format say more
        of its problems than of the policy, and are not looked at."""
        self.config, self.lines = config, list(lines)
        self.signals = [signal for signal in SIGNALS if shuffled or not signal.by_problems]
        state = state or {"alarms": [], "answered": 0, "since_step": 0, "actions": 0}
        self.alarms = [Alarm(**alarm) for alarm in state["alarms"]]
        self.answered: int = state["answered"]  # of the alarms
        self.since_step, self.actions = state["since_step"], state["actions"]  # of the last action, and how many there were

    def state_dict(self) -> dict[str, Any]:
        alarms = [asdict(alarm) for alarm in self.alarms]
        return {"alarms": alarms, "answered": self.answered, "since_step": self.since_step, "actions": self.actions}

    def look(self, line: Line) -> list[Alarm]:
        """New alarms of this step; each signal has one, and again after an action."""
        self.lines.append(line)
        lines = [each for each in self.lines if each["step"] > self.since_step]
        said = {alarm.signal for alarm in self.alarms if alarm.step > self.since_step}
        found = [alarm_at(lines, signal, self.config) for signal in self.signals if signal.key not in said]
        found += [_lost_at(lines)] if VALIDATION not in said else []
        found += [_above_limit(lines, key) for key in LIMITS if f"{key}/limit" not in said]
        new = [alarm for alarm in found if alarm]
        self.alarms += new
        return new

    def act(self, step: int) -> Action:
        """What to do at this step about alarms that nothing was done about; what came before is not compared with any more."""
        if len(self.alarms) == self.answered:
            return "none"
        self.answered = len(self.alarms)
        if self.config.on_collapse in ("none", "stop"):
            return self.config.on_collapse
        self.since_step, self.actions = step, self.actions + 1
        return self.config.on_collapse if self.actions <= self.config.actions else "stop"


def alarms_of(lines: Sequence[Line], config: StabilityConfig, shuffled: bool = True) -> list[Alarm]:
    """What a monitor would have said of a run, from its metrics.jsonl."""
    monitor = Monitor(config, shuffled)
    for line in lines:
        monitor.look(line)
    return monitor.alarms


def lower_learning_rate(optimizer, scheduler, factor: float) -> None:
    """Multiply the learning rate, now and for the rest of the schedule; both are saved with the trainer's state."""
    scheduler = getattr(scheduler, "scheduler", scheduler)  # accelerate's wrapper
    scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]
    for group in optimizer.param_groups:
        group["lr"] *= factor
        group["initial_lr"] *= factor
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]  # what is logged


def restore_optimizer(optimizer, path) -> None:
    """Put a checkpoint's optimiser state back, at the learning rate that is in force now."""
    import torch

    rates = [{key: group[key] for key in ("lr", "initial_lr")} for group in optimizer.param_groups]
    optimizer.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group |= rate
