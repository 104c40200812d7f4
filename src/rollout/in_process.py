"""Sampling with transformers, in this process."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from src.rollout.engine import TokenIds, divergence_in_words


@contextmanager
def weights_in(model: Any, dtype: Any) -> Iterator[None]:
    """A model's weights in another dtype, for as long as it samples; None leaves them as they are.

    Under autocast float32 weights would be cast anew at every token, and keys and values would come in different dtypes,
    which no static cache takes (transformers 5.17).
    """
    kept = {weight: weight.data for weight in model.parameters() if dtype and weight.dtype != dtype}
    for weight, data in kept.items():
        weight.data = data.to(dtype)
    try:
        yield
    finally:
        for weight, data in kept.items():
            weight.data = data


@dataclass(frozen=True, slots=True)
class Row:
    """A completion to be sampled."""

    prompt: TokenIds
    place: int  # of the prompt among those asked for
    seed: int
    limit: int  # tokens


class TransformersEngine:
    """`model.generate` on padded batches of at most `batch_size` completions.

    The seed of a call decides all of its samples together; `by_number` each has its own, whatever else is asked for with it:
    sample number i of a prompt has the seed of the call plus i, as in vLLM.
    """

    def __init__(
        self, model, tokenizer, ends: frozenset[int], batch_size: int, device=None, dtype=None, by_number: bool = False
    ) -> None:
        """`device` is where to sample, if that is not where the model waits, and `dtype` in what, if not in its own."""
        self.model, self.tokenizer, self.ends, self.batch_size = model, tokenizer, ends, batch_size
        self.device, self.dtype, self.by_number = device or model.device, dtype, by_number

    @property
    def identity(self) -> str:
        import torch
        import transformers

        kind = torch.cuda.get_device_name(self.device) if torch.device(self.device).type == "cuda" else str(self.device)
        attention = self.model.config._attn_implementation
        return f"transformers {transformers.__version__}, {self.dtype or self.model.dtype}, {attention}, {kind}"

    def generate(
        self, prompts_P: Sequence[TokenIds], samples: int, *, temperature: float, top_p: float, limit: int, seed: int,
        done: Callable[[int], None] = lambda number: None,
    ) -> list[list[TokenIds]]:
        import torch

        positions = self.model.config.max_position_embeddings
        rows = [
            Row(ids, place, seed + number, min(limit, positions - len(ids)))
            for place, ids in enumerate(prompts_P)
            for number in range(samples)
        ]
        rows.sort(key=lambda row: len(row.prompt))  # so that little is padded; the order of the answer stays that of the question
        completions: list[list[TokenIds]] = [[] for _ in prompts_P]
        training, home = self.model.training, self.model.device
        self.model.eval().to(self.device)
        # Measuring must not move the random state of training. Of this GPU alone: asking the others would take memory there.
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.no_grad(), weights_in(self.model, self.dtype), divergence_in_words():
            torch.manual_seed(seed)
            for start in range(0, len(rows), self.batch_size):
                batch = rows[start : start + self.batch_size]
                for row, ids in zip(batch, self._batch(batch, temperature, top_p), strict=True):
                    completions[row.place].append(ids)
                done(len(batch))
        self.model.train(training).to(home)
        return completions

    def _batch(self, batch: list[Row], temperature: float, top_p: float) -> list[TokenIds]:
        padded = self.tokenizer.pad(
            {"input_ids": [row.prompt for row in batch]}, padding_side="left", return_tensors="pt"
        ).to(self.model.device)
        width = padded["input_ids"].shape[1]
        drawn = self.by_number and temperature > 0
        sampling: dict[str, Any] = (
            {"do_sample": False, "logits_processor": by_own_seeds(batch, width, temperature, top_p)} if drawn
            else {"do_sample": temperature > 0, "temperature": temperature or None, "top_p": top_p, "top_k": 0}
        )  # fmt: skip
        output_BT = self.model.generate(
            **padded,
            **sampling,
            max_new_tokens=max(row.limit for row in batch),
            eos_token_id=sorted(self.ends),
            pad_token_id=self.tokenizer.pad_token_id,
            cache_implementation="static",  # a growing cache is copied at every token: 1.3 times slower at 100 rows
            disable_compile=True,
        )[:, width:].tolist()
        return [self._up_to_end(ids[: row.limit]) for row, ids in zip(batch, output_BT, strict=True)]

    def _up_to_end(self, ids: TokenIds) -> TokenIds:
        end = next((position for position, token in enumerate(ids) if token in self.ends), len(ids))
        return ids[: end + 1]


def by_own_seeds(batch: list[Row], width: int, temperature: float, top_p: float):
    """Logits processors that leave of each row's tokens the one that its own stream of numbers draws, by the inverse of the
    cumulative distribution (Devroye 1986, section III.2). `width`: tokens of the padded prompts."""
    import torch
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

    uniforms_BT = torch.stack([stream(row, max(each.limit for each in batch)) for row in batch])

    def draw(token_ids_BT, scores_BV):
        cumulative_BV = scores_BV.double().softmax(-1).cumsum(-1)
        total_B = cumulative_BV[:, -1:]
        if not torch.isfinite(total_B).all():
            raise RuntimeError("probability tensor contains what is not finite")  # as torch says it
        level_B = uniforms_BT[:, token_ids_BT.shape[1] - width, None].to(total_B.device) * total_B
        chosen_B = (cumulative_BV <= level_B).sum(-1, keepdim=True)
        return torch.full_like(scores_BV, -torch.inf).scatter_(1, chosen_B, 0.0)

    return LogitsProcessorList([TemperatureLogitsWarper(temperature), TopPLogitsWarper(top_p), draw])


def stream(row: Row, length: int):
    """Numbers from 0 to 1, float64, by a row's seed and prompt: equal seeds of other prompts give others."""
    import torch

    digest = hashlib.sha256(f"{row.seed} {row.prompt}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
    return torch.rand(length, dtype=torch.float64, generator=generator)
