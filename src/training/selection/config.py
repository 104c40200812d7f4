"""The `selection` group: which problems come next, and what becomes of what is sampled for them.

`draw` says which problems come next (src/training/selection/draws.py, where another way is added). What stands beside it is off
at null, and needs the completions before TRL does (src/training/selection/groups.py).
"""

from collections.abc import Collection, Sequence

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
    (arXiv 2503.14476, section 3.2)."""

    max_rounds: int = Field(4, ge=2)  # of sampling; what is still missing then stays without a signal
    planned_share: float = Field(0.3, ge=0, lt=1)  # thrown away of what is sampled: for the plan alone


class ReplayConfig(Config):
    """Groups with a signal are learnt from again, weighed by the importance ratio of the policy to the one that sampled them,
    which the algorithm clips: off-policy by at most `max_age` steps."""

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


def refusal(
    config: SelectionConfig, setup: TrainingSetup, schedule: LengthSchedule, roles: Collection[str], terms: Collection[str]
) -> str | None:
    """Why a selection cannot go with an algorithm, a schedule of the limit, a mix with these roles and these terms of the reward;
    None where it can."""
    draw = config.draw
    for role in sorted(draw.roles - set(roles)):
        return f"selection.draw: it draws from the role {role}, of which the mix has nothing; give it a part in mix.weights or mix.easy_share"
    if isinstance(draw, BySchedule) and draw.easy_share and set(roles) == {EASY}:
        return "selection.draw.easy_share: the mix has easy problems alone; give another role a part in mix.weights or mix.easy_share"
    if isinstance(draw, BySchedule) and "length" in draw.kinds_of_course and not schedule.rises:
        return "selection.draw: course=length goes with a limit that rises; choose length=linear, staged or adaptive"
    if not config.samples_first:
        return None
    method = setup.algorithm
    if method.advantages == "shortest_correct":
        return "selection: supervised training samples from the base for each batch, and learns from one completion of a prompt; set selection=fixed"
    learnt = method.advantages in ("of_trainer", "leave_one_out") and method.trainer == "grpo"
    if config.replay and not learnt:
        return (
            f"selection.replay: trainer={method.trainer} with advantages={method.advantages} is on-policy only here: it has no clipped "
            "ratio of tokens; choose an algorithm of trainer=grpo, or set it to null"
        )
    return _allocate_refusal(config.allocate, setup, learnt, terms) if config.allocate else None


def _allocate_refusal(allocate: AllocateConfig, setup: TrainingSetup, learnt: bool, terms: Collection[str]) -> str | None:
    method, fields = setup.algorithm, setup.fields
    if not allocate.min <= method.completions_per_prompt <= allocate.max:
        return (
            f"selection.allocate: from {allocate.min} to {allocate.max} completions of a prompt cannot be {method.completions_per_prompt} "
            "in the mean; set algorithm.completions_per_prompt between them"
        )
    if not learnt or fields.get("multi_objective_aggregation", "sum_then_normalize") != "sum_then_normalize":
        return f"selection.allocate: advantages={method.advantages} of trainer={method.trainer} want groups of one size; set it to null"
    if method.advantages == "leave_one_out" and (fields.get("beta") or fields.get("scale_rewards") == "batch"):
        return "selection.allocate: leave_one_out wants groups of one size where beta is above 0 or scale_rewards is batch; set it to null"
    if compared := sorted({"efficient", "length_kimi"} & set(terms)):
        return f"selection.allocate: the reward {compared[0]} compares groups of one size; set its weight to 0, or allocate to null"
    return None


def check_enough(config: SelectionConfig, problems: Sequence[Problem], prompts_at_once: int) -> None:
    """Raise UserError where there are too few problems to choose from, or none that will ever be as asked."""
    if config.walks or (isinstance(config.draw, BySchedule) and not config.samples_first):
        return
    if len(problems) < prompts_at_once:
        raise UserError(
            f"selection: a batch is of {prompts_at_once} prompts and the mix has {len(problems)} problems; set a larger mix.size or "
            "fewer algorithm.prompts_per_step"
        )
    rates = PassRates(config.draw.rates, [problem.pass_rate for problem in problems])
    if fault := config.draw.out_of_reach([rates.mean(number, 0) for number in range(len(problems))]):
        raise UserError(f"selection.draw.{fault}; choose a wider one")
