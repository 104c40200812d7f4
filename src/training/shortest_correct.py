"""Supervised training on the shortest correct completions: the control of arXiv 2502.04463 to reinforcement learning.

For each prompt of a batch the base samples; the shortest of its correct completions is the demonstration, and the policy
learns it by next-token prediction. Prompts without a correct one teach nothing. It is TRL's GRPOTrainer with the base's
weights put in while it samples, and another loss, so that prompts, account, checkpoints and measurements are those of the
runs that it is compared with. TRL's SFTTrainer wants its data made beforehand, and would have none of these.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from trl import GRPOTrainer

from src.common.errors import RunFailed
from src.training.reward import RewardBatch
from src.training.trainer import LabTrainerMixin


def shortest_correct(correct_B: Sequence[bool], tokens_B: Sequence[int], group: int) -> list[int | None]:
    """For each prompt the place, among the B completions, of its shortest correct one; None where none is correct."""
    places: list[int | None] = []
    for start in range(0, len(correct_B), group):
        correct = [place for place in range(start, start + group) if correct_B[place]]
        places.append(min(correct, key=lambda place: tokens_B[place], default=None))
    return places


class ShortestCorrectTrainer(GRPOTrainer):
    """TRL's GRPOTrainer made supervised. A class in front sets `batch`, the graded completions, and calls `demonstrations`
    on what it is to learn from."""

    batch: RewardBatch

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Before a checkpoint is loaded: what trains starts as the base. Adapters alone where the base itself is frozen.
        self.base = {name: weight.detach().clone() for name, weight in self._learning()}

    def _learning(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        model = self.accelerator.unwrap_model(self.model)
        return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)

    @contextmanager
    def _as_base(self) -> Iterator[None]:
        policy = {name: weight.detach().clone() for name, weight in self._learning()}
        self._put(self.base)
        try:
            yield
        finally:
            self._put(policy)

    @torch.no_grad()
    def _put(self, weights: dict[str, torch.Tensor]) -> None:
        for name, weight in self._learning():
            weight.copy_(weights[name])

    def _generate(self, prompts: list) -> tuple:
        with self._as_base():
            return super()._generate(prompts)

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict[str, Any]:
        """As TRL's, but that `advantages` are weights: of the demonstrations, with a mean of 1 over all prompts of all
        processes, and 0 of the other completions."""
        output = super()._generate_and_score_completions(inputs)
        answers, group = self.batch.completions, self.num_generations
        correct_B = [answer.verdict.correct and not answer.truncated for answer in answers]
        places = shortest_correct(correct_B, [answer.tokens for answer in answers], group)
        found = [place for place in places if place is not None]
        self.places = [number * group if place is None else place for number, place in enumerate(places)]
        weights_B = torch.zeros_like(output["advantages"])
        weights_B[found] = 1.0
        counts = torch.tensor([len(places), len(found)], device=weights_B.device)
        prompts, with_one = self.accelerator.reduce(counts, reduction="sum")
        if not with_one and self.state.global_step == 0:
            raise RunFailed(
                f"none of the {prompts * group} completions of the first {prompts} prompts is correct, so there is nothing to "
                "learn from; choose easier problems (mix), a longer limit (length), or a stronger model"
            )
        output["advantages"] = weights_B * (prompts / with_one.clamp(min=1))
        return output

    def demonstrations(self, output: dict[str, Any]) -> dict[str, Any]:
        """One completion of each prompt, the demonstration where there is one: the others need not go through the model."""
        rows = len(output["advantages"])
        return {
            key: value[self.places] if isinstance(value, torch.Tensor) and value.dim() and len(value) == rows else value
            for key, value in output.items()
        }

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        """Mean over demonstrations of each one's mean negative log-likelihood, nats a token."""
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        mask_BT = inputs["completion_mask"]
        logps_BT, entropies_BT = self._get_per_token_logps_and_entropies(
            model, ids, attention, mask_BT.size(1), compute_entropy=True
        )[:2]
        losses_B = -(logps_BT * mask_BT).sum(dim=1) / mask_BT.sum(dim=1).clamp(min=1)
        entropy = (entropies_BT * mask_BT).sum() / mask_BT.sum().clamp(min=1)
        self._metrics["train"]["entropy"].append(self.accelerator.gather(entropy).nanmean().item())
        return (losses_B * inputs["advantages"]).mean() / self.current_gradient_accumulation_steps


class LabShortestCorrectTrainer(LabTrainerMixin, ShortestCorrectTrainer):
    """With what the harness adds: the record and the account see all completions, the policy learns the demonstrations."""

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict[str, Any]:
        return self.demonstrations(super()._generate_and_score_completions(inputs))
