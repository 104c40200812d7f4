"""RLOO (arXiv 2402.14740) and REINFORCE++ (arXiv 2501.03262) with GRPO's losses: the advantages of the one in the other's trainer.

TRL's RLOOTrainer weighs and clips a completion as a whole, by the product of its tokens' ratios, and adds its tokens up:
long completions count more, and at thousands of tokens nearly all of them are clipped. TRL's GRPOTrainer has ratios of
single tokens and all ways to average them, but another baseline and the KL in the loss. Here its advantages are replaced,
and its loss is called without the KL.
"""

from dataclasses import dataclass
from typing import Any

import torch

from src.training.selection.sample import EPSILON
from src.training.trainer import LabTrainerMixin, OwnAdvantages


@dataclass(frozen=True, slots=True)
class Scored:
    """B completions of all processes, `group` of each prompt next to each other."""

    rewards_B: torch.Tensor
    penalties_B: torch.Tensor  # that the KL takes off the reward
    tokens_B: torch.Tensor  # that enter the loss
    group: int


def leave_one_out(scored: Scored, scale: str) -> torch.Tensor:
    """Advantages: the reward less its penalty, over the mean of the same for the prompt's other completions.

    `scale` as in TRL's `scale_rewards`: "none"; "group" divides the rewards' part by the std of the prompt's rewards (the
    penalty's part never, or it would be all there is where rewards are nearly equal); "batch" whitens advantages over
    the batch's tokens, each of which has its completion's: less their mean, divided by their std (arXiv 2502.04463, as
    released, with the normalisation of OpenRLHF).
    """
    rewards_PG, penalties_PG = (values_B.view(-1, scored.group) for values_B in (scored.rewards_B, scored.penalties_B))
    advantages_PG = _over_the_others(rewards_PG)
    if scale == "group":
        advantages_PG = advantages_PG / (rewards_PG.std(dim=1, keepdim=True) + EPSILON)
    advantages_B = (advantages_PG - _over_the_others(penalties_PG)).view(-1)
    return _whitened(advantages_B, scored.tokens_B) if scale == "batch" else advantages_B


def over_the_batch(scored: Scored, scale: str) -> torch.Tensor:
    """REINFORCE++ (arXiv 2501.03262, equations 8 to 10): the reward less its penalty, whitened over the batch's tokens. The prompt's
    other completions are no baseline, and there is no other `scale`."""
    return _whitened(scored.rewards_B - scored.penalties_B, scored.tokens_B)


def _whitened(values_B: torch.Tensor, tokens_B: torch.Tensor) -> torch.Tensor:
    share_B = tokens_B / tokens_B.sum().clamp(min=1)
    rest_B = values_B - (share_B * values_B).sum()
    return rest_B / ((share_B * rest_B**2).sum().sqrt() + EPSILON)


def _over_the_others(values_PG: torch.Tensor) -> torch.Tensor:
    """Each value less the mean of the others in its row."""
    group = values_PG.size(1)
    return (values_PG - values_PG.mean(dim=1, keepdim=True)) * group / (group - 1)


class LeaveOneOutTrainer(OwnAdvantages):
    """TRL's GRPOTrainer with RLOO's advantages, `beta` times the KL to the start inside the reward."""

    over_the_others = True  # the baseline is the mean of a prompt's other completions
    estimate = staticmethod(leave_one_out)

    def advantages(self, rewards_B: torch.Tensor, output: dict[str, Any]) -> torch.Tensor:
        tokens_B = self.accelerator.gather(output["completion_mask"].sum(dim=1))
        penalties_B = self.beta * self._kl(output, tokens_B) if self.beta else torch.zeros_like(rewards_B)
        return self.estimate(Scored(rewards_B, penalties_B, tokens_B, self.num_generations), self.scale_rewards)

    def _kl(self, output: dict[str, Any], tokens_B: torch.Tensor) -> torch.Tensor:
        """Estimate of the KL for each completion of all processes, nats: its log ratio to the start (k1)."""
        log_ratios_BT = (output["old_per_token_logps"] - output["ref_per_token_logps"]) * output["completion_mask"]
        kl_B = self.accelerator.gather(log_ratios_BT.sum(dim=1))
        self._metrics["train"]["kl"].append((kl_B.sum() / tokens_B.sum().clamp(min=1)).item())
        return kl_B

    def _compute_loss(self, model, inputs: dict[str, Any]) -> torch.Tensor:
        beta, self.beta = self.beta, 0.0  # it is in the reward
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self.beta = beta


class LabLeaveOneOutTrainer(LabTrainerMixin, LeaveOneOutTrainer):
    """With what the harness adds."""


class ReinforcePPTrainer(LabLeaveOneOutTrainer):
    """With REINFORCE++'s advantages."""

    over_the_others = False
    estimate = staticmethod(over_the_batch)
