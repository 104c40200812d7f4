"""The `scale` group: composes model, problems, rollout, evaluation and hardware, and holds the numbers that go with
a size of model; experiments refer to them."""

from pydantic import Field

from src.common.base import Config


class ScaleConfig(Config):
    name: str
    completion_budget: int = Field(ge=1)  # tokens
    prompt_budget: int = Field(ge=1)  # tokens
    mix_size: int = Field(ge=1)  # problem presentations
    peak_learning_rate: float = Field(gt=0)
    steps: int = Field(ge=1, le=1_000_000)  # optimiser steps; a hundred times the longest runs that were published
    # For the plan: prompts as a share of prompt_budget, and completions' mean tokens if nothing cut them off.
    mean_prompt_share: float = Field(default=0.5, gt=0, le=1)
    natural_completion_tokens: float = Field(default=6000.0, gt=0)
    reference_seconds_per_step: float | None = Field(gt=0)  # measured or published; null = not known
