"""The shape of a language model, read from its config.json alone, and what follows from it: parameters, FLOPs, cache.

Dense decoders with grouped attention and a gated feed-forward layer: Qwen2, Qwen3, Llama, Mistral. To have a hub model
known where neither hub nor copy is at hand, put its config.json into src/model/architectures and name it in KNOWN.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.common.errors import UserError
from src.micro.ladder import LADDER
from src.model import qwen2_5
from src.model.adapters import base_of
from src.model.config import LoraConfig, ModelConfig
from src.model.places import EMBEDDED, located

FOLDER = Path(__file__).parent / "architectures"
KNOWN = {
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": FOLDER / "deepseek_r1_distill_qwen_1_5b",
    "Qwen/Qwen3-0.6B": FOLDER / "qwen3_0_6b",
    "Qwen/Qwen3-1.7B": FOLDER / "qwen3_1_7b",
    "HuggingFaceTB/SmolLM2-135M-Instruct": FOLDER / "smollm2_135m",
    "HuggingFaceTB/SmolLM2-360M-Instruct": FOLDER / "smollm2_360m",
}
FAMILIES = ("qwen2", "qwen3", "llama", "mistral")
BIASED, NORMED = ("qwen2",), ("qwen3",)  # with biases at queries, keys and values; with norms over queries and keys


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a decoder, in elements."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    mlp: int
    vocabulary: int
    positions: int
    tied: bool  # the output layer shares the embedding's weights
    biased: bool
    normed: bool

    @property
    def queries(self) -> int:
        """Width of all query heads."""
        return self.heads * self.head_size

    @property
    def keys(self) -> int:
        """Width of all key heads, and of all value heads."""
        return self.kv_heads * self.head_size

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of a layer's weight matrices, by the name that transformers gives them."""
        return {
            "q_proj": (self.hidden, self.queries),
            "k_proj": (self.hidden, self.keys),
            "v_proj": (self.hidden, self.keys),
            "o_proj": (self.queries, self.hidden),
            "gate_proj": (self.hidden, self.mlp),
            "up_proj": (self.hidden, self.mlp),
            "down_proj": (self.mlp, self.hidden),
        }

    @property
    def block_weights(self) -> int:
        """Elements of all layers' weight matrices: what every token is multiplied with."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linears.values())

    @property
    def head_weights(self) -> int:
        """Elements of the output layer."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters; tied ones once."""
        biases = self.queries + 2 * self.keys if self.biased else 0
        norms = 2 * self.hidden + (2 * self.head_size if self.normed else 0)
        embeddings = self.head_weights * (1 if self.tied else 2)
        return self.block_weights + self.layers * (biases + norms) + self.hidden + embeddings

    def lora_parameters(self, lora: LoraConfig) -> int:
        """Parameters of adapters of rank r: r x (inputs + outputs) for each adapted matrix (arXiv 2106.09685)."""
        wanted = self.linears if lora.target_modules == "all-linear" else lora.target_modules
        shapes = [shape for name, shape in self.linears.items() if name in wanted]
        return self.layers * lora.rank * sum(map(sum, shapes))

    def forward_flops(self, tokens: float, context: float) -> float:
        """FLOPs of the layers for `tokens` tokens that look back at `context` others on average.

        2 for each weight and token (arXiv 2001.08361, section 2.1), and for attention 4 x layers x width x context.
        """
        return tokens * (2 * self.block_weights + 4 * self.layers * self.queries * context)

    def head_flops(self, tokens: float) -> float:
        """FLOPs of the output layer for `tokens` tokens."""
        return tokens * 2 * self.head_weights

    def cache_bytes_per_token(self, element_bytes: int) -> int:
        """Keys and values of one token in all layers (arXiv 2309.06180, section 3)."""
        return 2 * self.layers * self.keys * element_bytes


def architecture(model: ModelConfig) -> Architecture:
    """The model's shape, without loading weights. Raises UserError where it cannot be had or is of another kind."""
    try:
        return _architecture(config_json(model))
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise UserError(f"model.path: the config.json of {model.path} is damaged or of another kind ({error!r})") from error


def _architecture(content: Mapping[str, Any]) -> Architecture:
    family = content.get("model_type")
    if family not in FAMILIES:
        raise UserError(f"model.path: no plan for models of type {family}, only {', '.join(FAMILIES)}")
    heads = content["num_attention_heads"]
    if content["vocab_size"] < 1:
        raise ValueError(f"vocab_size {content['vocab_size']}")
    return Architecture(
        layers=content["num_hidden_layers"],
        hidden=content["hidden_size"],
        heads=heads,
        kv_heads=content.get("num_key_value_heads") or heads,
        head_size=content.get("head_dim") or content["hidden_size"] // heads,
        mlp=content["intermediate_size"],
        vocabulary=content["vocab_size"],
        positions=content["max_position_embeddings"],
        tied=content.get("tie_word_embeddings", False),
        biased=family in BIASED,
        normed=family in NORMED,
    )


def config_json(model: ModelConfig) -> Mapping[str, Any]:
    """The model's config.json: of its folder, of this project, or of the hub or its cache."""
    if base := base_of(model.path):
        return config_json(model.model_copy(update={"path": base[0], "revision": base[1]}))
    if known := qwen2_5.config_of(model.path):
        return known
    source = Path(KNOWN.get(model.path) or located(model.path))
    if model.path in LADDER and not (source / "config.json").is_file():
        return LADDER[model.path].config(json.loads((EMBEDDED["embedded/micro"] / "config.json").read_text(encoding="utf-8")))
    if not source.is_dir():
        from huggingface_hub import hf_hub_download

        from src.model.places import prefer_cache, unreachable

        prefer_cache(model)
        try:
            source = Path(hf_hub_download(model.path, "config.json", revision=model.revision)).parent
        except (OSError, ValueError) as error:
            raise unreachable(model.path, error) from error
    if not (source / "config.json").is_file():
        raise UserError(f"model.path: {source} holds no config.json; give a hub name or a model's folder")
    return json.loads((source / "config.json").read_text(encoding="utf-8"))
