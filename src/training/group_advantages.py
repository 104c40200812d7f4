"""Advantages that TRL does not have, each a function of the rewards of whole prompts, in TRL's GRPOTrainer."""

from typing import Any

import torch

from src.training.selection.sample import EPSILON
from src.training.trainer import LabTrainerMixin, OwnAdvantages


def over_the_mean(rewards_B: torch.Tensor, group: int) -> torch.Tensor:
    """MaxRL (arXiv 2602.02710): the reward less the prompt's mean, over that mean, so that a prompt solved once in N tries counts
    as its log-likelihood has it. For rewards of at least 0: a prompt with a mean of 0 or below teaches nothing."""
    rewards_PG = rewards_B.view(-1, group)
    mean_P1 = rewards_PG.mean(dim=1, keepdim=True)
    return torch.where(mean_P1 > 0, (rewards_PG - mean_P1) / mean_P1, 0.0).view(-1)


def of_prompts(rewards_B: torch.Tensor, tokens_B: torch.Tensor, group: int) -> torch.Tensor:
    """ScaleRL (arXiv 2510.13786, section 4): the reward less the prompt's mean, over the std of that in the batch; prompts
    whose rewards are all equal do not count, and all others count the same, however long their completions.

    The loss is a mean over all tokens of the batch, in which a prompt has the weight of its tokens; that is taken out here.
    """
    rewards_PG, tokens_P = rewards_B.view(-1, group), tokens_B.view(-1, group).sum(dim=1).clamp(min=1)
    counts_P = rewards_PG.amax(dim=1) > rewards_PG.amin(dim=1)
    if not counts_P.any():
        return torch.zeros_like(rewards_B)
    advantages_PG = rewards_PG - rewards_PG.mean(dim=1, keepdim=True)
    weights_P = counts_P * tokens_P.sum() / (counts_P.sum() * tokens_P)
    return (advantages_PG / (advantages_PG[counts_P].std() + EPSILON) * weights_P[:, None]).view(-1)


class MaxRLTrainer(LabTrainerMixin, OwnAdvantages):
    def advantages(self, rewards_B: torch.Tensor, output: dict[str, Any]) -> torch.Tensor:
        return over_the_mean(rewards_B, self.num_generations)


class ScaleRLTrainer(LabTrainerMixin, OwnAdvantages):
    def advantages(self, rewards_B: torch.Tensor, output: dict[str, Any]) -> torch.Tensor:
        tokens_B = self.accelerator.gather(output["completion_mask"].sum(dim=1))
        return of_prompts(rewards_B, tokens_B, self.num_generations)
