"""A completion that was sampled and rewarded, groups of them, and what is worked out of groups of any size."""

import heapq
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from src.common.types import Completion, Verdict

SAME_REWARD = 1e-8  # as TRL counts groups without a signal
EPSILON = 1e-4  # added to every std, as TRL does


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion of a problem. Log-probabilities are of its tokens."""

    problem: int
    completion: Completion
    rewards_R: list[float]
    logps_T: list[float] | None = None  # of the engine that sampled it, where that says
    policy_T: list[float] | None = None  # of the policy that it was sampled from; None while that is the present one

    def by(self, policy_T: list[float]) -> "Sample":
        return replace(self, policy_T=policy_T)

    @classmethod
    def load(cls, state: dict[str, Any]) -> "Sample":
        """From what `asdict` made of it."""
        verdict, ids = Verdict(**state["completion"]["verdict"]), tuple(state["completion"]["token_ids"])
        return cls(**state | {"completion": Completion(**state["completion"] | {"verdict": verdict, "token_ids": ids})})


Group = list[Sample]  # of one prompt


@dataclass(frozen=True, slots=True)
class Kept:
    """A group to be learnt from again."""

    step: int  # at which it was sampled
    left: int  # times
    group: Group

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def load(cls, state: dict[str, Any]) -> "Kept":
        return cls(state["step"], state["left"], [Sample.load(sample) for sample in state["group"]])


def has_signal(group: Group, weights: Sequence[float], by_term: bool) -> bool:
    """Whether not all of its rewards are equal, summed up or in any one term."""
    weighed_GR = [[weight * reward for weight, reward in zip(weights, sample.rewards_R, strict=True)] for sample in group]
    compared = zip(*weighed_GR, strict=True) if by_term else [[sum(weighed_R) for weighed_R in weighed_GR]]
    return any(max(values) - min(values) > SAME_REWARD for values in compared)


def tokens_of(groups: Sequence[Group]) -> int:
    """Completion tokens."""
    return sum(sample.completion.tokens for group in groups for sample in group)


def allocated(variances: Sequence[float], total: int, least: int, most: int) -> list[int]:
    """Completions of each prompt, `total` in all, for the smallest summed variance of the groups' means (Neyman's allocation in
    whole numbers, Wright 2012): one at a time goes where it takes most off."""
    sizes = [least] * len(variances)
    gains = [(-_gain(variance, least), place) for place, variance in enumerate(variances)]
    heapq.heapify(gains)
    for _ in range(total - sum(sizes)):
        _, place = heapq.heappop(gains)
        sizes[place] += 1
        if sizes[place] < most:
            heapq.heappush(gains, (-_gain(variances[place], sizes[place]), place))
    return sizes


def _gain(variance: float, size: int) -> float:
    return variance / (size * (size + 1))


def by_group(rewards_B: torch.Tensor, sizes: Sequence[int], scale: str, leave_one_out: bool) -> torch.Tensor:
    """Advantages of groups of these sizes, that stand next to each other: over the mean of the group, or of its others, divided
    as TRL's `scale_rewards` says."""
    parts = []
    for rewards_G in rewards_B.split(list(sizes)):
        advantages_G = rewards_G - rewards_G.mean()
        if leave_one_out:
            advantages_G = advantages_G * len(rewards_G) / (len(rewards_G) - 1)
        parts.append(advantages_G / (rewards_G.std() + EPSILON) if scale == "group" else advantages_G)
    advantages_B = torch.cat(parts)
    return advantages_B / (rewards_B.std() + EPSILON) if scale == "batch" else advantages_B
