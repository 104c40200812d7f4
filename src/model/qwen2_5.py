"""Shapes of the Qwen2.5 models (arXiv 2412.15115, table 1; their config.json), known where neither hub nor copy is at hand."""

from typing import Any

# Size: layers, hidden size, heads, heads of keys and values, feed-forward size, and positions of the base model.
SIZES = {
    "0.5B": (24, 896, 14, 2, 4864, 32768),
    "1.5B": (28, 1536, 12, 2, 8960, 131072),
    "3B": (36, 2048, 16, 2, 11008, 32768),
    "7B": (28, 3584, 28, 4, 18944, 131072),
    "14B": (48, 5120, 40, 8, 13824, 131072),
    "32B": (64, 5120, 40, 8, 27648, 131072),
    "72B": (80, 8192, 64, 8, 29568, 131072),
}
SMALL = ("0.5B", "1.5B", "3B")  # a smaller vocabulary, and the output layer shares the embedding's weights
INSTRUCT_POSITIONS = 32768


def config_of(path: str) -> dict[str, Any] | None:
    """What config.json says of the shape of a hub model; None if it is no Qwen2.5 of the study."""
    family, _, rest = path.partition("Qwen/Qwen2.5-")
    size = rest.removesuffix("-Instruct")
    if family or size not in SIZES:
        return None
    layers, hidden, heads, kv_heads, mlp, positions = SIZES[size]
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": mlp,
        "vocab_size": 151936 if size in SMALL else 152064,
        "tie_word_embeddings": size in SMALL,
        "max_position_embeddings": INSTRUCT_POSITIONS if rest != size else positions,
        "rms_norm_eps": 1e-06,
        "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
    }
