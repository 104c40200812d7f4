"""The `evaluation` group: how validation and suites are measured."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from src.common.base import Config, FileName, Seed
from src.data.loaders import PoolConfig
from src.data.prompt import NO_PROMPT, PromptConfig, named
from src.data.rows import READERS


class SamplingConfig(Config):
    temperature: float = Field(ge=0)  # 0 = greedy
    top_p: float = Field(gt=0, le=1)
    max_completion_tokens: int = Field(ge=1)
    batch_size: int = Field(ge=1)  # completions generated at once by transformers


class ValidationConfig(Config):
    problems_per_level: int = Field(ge=1)
    most_of_level: float | None = Field(default=None, gt=0, lt=1)  # and no more than this share of a level's problems
    samples: int = Field(ge=1)
    every_steps: int = Field(ge=1)


class SuiteConfig(Config):
    """A suite; `evaluation.suites.mine=test.jsonl`, or a hub name, is one of one's own problems."""

    samples: int = Field(default=4, ge=1)
    pool: PoolConfig
    grading: Literal["math", "code"] = "math"  # code: run each answer with the gold answer as its tests

    @model_validator(mode="before")
    @classmethod
    def _own(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"path" if Path(data).suffix.lower() in READERS else "dataset": data}
        if isinstance(data, dict) and "pool" not in data and {"path", "dataset"} & set(data):
            rest = {key: data[key] for key in cls.model_fields if key in data}
            return {**rest, "pool": {"loader": "own", **{key: value for key, value in data.items() if key not in rest}}}
        return data


class UntilConfig(Config):
    """When a suite's evaluation ends, and how much of it a kill can lose. Validation, which has to be the same at every step,
    is always drawn whole."""

    half_width: float | None = Field(default=None, gt=0, lt=1)  # of the interval: 0.02 = 2 points; null = all samples
    samples_per_round: int | None = Field(default=None, ge=2)  # of a problem; null = all at once, or 2 where half_width is set


class EvaluationConfig(Config):
    validation: ValidationConfig
    suites: dict[FileName, SuiteConfig]
    sampling: SamplingConfig
    prompt: str  # training = that of the training, none = the problem alone as the user message, or an option of conf/prompt
    reader: Literal["boxed", "last_expression"] = "boxed"  # where an answer may stand: in a box, or else at the end
    until: UntilConfig = UntilConfig()
    seed: Seed

    @field_validator("suites")
    @classmethod
    def _names_are_free(cls, suites: dict[str, SuiteConfig]) -> dict[str, SuiteConfig]:
        if "validation" in suites:
            raise ValueError("validation is the name of the held-out problems; call the suite something else")
        return suites

    @field_validator("prompt")
    @classmethod
    def _is_a_prompt(cls, prompt: str) -> str:
        if prompt not in ("training", "none"):
            named(prompt)
        return prompt

    @property
    def in_rounds(self) -> bool:
        return self.until != UntilConfig()

    def asked_with(self, training: PromptConfig) -> PromptConfig:
        if self.prompt == "training":
            return training
        return NO_PROMPT if self.prompt == "none" else named(self.prompt)
