"""The `selection` group: which problems come next, and what becomes of what is sampled for them.

`draw` says which problems come next (src/training/selection/draws.py, where another way is added). What stands beside it is off
at null, and needs the completions before TRL does (src/training/selection/groups.py).
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pydantic import Field, model_validator

from src.common.base import Config
from src.common.errors import UserError
from src.common.types import Problem
from src.training.algorithm import TrainingSetup
from src.training.length import LengthSchedule
from src.training.selection.draws import EASY, BySchedule, Draw, Walk
from src.training.selection.rates import PassRates


class ResampleConfig(Config):
    """Groups without a signal, all of whose rewards are equal, make room for other prompts: the dynamic sampling of DAPO
    (arXiv 2503.14476, section 3.2), where the reward is accuracy; terms for length or form give groups a signal too."""

    max_rounds: int = Field(4, ge=2)  # of sampling; what is still missing then stays without a signal
    planned_share: float = Field(0.45, ge=0, lt=1)  # thrown away of what is sampled: for the plan alone


class ReplayConfig(Config):
    """Groups with a signal are learnt from again, weighed by the importance ratio of the policy to the one that sampled them,
    which the algorithm clips (under vLLM with TRL's correction that one caps it instead): off-policy by at most `max_age` steps."""

    share: float = Field(0.25, gt=0, lt=1)  # of a batch's prompts, at most
    max_age: int = Field(4, ge=1)  # optimiser steps
    times: int = Field(1, ge=1)  # that a group is learnt from again


class AllocateConfig(Config):
    """Completions of a prompt by the estimated variance of its reward, at the same number in a batch."""

    min: int = Field(ge=2)
    max: int = Field(ge=2)


class SelectionConfig(Config):
    draw: Draw = Walk(by="walk")
    resample: ResampleConfig | None = None
    replay: ReplayConfig | None = None
    allocate: AllocateConfig | None = None

    @model_validator(mode="after")
    def _go_together(self) -> "SelectionConfig":
        if self.allocate and (self.resample or self.replay):
            raise ValueError("allocate: groups of other sizes cannot take the place of one; set resample and replay to null")
        return self

    @property
    def walks(self) -> bool:
        """Whether problems come as the mix has them in order, so that all of them are known beforehand."""
        return isinstance(self.draw, Walk) and not self.samples_first

    @property
    def samples_first(self) -> bool:
        """Whether completions are sampled, and looked at, before TRL asks for them."""
        return any((self.resample, self.replay, self.allocate))

    @property
    def thrown_share(self) -> float:
        """Of what is sampled, as planned."""
        return self.resample.planned_share if self.resample else 0.0

    @property
    def sampled_share(self) -> float:
        """Completions sampled for each that is learnt from, as planned."""
        return (1 - (self.replay.share if self.replay else 0.0)) / (1 - self.thrown_share)


@dataclass(frozen=True, slots=True)
class Around:
    """What a selection has to get along with."""

    setup: TrainingSetup
    schedule: LengthSchedule
    roles: Collection[str] | None  # of the mix; None where only its problems will say
    terms: Collection[str]  # of the reward
    own_terms: Collection[str] = ()  # of these

    @property
    def has_ratios(self) -> bool:
        """Whether the loss has clipped ratios of tokens, and advantages that are worked out of the rewards alone."""
        method = self.setup.algorithm
        return method.trainer == "grpo" and method.advantages in ("of_trainer", "leave_one_out")


def refusal(config: SelectionConfig, around: Around) -> str | None:
    """Why a selection cannot go with what is around it, in words for a person; None where it can."""
    method = around.setup.algorithm
    if fault := _draw_refusal(config.draw, around):
        return f"selection.draw{fault}"
    if config.samples_first and method.advantages == "shortest_correct":
        return "selection: supervised training samples from the base, and learns from one completion of a prompt; set selection=fixed"
    if config.samples_first and method.trainer == "distillation":
        return "selection: distillation learns from every completion, whatever its reward; set selection=fixed, pass_rate or schedule"
    if config.resample and method.advantages == "reinforce_pp":
        return "selection.resample: without a baseline of the prompt's, a group of equal rewards has a signal; set it to null"
    if config.replay and config.replay.max_age < (needed := 2 * around.setup.updates - 1):
        return (
            f"selection.replay.max_age: a batch is used for {around.setup.updates} optimiser steps, so the one before is up to {needed} "
            "steps old; set at least that"
        )
    if config.samples_first and around.schedule.state:
        return "selection: an adaptive limit follows all that is sampled, not what is chosen of it; choose another length"
    if config.replay and not around.has_ratios:
        return (
            f"selection.replay: it wants clipped ratios of tokens and advantages=of_trainer or leave_one_out, which "
            f"trainer={method.trainer} with advantages={method.advantages} does not have; choose an algorithm that has, or set it to null"
        )
    fault = config.allocate and _allocate_refusal(config.allocate, around)
    return f"selection.allocate: {fault}" if fault else None


def _draw_refusal(draw: Draw, around: Around) -> str | None:
    if around.roles is not None and (fault := _role_refusal(draw, around.roles)):
        return fault
    if not isinstance(draw, BySchedule):
        return None
    if "length" in draw.kinds_of_course and not around.schedule.rises:
        return ": course=length goes with a limit that rises; choose length=linear, staged or adaptive"
    return None


def _role_refusal(draw: Draw, roles: Collection[str]) -> str | None:
    give = "in mix.weights or mix.easy_share"
    for role in sorted(draw.roles - set(roles)):
        return f": it draws from the role {role}, of which the mix has nothing; give it a part {give}"
    if isinstance(draw, BySchedule) and draw.easy_share and set(roles) == {EASY}:
        return f".easy_share: the mix has easy problems alone; give another role a part {give}"
    return None


def _allocate_refusal(allocate: AllocateConfig, around: Around) -> str | None:
    method, fields = around.setup.algorithm, around.setup.fields
    if not allocate.min <= (mean := method.completions_per_prompt) <= allocate.max:
        return (
            f"from {allocate.min} to {allocate.max} completions of a prompt cannot be {mean} in the mean; set "
            "algorithm.completions_per_prompt between them"
        )
    if not around.has_ratios or fields.get("multi_objective_aggregation", "sum_then_normalize") != "sum_then_normalize":
        return f"advantages={method.advantages} of trainer={method.trainer} want groups of one size; set it to null"
    if method.advantages == "leave_one_out" and (fields.get("beta") or fields.get("scale_rewards") == "batch"):
        return "leave_one_out wants groups of one size where beta is above 0 or scale_rewards is batch; set it to null"
    for term in sorted(({"efficient", "length_kimi"} | set(around.own_terms)) & set(around.terms)):
        return f"the reward {term} {'may compare' if term in around.own_terms else 'compares'} groups of one size; set its weight to 0, or allocate to null"
    return None


def check_enough(
    config: SelectionConfig, problems: Sequence[Problem], roles: Collection[str], prompts_at_once: int, processes: int
) -> None:
    """Raise UserError where there are too few problems to choose from, or none that will ever be as asked."""
    if fault := _role_refusal(config.draw, roles):
        raise UserError(f"selection.draw{fault}")
    if config.replay and config.replay.share * prompts_at_once < processes:
        raise UserError(
            f"selection.replay.share: {config.replay.share:g} of {prompts_at_once} prompts is less than one for each training process "
            f"({processes}); set at least {math.ceil(1000 * processes / prompts_at_once) / 1000:g}"
        )
    if config.walks or (isinstance(config.draw, BySchedule) and not config.samples_first):
        return
    if len(problems) < prompts_at_once:
        raise UserError(
            f"selection: a batch is of {prompts_at_once} prompts and the mix has {len(problems)} problems; set a larger mix.size "
            "or fewer algorithm.prompts_per_step"
        )
    rates = PassRates(config.draw.rates, [problem.pass_rate for problem in problems], [""] * len(problems))  # nothing was seen yet
    if fault := config.draw.out_of_reach([rates.mean(number, 0) for number in range(len(problems))]):
        raise UserError(f"selection.draw.{fault}; choose a wider one")
