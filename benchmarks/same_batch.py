"""Equal results: the first step of every side of `benchmarks/gpu.py` learns from the same prompts, completions and rewards,
from the same weights, so its gradient must be the same but for rounding.
"""

import random
from collections.abc import Callable
from typing import Any

PROMPT_TOKENS = 48
IDS = (5, 60)  # ordinary tokens in every vocabulary


def learn_from_the_same(group: int, tokens: int, found: Callable[[float], None]) -> None:
    """Hook TRL's trainer so; `found` is told the norm of the first gradient, before clipping."""
    from accelerate import Accelerator
    from trl import GRPOTrainer

    after(GRPOTrainer, "_tokenize_prompts", lambda trainer, real: (_prompts(len(real[0]), group), *real[1:]))
    # vLLM's log-probabilities belong to what it sampled, so nothing is weighed by them in this step.
    after(GRPOTrainer, "_generate_single_turn", lambda trainer, real: (_completions(len(real[0]), tokens), None))
    after(GRPOTrainer, "_calculate_rewards", lambda trainer, real: real * 0 + _rewards(real))
    score = GRPOTrainer._generate_and_score_completions

    def unweighted(trainer, *args: Any) -> Any:
        kept = getattr(trainer, "vllm_importance_sampling_correction", False)
        trainer.vllm_importance_sampling_correction = kept and trainer.state.global_step > 0
        try:
            return score(trainer, *args)
        finally:
            trainer.vllm_importance_sampling_correction = kept

    GRPOTrainer._generate_and_score_completions = unweighted
    clip, norms = Accelerator.clip_grad_norm_, []

    def noted(accelerator, *args: Any, **kwargs: Any) -> Any:
        norm = clip(accelerator, *args, **kwargs)
        if not norms:
            norms.append(float(norm))
            found(norms[0])
        return norm

    Accelerator.clip_grad_norm_ = noted


def cut_later_ones(limit: int, mean: float, lengths: list[int]) -> None:
    """Hook TRL's trainer so that completions after the first step are cut to drawn lengths, exponential with this mean under
    the limit: the same in every run. `lengths` is told them."""
    from trl import GRPOTrainer

    original = GRPOTrainer._generate_single_turn

    def cut(trainer, *args: Any, **kwargs: Any) -> Any:
        completions, logps = original(trainer, *args, **kwargs)
        if trainer.state.global_step == 0:
            return completions, logps
        rng = random.Random(trainer.state.global_step)
        drawn = [min(limit, 1 + int(rng.expovariate(1 / mean))) for _ in completions]
        lengths.extend(drawn)
        return tuple(rows and [row[:n] for row, n in zip(rows, drawn, strict=True)] for rows in (completions, logps))

    GRPOTrainer._generate_single_turn = cut


def after(owner: type, method: str, change: Callable) -> None:
    """Have `change` replace what a method of the trainer returns in its first step; it is called all the same."""
    original = getattr(owner, method)

    def changed(trainer, *args: Any, **kwargs: Any) -> Any:
        real = original(trainer, *args, **kwargs)
        return change(trainer, real) if trainer.state.global_step == 0 else real

    setattr(owner, method, changed)


def _draw(seed: int, count: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(*IDS) for _ in range(count)]


def _prompts(rows: int, group: int) -> list[list[int]]:
    return [_draw(1_000_000 + row // group, PROMPT_TOKENS) for row in range(rows)]


def _completions(rows: int, tokens: int) -> list[list[int]]:
    return [_draw(row, tokens) for row in range(rows)]


def _rewards(real: Any) -> Any:
    """0, 1, 2, 0, ... down the completions; advantages do not see how many terms add up to it."""
    import torch

    return (torch.arange(real.shape[0], device=real.device, dtype=real.dtype) % 3)[:, None]
