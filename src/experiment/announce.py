"""What a run says before its first step."""

from collections import Counter
from typing import TYPE_CHECKING

from src.common.own_code import OwnCode
from src.config.tree import LabConfig
from src.data.loaders import CodePool
from src.model.adapters import base_of
from src.model.load import resolve
from src.plan.plan import Plan, estimate, facts_of_config, refusal

if TYPE_CHECKING:
    from src.experiment.data import Data


def facts(config: LabConfig, data: "Data", plan: Plan | None) -> dict[str, str]:
    """Groups, problems by level, what was dropped, steps, and an estimate of time and cost."""
    by_level = ", ".join(f"{number} {level}" for level, number in data.mix.by_level.items())
    result = facts_of_config(config) | {
        "problems": f"{len(data.mix.problems)} ({by_level}), {len(data.presentations)} presentations; "
        f"{len(data.validation.problems)} held out for validation",
        "dropped": ", ".join(f"{number} {reason}" for reason, number in dropped(data).items()) or "none",
        "memory": f"about {max(plan.peak_gb.values()):.1f} GB of {plan.available_gb:.1f} GB" if plan else "unknown",
        "estimate": estimate(config, plan) if plan else "time unknown until the first steps have run",
    }
    if base := base_of(config.model.path):
        result["adapter"] = f"{config.model.path} is merged into its base {base[0]}, in {resolve(config.model)}"
    if teacher := config.algorithm.teacher:
        result["teacher"] = f"{teacher}; rewards are recorded and move nothing"
    if code := own_code(config):
        result["your code"] = "; ".join(f"{key} {named}" for key, named in code.items()) + ", run as you trust it"
    return result | {f"note {number}": note for number, note in enumerate(data.notes, 1)}


def own_code(config: LabConfig) -> dict[str, OwnCode]:
    """What runs of code from outside the project, by its key."""
    pools = {f"problems.pools.{role}": pool for role, pool in config.problems.pools.items()}
    pools |= {f"evaluation.suites.{name}": suite.pool for name, suite in config.evaluation.suites.items()}
    found = {f"reward.terms.{name}": code for name, code in config.reward.terms.items()}
    return found | {key: pool.code for key, pool in pools.items() if isinstance(pool, CodePool)}


def warnings(config: LabConfig, plan: Plan | None) -> list[str]:
    """What a person should know before the run begins: it may not fit, or cost more than its budget."""
    found = []
    if plan and plan.faults:
        found.append(f"the plan does not fit: {refusal(plan).removeprefix('plan: ')}")
    if plan and (limit := config.budget.reached(plan.hours, plan.usd)):
        found.append(f"{limit} will probably end the run before its last step: the plan is {estimate(config, plan)}")
    # bfloat16 has 8 significant bits: a step below 0.2 % of a weight is rounded away. Sharded weights are kept in float32.
    if config.model.dtype != "float32" and config.model.lora is None and config.hardware.sharding == "none":
        found.append(
            f"weights in {config.model.dtype} round away the small steps of fine-tuning; set model.dtype=float32 "
            "(hardware.bf16 computes in bfloat16 all the same)"
        )
    if config.model.dtype != "float32" and config.model.lora and config.rollout.uses_vllm:
        found.append(
            f"vLLM samples from the adapter and its base summed up in {config.model.dtype}, which rounds small adapters away, while "
            "the adapter that is trained stays exact; set model.dtype=float32 hardware.bf16=false, or rollout=transformers"
        )
    if config.trainer.get("use_transformers_continuous_batching") and config.hardware.bf16 and config.model.dtype == "float32":
        found.append(
            "TRL's continuous batching turns float32 weights into bfloat16 ones before it samples, for good; set "
            "rollout=vllm_colocate, or hardware.bf16=false"
        )
    return found


def dropped(data: "Data") -> Counter[str]:
    """Problems left out, by reason."""
    reasons = Counter(drop.reason for drop in data.pools.drops)
    reasons["prompt too long"] += sum(data.too_long.values())
    return +reasons  # without zeros
