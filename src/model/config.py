"""The `model` group: hub name or folder, dtype, attention, LoRA, revision."""

from typing import Any, Literal

from pydantic import Field

from src.common.base import Config

# Times the learning rate for all weights: what adapters do best with, of every rank, supervised and by policy gradients
# (J. Schulman and Thinking Machines Lab, LoRA Without Regret, 2025, https://thinkingmachines.ai/blog/lora).
LORA_LEARNING_RATE = 10.0


class LoraConfig(Config):
    """Train low-rank adapters instead of all weights (arXiv 2106.09685), through PEFT. Unless `lr.peak` is given, it is the scale's
    times LORA_LEARNING_RATE."""

    rank: int = Field(ge=1)
    alpha: float = Field(default=32, gt=0)  # LoRA Without Regret
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"


class ModelConfig(Config):
    path: str
    revision: str | None
    dtype: Literal["float32", "bfloat16", "float16"]
    attention: str
    lora: LoraConfig | None
    size: str | None = None  # of a family of models, such as 7b; the hardware of a scale may depend on it
    variant: Literal["base", "instruct"] | None = None
    init: Literal["weights", "random"] = "weights"  # random: the architecture alone is taken from `path`
    tokenizer: str | None = None  # hub name or folder; null = the model's own
    chat_template_kwargs: dict[str, Any] = {}  # values for names in the chat template, such as enable_thinking: false
