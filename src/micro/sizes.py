"""The embedded models: one for two CPU cores, and a larger one for a GPU on longer chains. Add one to SIZES."""

from dataclasses import dataclass
from pathlib import Path

from src.micro import WEIGHTS
from src.micro.tasks import EASY_LENGTHS, HARD_LENGTHS, LONG_EASY_LENGTHS, LONG_HARD_LENGTHS


@dataclass(frozen=True, slots=True)
class Size:
    """The shape of a model, its pre-training, and the task it is for."""

    layers: int
    width: int
    heads: int  # of size 32, which vLLM on a CPU needs
    mlp: int
    steps: int  # of pre-training
    batch: int  # demonstrations a step
    easy_lengths: tuple[int, ...]  # of chains
    hard_lengths: tuple[int, ...]
    demonstration_tokens: int  # longer demonstrations are cut here, beyond any budget
    reference_tokens: int  # about a demonstration's mean length
    completion_budget: int  # tokens
    roles: tuple[str, str]  # to calibrate on: easy and hard
    output: Path


SIZES = {
    "micro": Size(
        layers=3, width=96, heads=3, mlp=256, steps=1900, batch=32, easy_lengths=EASY_LENGTHS,
        hard_lengths=HARD_LENGTHS, demonstration_tokens=160, reference_tokens=50, completion_budget=128,
        roles=("easy", "broad"), output=WEIGHTS,
    ),
    # 19.8M parameters: scale=micro_large.
    "large": Size(
        layers=8, width=448, heads=14, mlp=1216, steps=5000, batch=128, easy_lengths=LONG_EASY_LENGTHS,
        hard_lengths=LONG_HARD_LENGTHS, demonstration_tokens=400, reference_tokens=100, completion_budget=320,
        roles=("large_easy", "large_broad"), output=WEIGHTS.with_name("weights_large"),
    ),
}
