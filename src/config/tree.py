"""The whole configuration as one frozen tree, validated once before anything heavy is imported."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import ValidationError, field_validator, model_validator

from src.common.annotations import type_fault
from src.common.base import Config, PathBelow, Seed
from src.common.errors import UserError, nearest
from src.common.secrets import without_secrets
from src.common.types import LEVELS
from src.config.batch import Batch
from src.config.faults import describe
from src.config.limits import LimitsConfig
from src.config.scale import ScaleConfig
from src.data.mix import MixConfig, roles_needed
from src.data.problems import ProblemsConfig
from src.data.prompt import PromptConfig
from src.evaluation.config import EvaluationConfig
from src.evaluation.summary import FIGURES
from src.grading.config import GradingConfig
from src.hardware.config import HardwareConfig
from src.model.config import ModelConfig
from src.record.flops import PASSES
from src.record.ledger import PHASES
from src.record.publish import HubConfig
from src.record.record import RecordConfig
from src.record.tracking import TrackingConfig
from src.rollout.config import RolloutConfig
from src.training.algorithm import (
    OWN_KEYS,
    AlgorithmConfig,
    TrainingSetup,
    bound_to_passes,
    refusal,
    trl_fields,
)
from src.training.length import LengthConfig, LengthSchedule
from src.training.lr import LrConfig, trainer_fields
from src.training.reward import RewardConfig, active
from src.training.selection import config as selection
from src.training.selection.config import SelectionConfig
from src.training.stability import StabilityConfig

OPEN_KEYS = ("trainer.", "reward.weights.", "reward.terms.")  # below them any name may be given, also one that conf/ does not list
MOST_PRESENTATIONS = 100_000_000  # prompts of a run: their list is kept in memory


class LabConfig(Config):
    """One run. Every field is a config group or a top-level key of conf/config.yaml."""

    name: PathBelow
    seed: Seed
    objective: str | list[str]
    output_root: str
    run_dir: str | None
    resume: str | None
    plan: bool = False  # say what the run needs and costs, and do no more
    budget: LimitsConfig = LimitsConfig()
    record: RecordConfig
    hub: HubConfig = HubConfig()
    scale: ScaleConfig
    model: ModelConfig
    problems: ProblemsConfig
    mix: MixConfig
    selection: SelectionConfig = SelectionConfig()
    reward: RewardConfig
    length: LengthConfig
    prompt: PromptConfig
    lr: LrConfig
    algorithm: AlgorithmConfig
    rollout: RolloutConfig
    evaluation: EvaluationConfig
    grading: GradingConfig = GradingConfig()
    stability: StabilityConfig
    hardware: HardwareConfig
    tracking: TrackingConfig
    trainer: dict[str, Any]
    choices: dict[str, str] = {}  # the option chosen in each group, by name

    @field_validator("trainer")
    @classmethod
    def _not_own(cls, trainer: dict[str, Any]) -> dict[str, Any]:
        for key in trainer:
            if key in OWN_KEYS:
                raise ValueError(f"{key} is set through {OWN_KEYS[key]}")
        if "trust_remote_code" in str(trainer):
            raise ValueError("trust_remote_code: code of a model's repository is never run")
        if "num_return_sequences" in (trainer.get("generation_kwargs") or {}):
            raise ValueError("generation_kwargs: num_return_sequences is set through algorithm.completions_per_prompt")
        if not_finite := [key for key, value in trainer.items() if isinstance(value, float) and not math.isfinite(value)]:
            raise ValueError(f"{not_finite[0]} must be finite; a large number will do as well")
        return trainer

    @model_validator(mode="after")
    def _fits_together(self) -> "LabConfig":
        known = trl_fields(self.algorithm.trainer)
        for where, fields in (("trainer", self.trainer), ("algorithm.settings", self.algorithm.settings)):
            for key in fields:
                if key not in known:
                    raise ValueError(f"{where}.{key}: TRL has no such field; {nearest(key, known)}")
                if fault := type_fault(fields[key], known[key]):
                    raise ValueError(f"{where}.{key}: {fault}")
        missing = set() if self.problems.by_level else roles_needed(self.mix) - set(self.problems.pools)
        for role in sorted(missing):
            raise ValueError(
                f"mix: needs problems for the role {role}, but problems={self.problems.name} has only "
                f"{', '.join(sorted(self.problems.pools))}; choose another mix or add problems.pools.{role}"
            )
        if self.stability.on_collapse == "rollback" and self.hardware.sharding != "none":
            raise ValueError(
                f"stability.on_collapse: rollback cannot put back an optimiser that hardware.sharding={self.hardware.sharding} "
                "has split; choose decay or stop"
            )
        if not self.objectives:
            raise ValueError("objective: name at least one key of the summary")
        for key in self.objectives:
            if key not in self.objective_keys():
                raise ValueError(f"objective: the summary has no {key}; {nearest(key, self.objective_keys())}")
        trainer_fields(self.lr, self.scale.steps)  # a warm-up longer than the run is refused here
        if self.batch.presentations > MOST_PRESENTATIONS:  # the batch raises where it does not come out even
            raise ValueError(f"scale.steps: {self.batch.presentations:,} prompts are more than the {MOST_PRESENTATIONS:,} of a run")
        fields = self.algorithm.settings | self.trainer
        setup = TrainingSetup(self.algorithm, self.hardware, fields, self.batch.generation_every_steps, self.model.lora is not None)
        schedule = LengthSchedule(self.length, self.scale.completion_budget, self.scale.steps)
        roles = None if self.problems.by_level or not self.mix.weights else roles_needed(self.mix)
        around = selection.Around(setup, schedule, roles, active(self.reward), self.reward.terms)
        if fault := refusal(setup) or selection.refusal(self.selection, around):
            raise ValueError(fault)
        return self

    def published(self) -> dict[str, Any]:
        """The configuration as it may be written: plain values, and no secrets."""
        return without_secrets(self.model_dump(mode="json"))

    @property
    def objectives(self) -> list[str]:
        return [self.objective] if isinstance(self.objective, str) else self.objective

    def objective_keys(self) -> list[str]:
        """Numbers of summary.json that a sweep can work on."""
        figures = [f"{part}{figure}" for part in ("", *(f"by_level.{level}." for level in LEVELS)) for figure in FIGURES]
        keys = [
            f"evaluation.{suite}.{when}.{figure}"
            for suite in ("validation", *self.evaluation.suites)
            for when in ("before", "after", "best")
            for figure in (*figures, *(("gain.mean", "gain.ci_low", "gain.ci_high") if when != "before" else ()))
        ]
        costs = ["usd", "gpu_hours", "prompt_tokens", "completion_tokens", *(f"seconds.{phase}" for phase in PHASES)]
        costs += ["thrown_away.tokens", "thrown_away.seconds", "thrown_away.share"]
        costs += [f"flops.{kind}" for kind in (*PASSES, "total")]
        return [*keys, *(f"cost.{key}" for key in costs)]

    @cached_property
    def batch(self) -> Batch:
        """How a step's batch is cut up."""
        return Batch(self.algorithm, self.hardware, self.trainer, self.scale.steps)

    @property
    def measured_by_all(self) -> bool:
        """Whether all training processes measure: where samples are drawn by number, as vLLM always does, they share them out. One
        server samples by itself, and under FSDP2 rank 0 alone has the whole weights."""
        by_number = self.evaluation.in_rounds or self.rollout.uses_vllm
        return by_number and not self.rollout.is_server and self.hardware.sharding != "fsdp2"

    @property
    def measured_on_idle_gpus(self) -> bool:
        """Whether the GPUs that train help a server to measure suites, before training and after it, each with a server of weights
        that lie in a folder. Adapters alone are none that such a server loads."""
        return self.rollout.has_helpers and self.hardware.device == "cuda" and self.model.lora is None

    @property
    def padding(self) -> Literal["padded", "trimmed", "sorted"]:
        """What passes are padded to: the longest of all completions that were sampled together, their own longest one, or
        that with an update's completions sorted by length."""
        if not self.algorithm.length_sorted or self.algorithm.trainer == "distillation":  # whose pass is TRL's own
            return "padded"
        bound = bound_to_passes(self.algorithm.settings | self.trainer)
        return "sorted" if self.batch.accumulation_steps > 1 and bound is None else "trimmed"


def parse(content: Mapping[str, Any]) -> LabConfig:
    """Validate a composed configuration. Raises UserError with one line that names every fault."""
    try:
        return LabConfig.model_validate(content)
    except ValidationError as error:
        raise UserError("; ".join(describe(LabConfig, detail) for detail in error.errors(include_url=False))) from error
