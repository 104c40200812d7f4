"""The line that a step leaves in metrics.jsonl: names and units of every number in it.

Shares and accuracies run from 0 to 1, lengths are in tokens, times in seconds.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.common.types import Completion, Problem
from src.grading.looks import has_format, script_share

# Our name of a number, and TRL's.
FROM_TRL = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "kl": "kl",
    "entropy": "entropy",
    "clipped_share": "clip_ratio/region_mean",
    # vLLM only, nats a token: what the sampler and the trainer make of the same tokens. Near 0 if weights are in step.
    "sampler_logp_difference": "sampling/sampling_logp_difference/mean",
    # vLLM only, where the algorithm corrects for it: ratios of the trainer's to the sampler's probabilities, as they are used, and
    # the share of samples that as many equal weights would have made (Kish 1965): 1 = all count alike.
    "importance_ratio/min": "sampling/importance_sampling_ratio/min",
    "importance_ratio/mean": "sampling/importance_sampling_ratio/mean",
    "importance_ratio/max": "sampling/importance_sampling_ratio/max",
    "effective_sample_share": "sampling/effective_sample_share",
    "reward/mean": "reward",
    "reward/std": "reward_std",
    "groups_without_signal": "frac_reward_zero_std",
    "completion_tokens/mean": "completions/mean_length",
    "completion_tokens/min": "completions/min_length",
    "completion_tokens/max": "completions/max_length",
    "truncated_share": "completions/clipped_ratio",
}


@dataclass(frozen=True, slots=True)
class Rollout:
    """The completions that a step learns from: B of them, with R reward terms."""

    limit: int  # tokens
    problems: Sequence[Problem]  # B, one for each completion
    completions: Sequence[Completion]
    rewards_BR: Sequence[Sequence[float]]
    advantages_B: Sequence[float]


def step_line(
    step: int, logs: Mapping[str, Any], rollout: Rollout, terms: Sequence[str], script: str
) -> dict[str, Any]:
    """The step's numbers without times. A number that TRL did not log at this step, or that is not finite, is None."""
    line: dict[str, Any] = {"step": step} | {ours: logs.get(theirs) for ours, theirs in FROM_TRL.items()}
    for term in terms:
        for figure in ("mean", "std"):
            line[f"reward/{term}/{figure}"] = logs.get(f"rewards/{term}/{figure}")
    completions = rollout.completions
    line |= {
        "advantage/mean": statistics.fmean(rollout.advantages_B),
        "advantage/std": statistics.pstdev(rollout.advantages_B),
        "advantage/max": max(map(abs, rollout.advantages_B)),
        "accuracy": statistics.fmean(completion.verdict.correct for completion in completions),
        "format_share": statistics.fmean(has_format(completion.text) for completion in completions),
        "language_share": statistics.fmean(script_share(completion.text, script) for completion in completions),
        "length_limit": rollout.limit,
    }
    return {key: _finite(value) for key, value in line.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
