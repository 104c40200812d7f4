"""Length: the limit on completion tokens as a function of the step.

To add a schedule, write its class, a LengthConfig with its name as `schedule`; a file in conf/length/ uses it.

Every schedule has a `fraction`: its highest limit as a fraction of the scale's completion budget. All other fractions
are relative to that highest limit, so one schedule can be swapped for another under the same experiment.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from src.common.base import Choice, Config
from src.common.types import Completion

Share = Annotated[float, Field(gt=0, le=1)]


class PerProblemConfig(Config):
    """A limit for each problem: so many times the mean length of its correct completions so far. What is longer is cut off: the
    truncation of DLER (arXiv 2510.15110), tighter for problems that need less."""

    slack: float = Field(1.5, ge=1, allow_inf_nan=False)
    floor: Share = 0.25  # lowest limit / the highest of the schedule
    correct: int = Field(4, ge=1)  # completions before there is one


State = dict[str, Any]  # plain JSON; it stands in checkpoints


class LengthConfig(Choice):
    """What every schedule has: its keys, and its limit at each step. `share` alone has to be written."""

    chosen_by: ClassVar[str] = "schedule"
    fraction: Share = 1.0  # highest limit / the scale's completion budget
    per_problem: PerProblemConfig | None = None

    @abstractmethod
    def share(self, step: int, steps: int, state: State) -> float:
        """The limit at a step, counted from 0, of a run of so many steps, relative to the highest."""

    def begin(self) -> State:
        """The state of a schedule that depends on what the run does; empty for one that does not."""
        return {}

    def observed(self, state: State, truncated_share: float) -> State:
        """The state after a step in which that share of the completions reached the limit."""
        return state


class Fixed(LengthConfig):
    """The same limit at every step."""

    schedule: Literal["fixed"]

    def share(self, step: int, steps: int, state: State) -> float:
        return 1.0


class Staged(LengthConfig):
    """Stages with a limit each; `stage_begins` are the shares of the run at which they begin."""

    schedule: Literal["staged"]
    stage_fractions: tuple[Share, ...]  # limit of each stage / the highest limit
    stage_begins: tuple[Annotated[float, Field(ge=0, lt=1)], ...]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if len(self.stage_fractions) != len(self.stage_begins):
            raise ValueError(
                f"{len(self.stage_fractions)} stage_fractions and {len(self.stage_begins)} stage_begins: "
                "give one of each for every stage"
            )
        if not self.stage_begins or self.stage_begins[0] != 0:
            raise ValueError("the first stage must begin at 0: set the first of stage_begins to 0")
        if any(later <= earlier for earlier, later in pairwise(self.stage_begins)):
            raise ValueError(f"stages out of order: stage_begins {list(self.stage_begins)} must rise from 0 towards 1")
        if max(self.stage_fractions) != 1:
            raise ValueError(
                f"the largest of stage_fractions is {max(self.stage_fractions)}, it must be 1: "
                "they are relative to the highest limit, which `fraction` sets"
            )
        return self

    def share(self, step: int, steps: int, state: State) -> float:
        begun = sum(begin <= step / steps for begin in self.stage_begins)
        return self.stage_fractions[begun - 1]


class Linear(LengthConfig):
    """From `start_fraction` of the highest limit to all of it, in equal steps up to the share `until` of the run."""

    schedule: Literal["linear"]
    start_fraction: Share = 0.5
    until: Share = 1.0

    def share(self, step: int, steps: int, state: State) -> float:
        # The last step of the rise has the full limit; a rise of a single step is the full limit at once.
        last = self.until * steps - 1
        progress = min(1.0, step / last) if last > 0 else 1.0
        return self.start_fraction + (1.0 - self.start_fraction) * progress


class Adaptive(LengthConfig):
    """Grows while many completions are truncated, shrinks when few are.

    Decides from the mean truncated share of the last `window_steps` steps, all under the present limit. After each change
    the window starts anew: shares measured under the old limit say nothing of the new one, and a limit that reacted to
    them would overshoot. So the limit changes at most once in `window_steps` steps.
    """

    schedule: Literal["adaptive"]
    start_fraction: Share = 0.5  # first limit / the highest
    min_fraction: Share = 0.25  # lowest limit / the highest
    grow_above: float = Field(0.2, ge=0, lt=1)  # mean truncated share
    grow_factor: float = Field(1.25, gt=1, allow_inf_nan=False)
    shrink_below: float = Field(0.02, ge=0, le=1)  # mean truncated share
    shrink_factor: float = Field(0.9, gt=0, lt=1)
    window_steps: int = Field(5, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.shrink_below > self.grow_above:
            raise ValueError(
                f"shrink_below {self.shrink_below} is above grow_above {self.grow_above}: "
                "the limit would have to grow and shrink at once"
            )
        if self.start_fraction < self.min_fraction:
            raise ValueError(f"start_fraction {self.start_fraction} is below min_fraction {self.min_fraction}")
        if self.per_problem:
            raise ValueError("per_problem: a limit that follows truncations cannot tell its own from those of a problem's; set it to null")
        return self

    def share(self, step: int, steps: int, state: State) -> float:
        return state["present"]

    def begin(self) -> State:
        return {"present": self.start_fraction, "window": []}  # not rounded to tokens, or small limits could never grow

    def observed(self, state: State, truncated_share: float) -> State:
        window = [*state["window"], truncated_share][-self.window_steps :]
        if len(window) == self.window_steps:
            mean = math.fsum(window) / self.window_steps
            if mean > self.grow_above:
                return self._changed(state["present"] * self.grow_factor)
            if mean < self.shrink_below:
                return self._changed(state["present"] * self.shrink_factor)
        return state | {"window": window}

    def _changed(self, share: float) -> State:
        return {"present": min(1.0, max(self.min_fraction, share)), "window": []}


class LengthSchedule:
    """A schedule over a run of `total_steps` steps at a scale with a budget of `budget_tokens` a completion.

    Attributes:
        maximum: the largest limit that can occur, in tokens.
        state: what has to be saved, as plain JSON, so that an interrupted run goes on with the same limits.
    """

    def __init__(self, config: LengthConfig, budget_tokens: int, total_steps: int) -> None:
        if budget_tokens < 1 or total_steps < 1:
            raise ValueError(f"a schedule over {total_steps} steps of at most {budget_tokens} tokens is empty")
        self.config, self.total_steps, self.state = config, total_steps, config.begin()
        self.maximum = _whole_tokens(config.fraction * budget_tokens)

    def limit(self, step: int) -> int:
        """Limit in tokens, at least 1. Steps count from 0; past the end the last limit stays."""
        return _whole_tokens(self.config.share(step, self.total_steps, self.state) * self.maximum)

    def limit_of(self, problem: int, step: int) -> int:
        """The limit of a problem, by number: at most the step's."""
        own, (number, tokens) = self.config.per_problem, self._correct(problem)
        if own is None or number < own.correct:
            return self.limit(step)
        return min(self.limit(step), max(_whole_tokens(own.floor * self.maximum), _whole_tokens(own.slack * tokens / number)))

    def saw(self, problem: int, completions: Sequence[Completion]) -> None:
        """Take note of what was sampled for a problem."""
        if self.config.per_problem:
            lengths = [completion.tokens for completion in completions if completion.verdict.correct]
            number, tokens = self._correct(problem)
            self.state.setdefault("per_problem", {})[str(problem)] = [number + len(lengths), tokens + sum(lengths)]

    def _correct(self, problem: int) -> tuple[int, int]:
        """Correct completions to a problem so far, and their tokens."""
        number, tokens = self.state.get("per_problem", {}).get(str(problem), (0, 0))
        return number, tokens

    @property
    def _first(self) -> float:
        return self.config.share(0, self.total_steps, self.config.begin())

    @property
    def rises(self) -> bool:
        """Whether the first limit is below the highest one."""
        return self._first < 1

    def lengthened(self, step: int) -> float:
        """The limit's way from the first to the highest one, 0 to 1; 1 where it does not rise."""
        now = self.config.share(step, self.total_steps, self.state)
        return min(1.0, max(0.0, (now - self._first) / (1 - self._first))) if self.rises else 1.0

    def observe(self, step: int, truncated_share: float) -> None:
        """Take note, once a step, of the share of its completions that reached the limit."""
        if not 0 <= truncated_share <= 1:
            raise ValueError(f"truncated_share is {truncated_share} at step {step}, it must be from 0 to 1")
        self.state = self.config.observed(self.state, truncated_share)


def _whole_tokens(tokens: float) -> int:
    # Round half up. The inner rounding takes away binary noise: 0.145 * 100 is 14.499999999999998.
    return max(1, math.floor(round(tokens, 6) + 0.5))
