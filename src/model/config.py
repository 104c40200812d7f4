"""The `model` group: hub name or folder, dtype, attention, LoRA, revision."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from src.common.annotations import annotations, type_fault
from src.common.base import Config
from src.common.errors import nearest

# Times the learning rate for all weights: what adapters do best with, of every rank, supervised and by policy gradients
# (J. Schulman and Thinking Machines Lab, LoRA Without Regret, 2025, https://thinkingmachines.ai/blog/lora).
LORA_LEARNING_RATE = 10.0


# Fields of PEFT's LoraConfig that have a name of their own here.
OWN_NAMES = {"r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout"}
# Those that train or change more than adapters beside linear layers: the reference, which is the base without them, or the sum that
# vLLM is sent would not be what they should be.
NOT_CARRIED = (
    "bias", "modules_to_save", "trainable_token_indices", "target_parameters", "lora_bias", "layer_replication", "megatron_config",
    "megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "velora_config", "alora_invocation_tokens",
    "use_qalora", "qalora_group_size", "monteclora_config", "use_bdlora", "arrow_config", "kasa_config", "ensure_weight_tying",
)  # fmt: skip
STARTS = (True, "gaussian", "orthogonal")  # of init_lora_weights: after them the base is as it was loaded


class LoraConfig(Config):
    """Train low-rank adapters instead of all weights (arXiv 2106.09685), through PEFT. Unless `lr.peak` is given, it is the scale's
    times LORA_LEARNING_RATE. Beside these keys stands any field of PEFT's LoraConfig by its own name: `use_dora` (DoRA, arXiv
    2402.09353), `use_rslora` (alpha over the root of the rank, arXiv 2312.03732), `rank_pattern`, `layers_to_transform`, ..."""

    model_config = ConfigDict(extra="allow")
    rank: int = Field(ge=1)
    alpha: float = Field(default=32, gt=0)  # LoRA Without Regret
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"

    @model_validator(mode="after")
    def _pefts(self) -> "LoraConfig":
        known = annotations("peft", "tuners/lora/config.py", "LoraConfig")
        for key, value in self.peft_fields().items():
            if key in OWN_NAMES:
                raise ValueError(f"{key} is set through {OWN_NAMES[key]}")
            if key not in known:
                raise ValueError(f"no field {key} in PEFT's LoraConfig; {nearest(key, [*type(self).model_fields, *known], n=1)}")
            if key in NOT_CARRIED or (key == "init_lora_weights" and value not in STARTS):
                raise ValueError(f"{key}: it changes more than adapters beside linear layers, which cannot be carried here; leave it out")
            if fault := type_fault(value, known[key]):
                raise ValueError(f"{key}: {fault}")
        return self

    def peft_fields(self) -> dict[str, Any]:
        """Other fields of PEFT's LoraConfig, as they were given."""
        return dict(self.model_extra or {})


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
