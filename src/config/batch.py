"""How one step's batch is cut up: passes, accumulation, and the steps that share one batch of completions."""

import math
from collections.abc import Mapping
from typing import Any

from src.hardware.config import HardwareConfig
from src.training.algorithm import AlgorithmConfig


class Batch:
    """The arithmetic of a run's batches. Raises ValueError, in words for a person, where it does not come out even."""

    def __init__(
        self, algorithm: AlgorithmConfig, hardware: HardwareConfig, trainer: Mapping[str, Any], steps: int
    ) -> None:
        total, group = algorithm.completions_per_step, algorithm.completions_per_prompt
        per_pass = hardware.processes * hardware.device_batch_size
        if total % per_pass:
            raise ValueError(
                f"algorithm: {total} completions a step ({algorithm.prompts_per_step} prompts x {group}) cannot be "
                f"split into passes of {per_pass} (hardware.processes x hardware.device_batch_size); change one of them"
            )
        if total // hardware.processes % group:
            raise ValueError(
                f"algorithm.prompts_per_step: {algorithm.prompts_per_step} prompts cannot be shared out whole among "
                f"{hardware.processes} processes; make it a multiple"
            )
        self.accumulation_steps = total // per_pass
        fields = algorithm.settings | dict(trainer)
        passes = _passes(fields, per_pass, self.accumulation_steps)
        uses = _count(fields, "num_iterations", 1)
        if passes % self.accumulation_steps:
            raise ValueError(
                f"trainer.steps_per_generation: {passes} (or generation_batch_size / {per_pass}) is not a multiple of the "
                f"{self.accumulation_steps} passes that make one step"
            )
        # Optimiser steps that one batch of sampled completions is used for.
        self.generation_every_steps = passes // self.accumulation_steps * uses
        self.prompts_per_generation = algorithm.prompts_per_step * passes // self.accumulation_steps
        self.completions_sampled = self.prompts_per_generation * group  # at once
        self.uses = uses  # updates that each completion takes part in
        self.presentations = self.presented(steps)

    def presented(self, step: int) -> int:
        """Prompts that completions were sampled for up to the end of an optimiser step."""
        return math.ceil(step / self.generation_every_steps) * self.prompts_per_generation

    def ends_at(self, step: int) -> bool:
        """Whether a batch of completions is used up at this step: a run can only be continued from such a step."""
        return step % self.generation_every_steps == 0

    def due(self, step: int, every: int) -> bool:
        """Whether what is to happen every so many steps happens now: at the first end of a batch from then on."""
        return self.ends_at(step) and step // every > (step - self.generation_every_steps) // every


def _passes(fields: Mapping[str, Any], per_pass: int, default: int) -> int:
    """Passes that one batch of sampled completions is cut into, by either of TRL's fields for it."""
    total = fields.get("generation_batch_size")
    if total is None:
        return _count(fields, "steps_per_generation", default)
    if fields.get("steps_per_generation") is not None:
        raise ValueError("trainer: generation_batch_size and steps_per_generation say the same; give one of them")
    if _count(fields, "generation_batch_size", 1) % per_pass:
        raise ValueError(
            f"trainer.generation_batch_size: {total} completions cannot be split into passes of {per_pass} "
            "(hardware.processes x hardware.device_batch_size)"
        )
    return total // per_pass


def _count(fields: Mapping[str, Any], name: str, default: int) -> int:
    value = fields.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"trainer.{name}: must be a whole number of at least 1, not {value!r}")
    return value
