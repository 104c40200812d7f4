"""Sampling with transformers, in this process."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from src.rollout.engine import TokenIds, divergence_in_words, limit_after


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


class TransformersEngine:
    """`model.generate` on padded batches of at most `batch_size` completions."""

    def __init__(self, model, tokenizer, ends: frozenset[int], batch_size: int, device=None, dtype=None) -> None:
        """`device` is where to sample, if that is not where the model waits, and `dtype` in what, if not in its own."""
        self.model, self.tokenizer, self.ends, self.batch_size = model, tokenizer, ends, batch_size
        self.device, self.dtype = device or model.device, dtype

    @property
    def room(self) -> int:
        return self.model.config.max_position_embeddings

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

        # Like lengths together, so that little is padded; the order of the answer stays that of the question.
        rows = sorted(((ids, p) for p, ids in enumerate(prompts_P) for _ in range(samples)), key=lambda row: len(row[0]))
        completions: list[list[TokenIds]] = [[] for _ in prompts_P]
        training, home = self.model.training, self.model.device
        self.model.eval().to(self.device)
        # Measuring must not move the random state of training. Of this GPU alone: asking the others would take memory there.
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.no_grad(), weights_in(self.model, self.dtype), divergence_in_words():
            torch.manual_seed(seed)
            for start in range(0, len(rows), self.batch_size):
                batch = rows[start : start + self.batch_size]
                for (_, p), ids in zip(batch, self._batch(batch, temperature, top_p, limit), strict=True):
                    completions[p].append(ids)
                done(len(batch))
        self.model.train(training).to(home)
        return completions

    def _batch(self, batch: list[tuple[TokenIds, int]], temperature: float, top_p: float, limit: int) -> list[TokenIds]:
        padded = self.tokenizer.pad(
            {"input_ids": [ids for ids, _ in batch]}, padding_side="left", return_tensors="pt"
        ).to(self.model.device)
        limits = [limit_after(ids, limit, self.room) for ids, _ in batch]
        output_BT = self.model.generate(
            **padded,
            do_sample=temperature > 0,
            temperature=temperature or None,
            top_p=top_p,
            top_k=0,
            max_new_tokens=max(limits),
            eos_token_id=sorted(self.ends),
            pad_token_id=self.tokenizer.pad_token_id,
            cache_implementation="static",  # a growing cache is copied at every token: 1.3 times slower at 100 rows
            disable_compile=True,
        )[:, padded["input_ids"].shape[1] :].tolist()
        return [self._up_to_end(ids[:own]) for ids, own in zip(output_BT, limits, strict=True)]

    def _up_to_end(self, ids: TokenIds) -> TokenIds:
        end = next((position for position, token in enumerate(ids) if token in self.ends), len(ids))
        return ids[: end + 1]
