"""The `evaluation` group: how validation and suites are measured."""

from typing import Literal

from pydantic import Field, field_validator

from src.common.base import Config, FileName, Seed
from src.data.loaders import PoolConfig
from src.data.prompt import NO_PROMPT, PromptConfig


class SamplingConfig(Config):
    temperature: float = Field(ge=0)  # 0 = greedy
    top_p: float = Field(gt=0, le=1)
    max_completion_tokens: int = Field(ge=1)
    batch_size: int = Field(ge=1)  # completions generated at once by transformers


class ValidationConfig(Config):
    problems_per_level: int = Field(ge=1)
    samples: int = Field(ge=1)
    every_steps: int = Field(ge=1)


class SuiteConfig(Config):
    samples: int = Field(ge=1)
    pool: PoolConfig
    grading: Literal["math", "code"] = "math"  # code: run each answer with the gold answer as its tests


class EvaluationConfig(Config):
    validation: ValidationConfig
    suites: dict[FileName, SuiteConfig]
    sampling: SamplingConfig
    prompt: Literal["training", "none"]  # none = the problem alone as the user message
    seed: Seed

    @field_validator("suites")
    @classmethod
    def _names_are_free(cls, suites: dict[str, SuiteConfig]) -> dict[str, SuiteConfig]:
        if "validation" in suites:
            raise ValueError("validation is the name of the held-out problems; call the suite something else")
        return suites

    def asked_with(self, training: PromptConfig) -> PromptConfig:
        return training if self.prompt == "training" else NO_PROMPT
