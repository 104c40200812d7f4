"""Length: the limit on completion tokens as a function of the step.

To add a schedule, write its config class (a member of LengthConfig) and its LengthSchedule, and name both in SCHEDULES.

Every schedule has a `fraction`: its highest limit as a fraction of the scale's completion budget. All other fractions
are relative to that highest limit, so one schedule can be swapped for another under the same experiment.
"""

import math
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from src.common.base import Config

Share = Annotated[float, Field(gt=0, le=1)]


class _Length(Config):
    """What every schedule has."""

    fraction: Share = 1.0  # highest limit / the scale's completion budget


class Fixed(_Length):
    """The same limit at every step."""

    schedule: Literal["fixed"]


class Staged(_Length):
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


class Linear(_Length):
    """From `start_fraction` of the highest limit to all of it, in equal steps up to the share `until` of the run."""

    schedule: Literal["linear"]
    start_fraction: Share = 0.5
    until: Share = 1.0


class Adaptive(_Length):
    """Grows while many completions are truncated, shrinks when few are."""

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
        return self


LengthConfig = Annotated[Fixed | Staged | Linear | Adaptive, Field(discriminator="schedule")]


class LengthSchedule(ABC):
    """The limit on completion tokens at each step of a run.

    Attributes:
        maximum: the largest limit that can occur, in tokens.
    """

    def __init__(self, config: Any, budget_tokens: int, total_steps: int) -> None:
        if budget_tokens < 1 or total_steps < 1:
            raise ValueError(f"a schedule over {total_steps} steps of at most {budget_tokens} tokens is empty")
        self.config = config
        self.total_steps = total_steps
        self.maximum = _whole_tokens(config.fraction * budget_tokens)

    def limit(self, step: int) -> int:
        """Limit in tokens, at least 1. Steps count from 0; past the end the last limit stays."""
        return _whole_tokens(self._share(step) * self.maximum)

    @abstractmethod
    def _share(self, step: int) -> float:
        """Limit at a step, relative to the highest."""

    def observe(self, step: int, truncated_share: float) -> None:
        """Take note, once a step, of the share of its completions that reached the limit."""

    def state_dict(self) -> dict[str, Any]:
        """What has to be saved, as plain JSON, so that an interrupted run goes on with the same limits."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""


class FixedSchedule(LengthSchedule):
    def _share(self, step: int) -> float:
        return 1.0


class StagedSchedule(LengthSchedule):
    def _share(self, step: int) -> float:
        progress = step / self.total_steps
        begun = sum(begin <= progress for begin in self.config.stage_begins)
        return self.config.stage_fractions[begun - 1]


class LinearSchedule(LengthSchedule):
    def _share(self, step: int) -> float:
        # The last step of the rise has the full limit; a rise of a single step is the full limit at once.
        last = self.config.until * self.total_steps - 1
        progress = min(1.0, step / last) if last > 0 else 1.0
        return self.config.start_fraction + (1.0 - self.config.start_fraction) * progress


class AdaptiveSchedule(LengthSchedule):
    """Decides from the mean truncated share of the last `window_steps` steps, all under the present limit.

    After each change the window starts anew: shares measured under the old limit say nothing of the new one, and a
    limit that reacted to them would overshoot. So the limit changes at most once in `window_steps` steps. It does not
    depend on the step asked for: `limit` is the present one.
    """

    def __init__(self, config: Adaptive, budget_tokens: int, total_steps: int) -> None:
        super().__init__(config, budget_tokens, total_steps)
        self._present = config.start_fraction  # not rounded to tokens, or small limits could never grow
        self._window: list[float] = []

    def _share(self, step: int) -> float:
        return self._present

    def observe(self, step: int, truncated_share: float) -> None:
        if not 0 <= truncated_share <= 1:
            raise ValueError(f"truncated_share is {truncated_share} at step {step}, it must be from 0 to 1")
        config = self.config
        self._window = [*self._window, truncated_share][-config.window_steps :]
        if len(self._window) < config.window_steps:
            return
        mean = math.fsum(self._window) / config.window_steps
        if mean > config.grow_above:
            self._change(self._present * config.grow_factor)
        elif mean < config.shrink_below:
            self._change(self._present * config.shrink_factor)

    def _change(self, share: float) -> None:
        self._present = min(1.0, max(self.config.min_fraction, share))
        self._window = []

    def state_dict(self) -> dict[str, Any]:
        return {"present": self._present, "window": list(self._window)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._present = float(state["present"])
        self._window = [float(share) for share in state["window"]]


SCHEDULES: dict[str, type[LengthSchedule]] = {
    "fixed": FixedSchedule,
    "staged": StagedSchedule,
    "linear": LinearSchedule,
    "adaptive": AdaptiveSchedule,
}


def build_schedule(config: LengthConfig, budget_tokens: int, total_steps: int) -> LengthSchedule:
    """The schedule of a run of `total_steps` steps at a scale with a budget of `budget_tokens` a completion."""
    return SCHEDULES[config.schedule](config, budget_tokens, total_steps)


def _whole_tokens(tokens: float) -> int:
    # Round half up. The inner rounding takes away binary noise: 0.145 * 100 is 14.499999999999998.
    return max(1, math.floor(round(tokens, 6) + 0.5))
