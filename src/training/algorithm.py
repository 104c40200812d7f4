"""The `algorithm` group: the policy-gradient method, all of them TRL's. Add one by adding a file to conf/algorithm.

To add another way from rewards to what is learnt, write its trainer in a module of its own and its entry in ADVANTAGES.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from src.common.annotations import annotations
from src.common.base import Config
from src.common.errors import refuse_unknown
from src.hardware.config import HardwareConfig

CONFIGS = {"grpo": "GRPOConfig", "rloo": "RLOOConfig", "distillation": "DistillationConfig"}  # TRL's, by trainer
ALONE_FROM = 1024  # tokens, prompt included: a pass that long keeps a GPU busy with one completion


class AlgorithmConfig(Config):
    """A TRL trainer, the shape of one batch, and the fields of TRL's config that make the method."""

    trainer: Literal["grpo", "rloo", "distillation"]
    teacher: str | None = None  # of distillation: hub name or folder of the model that is learnt from
    teacher_revision: str | None = None
    advantages: str = "of_trainer"  # how the reward becomes an advantage: one of ADVANTAGES
    completions_per_prompt: int = Field(ge=1)
    prompts_per_step: int = Field(ge=1)
    # Passes as wide as their own longest completion, and sorted by length where the loss does not see it (src/training/passes.py).
    length_sorted: bool = False
    reset_optimizer: bool = False  # whenever settings.sync_ref_model moves the reference
    settings: dict[str, Any]

    @field_validator("advantages")
    @classmethod
    def _known(cls, advantages: str) -> str:
        refuse_unknown([advantages], ADVANTAGES, "way to advantages")
        return advantages

    @model_validator(mode="after")
    def _has_what_it_learns_from(self) -> "AlgorithmConfig":
        if (self.trainer == "distillation") != (self.teacher is not None):
            raise ValueError("teacher: distillation needs one, and no other trainer has one; choose algorithm=distill for it")
        if self.trainer != "distillation" and self.completions_per_prompt < 2:
            raise ValueError("completions_per_prompt: must be at least 2, since the completions of a prompt are compared")
        return self

    @property
    def completions_per_step(self) -> int:
        return self.completions_per_prompt * self.prompts_per_step


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """What an algorithm has to get along with."""

    algorithm: AlgorithmConfig
    hardware: HardwareConfig
    fields: Mapping[str, Any]  # of TRL's config
    updates: int  # optimiser steps that one batch of completions is used for
    adapters: bool = False  # whether adapters are trained, not all weights


def nothing_refused(setup: TrainingSetup) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Advantages:
    """A way from rewards to what is learnt, and what goes with it."""

    trainers: tuple[str, ...]  # values of algorithm.trainer
    trainer: str | None = None  # its class, as "module:class", since it imports torch; None = TRL's own
    refusal: Callable[[TrainingSetup], str | None] = nothing_refused  # why it cannot go with a setup
    one_of_each_prompt: bool = False  # one completion of a prompt goes through training, not all

    def learnt_share(self, completions_per_prompt: int) -> float:
        """Share of completions that goes through training."""
        return 1 / completions_per_prompt if self.one_of_each_prompt else 1.0


def of_trainer_refusal(setup: TrainingSetup) -> str | None:
    if setup.algorithm.trainer == "distillation" and setup.hardware.sharding == "fsdp2":
        return "hardware.sharding: a teacher beside a policy under fsdp2 has not been tried; choose none or zero2"
    return None


def leave_one_out_refusal(setup: TrainingSetup) -> str | None:
    # The KL in the reward is taken from log-probabilities that TRL's trainer computes only in this case.
    if setup.fields.get("beta") and setup.updates == 1:
        return (
            "algorithm.settings.beta: the KL in the reward needs two updates a batch or more; set generation_batch_size to "
            "two updates' completions, num_iterations to 2, or beta to 0"
        )
    return None


def reinforce_pp_refusal(setup: TrainingSetup) -> str | None:
    if (scale := setup.fields.get("scale_rewards")) != "batch":
        return f"algorithm.settings.scale_rewards: advantages of reinforce_pp are whitened over the batch; set batch, not {scale}"
    return leave_one_out_refusal(setup)


def of_prompts_refusal(setup: TrainingSetup) -> str | None:
    if setup.fields.get("loss_type") not in ("cispo", "dapo") or setup.fields.get("beta"):
        return "algorithm.settings.loss_type: that prompts count the same is made of a mean over all tokens; choose cispo or dapo, and beta=0"
    return None


def shortest_correct_refusal(setup: TrainingSetup) -> str | None:
    rows, group = setup.hardware.device_batch_size, setup.algorithm.completions_per_prompt
    if setup.fields.get("beta"):
        return "algorithm.settings.beta: a supervised loss has no KL; set it to 0"
    if rows % group:
        return (
            f"hardware.device_batch_size: {rows} is no multiple of the {group} completions of a prompt, of which one is learnt"
        )
    if setup.hardware.sharding == "fsdp2":
        return "hardware.sharding: under fsdp2 the base's weights cannot be put in to sample; choose none or zero2"
    return None


