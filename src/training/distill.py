"""On-policy distillation (arXiv 2306.13649): the policy samples, and learns a teacher's distribution over each next token.

It is TRL's DistillationTrainer with what the harness asks of a trainer besides: several completions of a prompt, and rewards,
which are recorded and move nothing, so that problems, limits, account, checkpoints and measurements are those of other runs.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from trl import DistillationTrainer
from trl.trainer.utils import RepeatSampler

from src.record.flops import size_of
from src.training.trainer import LabTrainerMixin


class GradedDistillationTrainer(DistillationTrainer):
    def __init__(
        self, *args: Any, reward_funcs: list[Callable[..., list[float]]], reward_weights: list[float], completions_per_prompt: int, **kwargs: Any
    ) -> None:
        self.reward_funcs, self.num_generations = reward_funcs, completions_per_prompt
        super().__init__(*args, **kwargs)
        self.reward_weights = torch.tensor(reward_weights, device=self.accelerator.device)

    def _get_train_sampler(self, dataset: Any = None) -> RepeatSampler:
        """As GRPOTrainer's: a prompt stands as often as it has completions, next to each other."""
        args = self.args
        completions = args.per_device_train_batch_size * self.accelerator.num_processes * args.gradient_accumulation_steps
        return RepeatSampler(
            data_source=self.train_dataset if dataset is None else dataset,
            mini_repeat_count=self.num_generations,
            batch_size=completions // self.num_generations,
            repeat_count=args.gradient_accumulation_steps,
            shuffle=self.shuffle_dataset,
            seed=args.seed,
        )

    def _calculate_rewards(self, *_: Any) -> torch.Tensor:
        """Rewards of all processes' B completions by R terms, as GRPOTrainer's."""
        rewards_RB = torch.tensor([term() for term in self.reward_funcs], device=self.accelerator.device)
        return self.accelerator.gather(rewards_RB.T.contiguous())

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        rows = zip(output["completion_ids"], output["completion_mask"].bool(), strict=True)
        self._log_rewards(self._calculate_rewards(inputs, None, None, [ids[mask].tolist() for ids, mask in rows]))
        output["advantages"] = torch.zeros(len(inputs), device=self.accelerator.device)  # of the record: nothing is learnt from rewards
        return output

    def _log_rewards(self, rewards_BR: torch.Tensor) -> None:
        """Under GRPOTrainer's names."""
        logged, rewards_B = self._metrics["train"], (rewards_BR * self.reward_weights).sum(dim=1)
        for term, values_B in zip(self.reward_funcs, rewards_BR.T, strict=True):
            logged[f"rewards/{term.__name__}/mean"].append(values_B.mean().item())
            logged[f"rewards/{term.__name__}/std"].append(values_B.std().item())
        logged["reward"].append(rewards_B.mean().item())
        logged["reward_std"].append(rewards_B.std().item())


class LabDistillationTrainer(LabTrainerMixin, GradedDistillationTrainer):
    """With what the harness adds."""

    @cached_property
    def reference_size(self) -> float:
        """The teacher's."""
        teacher = size_of(self.accelerator.unwrap_model(self.teacher_model)).without_embeddings
        return teacher / self.harness.ledger.size.without_embeddings
