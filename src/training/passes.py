"""Passes without needless padding: as wide as their own longest completion, and sorted by length (algorithm.length_sorted).

TRL 1.16 pads all completions that were sampled together to the longest of them and deals them out to passes at random.
What a pass computes for a completion does not depend on padding, nor, where only log-probabilities are wanted, on the
others in it. In training a completion stays in its optimiser step, and is sorted there only where the loss does not see it
(`bound_to_passes` in src/training/algorithm.py).
"""

from typing import Any

import torch
from torch.nn.functional import pad

from src.training.algorithm import ALONE_FROM

# TRL's metrics that are means over the tokens of a pass; those of RATIOS are not where ratios are of whole completions.
OF_TOKENS = ("kl", "entropy")
RATIOS = ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean", "cispo_clip_ratio")

Pass = dict[str, torch.Tensor | None]  # of completions, each tensor's first dimension, or a number for all of them


class NarrowPasses:
    """Goes in front of a TRL trainer class. `padding` is that of the configuration."""

    padding = "padded"

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep: int, batch_size: int | None = None, **of_model: Any
    ) -> tuple:
        """TRL's, pass by pass; what it returns is as wide as ever, with 0 where a pass was not computed."""
        score = super()._get_per_token_logps_and_entropies
        if self.padding == "padded":
            return score(model, input_ids, attention_mask, logits_to_keep, batch_size, **of_model)
        rows, multiple = len(input_ids), self.pad_to_multiple_of or 1
        size = batch_size or rows
        order_B = torch.arange(rows, device=input_ids.device)
        if not of_model.get("compute_aux_loss") and self._better_alone(attention_mask):
            size = 1
        if size < rows:
            order_B = longest_first(attention_mask[:, -logits_to_keep:])
        found = []
        for chosen in order_B.split(size):
            columns, width = needed(attention_mask[chosen], logits_to_keep, multiple)
            logps, entropies, extra = score(
                model, input_ids[chosen, columns], attention_mask[chosen, columns], width, **of_model
            )
            wide = [None if part is None else pad(part, (0, logits_to_keep - width)) for part in (logps, entropies)]
            found.append((*wide, extra))
        if len(found) == 1:
            return found[0]
        logps, entropies = (
            None if found[0][part] is None else torch.cat([one[part] for one in found])[order_B.argsort()] for part in (0, 1)
        )
        return logps, entropies, None

    def _better_alone(self, mask_BT: torch.Tensor) -> bool:
        """Whether rows are computed one by one: where one is padded, transformers gives sdpa a mask of rows x columns x columns,
        and with a mask sdpa has no flash kernel. FlashAttention and FlexAttention take padded rows as they are."""
        if mask_BT.device.type != "cuda" or mask_BT.shape[1] < ALONE_FROM:
            return False
        return self.model.config._attn_implementation == "sdpa" and not bool(mask_BT.all())

    def _prepare_inputs(self, generation_batch: Any) -> Pass:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self.padding != "sorted" or not self.model.training:
            return inputs
        if self._buffered_inputs is not before:  # sampled anew
            self._buffered_inputs = self._weighted(
                sorted_passes(self._buffered_inputs, self.args.gradient_accumulation_steps)
            )
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _weighted(self, passes: list[Pass]) -> list[Pass]:
        """With each pass's share of its update's tokens, times the passes: 1 where passes have as many tokens."""
        per_update = self.args.gradient_accumulation_steps
        own = torch.stack([one["completion_mask"].sum() for one in passes]).float()
        tokens_UP = self.accelerator.reduce(own, reduction="sum").view(-1, per_update)
        weights_UP = tokens_UP * per_update / tokens_UP.sum(dim=1, keepdim=True).clamp(min=1)
        return [one | {"lab_weight": weight} for one, weight in zip(passes, weights_UP.flatten(), strict=True)]

    def _compute_loss(self, model, inputs: Pass, *others: Any) -> Any:
        """TRL's. It logs means over the tokens of each pass, and then their plain mean: of passes sorted by length, tokens of
        short completions would count more. So each is weighed by its tokens."""
        if "lab_weight" not in inputs:
            return super()._compute_loss(model, inputs, *others)
        metrics, weight = self._metrics["train"], inputs["lab_weight"].item()
        whole = getattr(self, "importance_sampling_level", "sequence") == "sequence"  # TRL's RLOO has no choice
        before = {key: len(metrics.get(key, ())) for key in (*OF_TOKENS, *(() if whole else RATIOS))}
        loss = super()._compute_loss(model, inputs)
        for key, number in before.items():
            if len(metrics.get(key, ())) > number:  # this pass has logged it
                metrics[key][-1] *= weight
        return loss


def longest_first(mask_BC: torch.Tensor) -> torch.Tensor:
    """Rows in the order of their tokens, falling: what does not fit into memory is found out at once."""
    return mask_BC.sum(dim=1).argsort(descending=True, stable=True)


def needed(mask_BT: torch.Tensor, completion: int, multiple: int) -> tuple[slice, int]:
    """The columns that some row has a token in, and how many of them are of the completion.

    Prompts are padded on their left and completions on their right, the last `completion` columns; both stay a multiple of
    `multiple` wide where they were one.
    """
    start = mask_BT.shape[1] - completion
    prompt, width = (
        -(-max(1, int(part.sum(dim=1).max())) // multiple) * multiple for part in (mask_BT[:, :start], mask_BT[:, start:])
    )
    return slice(start - prompt, start + width), width


def sorted_passes(passes: list[Pass], per_update: int) -> list[Pass]:
    """The same completions in the same updates of `per_update` passes, the longest ones in an update's first pass."""
    result = []
    for start in range(0, len(passes), per_update):
        update = passes[start : start + per_update]
        order_B = longest_first(torch.cat([one["completion_mask"] for one in update]))
        size = len(order_B) // per_update
        for chosen in order_B.split(size):
            result.append({key: _rows([one[key] for one in update], chosen) for key in update[0]})
    return result


def _rows(parts: list[torch.Tensor | None], chosen: torch.Tensor) -> torch.Tensor | None:
    """Rows of a tensor that was cut into parts; what is one number or nothing is the same for all."""
    return parts[0] if parts[0] is None or parts[0].ndim == 0 else torch.cat(parts)[chosen]