ADVANTAGES: dict[str, Advantages] = {
    "of_trainer": Advantages(trainers=("grpo", "rloo", "distillation"), refusal=of_trainer_refusal),
    # As RLOO has them, in GRPO's trainer.
    "leave_one_out": Advantages(
        trainers=("grpo",), trainer="src.training.leave_one_out:LabLeaveOneOutTrainer", refusal=leave_one_out_refusal
    ),
    # REINFORCE++: whitened over the batch, without a baseline of the prompt's.
    "reinforce_pp": Advantages(
        trainers=("grpo",), trainer="src.training.leave_one_out:ReinforcePPTrainer", refusal=reinforce_pp_refusal
    ),
    # MaxRL: over the prompt's mean.
    "over_the_mean": Advantages(trainers=("grpo",), trainer="src.training.group_advantages:MaxRLTrainer"),
    # ScaleRL: over the batch's std, prompts counting the same.
    "of_prompts": Advantages(
        trainers=("grpo",), trainer="src.training.group_advantages:ScaleRLTrainer", refusal=of_prompts_refusal
    ),
    # None: supervised training on the shortest correct completions of the base.
    "shortest_correct": Advantages(
        trainers=("grpo",),
        trainer="src.training.shortest_correct:LabShortestCorrectTrainer",
        refusal=shortest_correct_refusal,
        one_of_each_prompt=True,
    ),
}


def refusal(setup: TrainingSetup) -> str | None:
    """Why the advantages asked for cannot go with a setup, in words for a person; None where they can."""
    name, trainer = setup.algorithm.advantages, setup.algorithm.trainer
    entry = ADVANTAGES[name]
    if trainer not in entry.trainers:
        return f"algorithm.advantages: {name} goes with trainer: {' or '.join(entry.trainers)}, not {trainer}"
    return entry.refusal(setup) or reference_refusal(setup)


def reference_refusal(setup: TrainingSetup) -> str | None:
    """Why the reference cannot move."""
    if not setup.fields.get("sync_ref_model"):
        alone = "algorithm.reset_optimizer: it comes with a reference that moves; set algorithm.settings.sync_ref_model to true"
        return alone if setup.algorithm.reset_optimizer else None
    if not setup.fields.get("beta"):
        return "algorithm.settings.sync_ref_model: without a KL there is no reference; set algorithm.settings.beta above 0"
    if setup.adapters:
        return "algorithm.settings.sync_ref_model: the reference of adapters is their base, which stays; set it to false"
    if (sharding := setup.hardware.sharding) != "none":
        return f"algorithm.settings.sync_ref_model: a run does not go on with its reference under {sharding}; set hardware.sharding=none"
    return None


def bound_to_passes(fields: Mapping[str, Any]) -> str | None:
    """The setting of TRL's config by which the loss depends on which completions are in a pass together; None where it does
    not: where it is a sum over all tokens, or a mean over completions, by a divisor that all passes share."""
    if fields.get("loss_type") == "bnpo":
        return "loss_type=bnpo"  # mean over the tokens of a pass
    if (fields.get("top_entropy_quantile") or 1.0) < 1.0:
        return "top_entropy_quantile"  # of the tokens of a pass
    return next((key for key in ("entropy_coef", "use_adaptive_entropy") if fields.get(key)), None)  # the same mean


# Fields of TRL's configs that have a key of their own here, and where that is.
OWN_KEYS = {
    "output_dir": "run_dir",
    "seed": "seed",
    "max_steps": "scale.steps",
    "num_train_epochs": "scale.steps",
    "num_generations": "algorithm.completions_per_prompt",
    "max_completion_length": "length.fraction or scale.completion_budget",
    "reward_weights": "reward.weights",
    "per_device_train_batch_size": "hardware.device_batch_size",
    "gradient_accumulation_steps": "hardware.device_batch_size; accumulation follows from it",
    "generation_batch_size": "algorithm.prompts_per_step or trainer.steps_per_generation",
    "learning_rate": "lr.peak",
    "lr_scheduler_type": "lr",
    "lr_scheduler_kwargs": "lr",
    "warmup_steps": "lr.warmup_steps",
    "warmup_ratio": "lr.warmup_fraction",
    "vllm_tensor_parallel_size": "rollout=vllm_server, whose server takes all GPUs that do not train",
    "temperature": "rollout.temperature",
    "top_p": "rollout.top_p",
    "top_k": "rollout.top_k",
    "min_p": "rollout.min_p",
    "use_vllm": "rollout",
    "vllm_mode": "rollout",
    "bf16": "hardware.bf16",
    "use_cpu": "hardware.device",
    "gradient_checkpointing": "hardware.gradient_checkpointing",
    "save_strategy": "record.checkpoint_every_steps",
    "save_steps": "record.checkpoint_every_steps",
    "save_total_limit": "record.checkpoints_kept",
    "resume_from_checkpoint": "resume",
    "report_to": "tracking",
    "shuffle_dataset": "mix.order",
    "push_to_hub": "hub.push",
    "hub_model_id": "hub.repository",
    "hub_private_repo": "hub.private",
    "hub_strategy": "hub.push",
    "hub_always_push": "hub.push",
    "hub_revision": "hub.repository",
    "log_completions_hub_repo": "hub.push",
    "deepspeed": "hardware.sharding",
    "fsdp": "hardware.sharding",
    "fsdp_config": "hardware.sharding",
    "logging_steps": "nothing: every step is logged",
}


def trl_fields(trainer: str) -> dict[str, str]:
    """Fields of TRL's config for `trainer` with their types as written there."""
    return (
        annotations("transformers", "training_args.py", "TrainingArguments")
        | annotations("trl", "trainer/base_config.py", "_BaseConfig")
        | annotations("trl", f"trainer/{trainer}_config.py", CONFIGS[trainer])
    )
