"""Learning rate: its peak and its course over the run, in the words of transformers' TrainingArguments.

To add a schedule, write its config class, a member of LrConfig, and give it the name of a transformers scheduler in
SCHEDULES.

Steps are optimiser updates. With a warm-up of w updates the rate rises linearly from 0 at step 0 to the peak at
step w, so the very first update changes nothing.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from src.common.base import Config
from src.common.errors import UserError


class _Lr(Config):
    """What every schedule has."""

    peak: float = Field(gt=0, allow_inf_nan=False)


class _WarmedUp(_Lr):
    """A warm-up as a fraction of the run; `warmup_steps`, in updates, replaces the fraction where it is given."""

    warmup_fraction: float = Field(0.0, ge=0, lt=1)
    warmup_steps: int | None = Field(None, ge=0)


class CosineMin(_WarmedUp):
    """Half a cosine wave from the peak down to `min_ratio` of it."""

    schedule: Literal["cosine_min"]
    warmup_fraction: float = Field(0.1, ge=0, lt=1)
    min_ratio: float = Field(0.1, ge=0, lt=1)


class Constant(_Lr):
    """The peak at every step."""

    schedule: Literal["constant"]


class ConstantWarmup(_WarmedUp):
    """The peak at every step after the warm-up."""

    schedule: Literal["constant_warmup"]
    warmup_steps: int | None = Field(6, ge=0)


class Linear(_WarmedUp):
    """A straight line from the peak down to 0 at the end of the run."""

    schedule: Literal["linear"]


class Cosine(_WarmedUp):
    """Half a cosine wave from the peak down to 0 at the end of the run."""

    schedule: Literal["cosine"]


LrConfig = Annotated[CosineMin | Constant | ConstantWarmup | Linear | Cosine, Field(discriminator="schedule")]

SCHEDULES: dict[str, str] = {
    "cosine_min": "cosine_with_min_lr",
    "constant": "constant",
    "constant_warmup": "constant_with_warmup",
    "linear": "linear",
    "cosine": "cosine",
}


def trainer_fields(config: LrConfig, total_steps: int) -> dict[str, Any]:
    """The fields of TrainingArguments (transformers 5.17) that give this learning rate over `total_steps` updates.

    Raises:
        UserError: the warm-up asked for in updates is longer than the run.
    """
    return {
        "learning_rate": config.peak,
        "lr_scheduler_type": SCHEDULES[config.schedule],
        "lr_scheduler_kwargs": {"min_lr_rate": config.min_ratio} if isinstance(config, CosineMin) else None,
        "warmup_steps": _warmup_steps(config, total_steps),
    }


def _warmup_steps(config: LrConfig, total_steps: int) -> int:
    if not isinstance(config, _WarmedUp):
        return 0
    if config.warmup_steps is None:
        # Rounded up, as transformers does, but free of binary noise: 0.07 * 100 is 7.000000000000001.
        return math.ceil(round(config.warmup_fraction * total_steps, 6))
    if config.warmup_steps > total_steps:
        raise UserError(
            f"lr.warmup_steps is {config.warmup_steps} but the run has only {total_steps} updates: "
            f"set lr.warmup_steps to at most {total_steps}"
        )
    return config.warmup_steps
