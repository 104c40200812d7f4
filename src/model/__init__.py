"""The `model` group: a hub name, a local folder, or the embedded model; its tokenizer, weights and fingerprint."""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import Field

from src.base import Config
from src.errors import UserError, nearest
from src.hub import hub_reachable, mirrored
from src.micro.ladder import LADDER, place, provide

EMBEDDED = {
    "embedded/micro": Path(__file__).parents[1] / "micro" / "weights",
    "embedded/micro_large": Path(__file__).parents[1] / "micro" / "weights_large",
}
MADE_BY = {
    "embedded/micro": "python -m src.micro.pretrain makes it",
    "embedded/micro_large": "python -m src.micro.pretrain --size large makes it, on a GPU in minutes",
}


class LoraConfig(Config):
    """Train low-rank adapters instead of all weights (arXiv 2106.09685), through PEFT."""

    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)
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


def resolve(model: ModelConfig) -> str:
    """Folder or hub name to load from; of a model of the ladder or with random weights, the folder where it is or will
    be. Raises UserError for a folder that holds no model.
    """
    if model.init == "random":
        from src.model.random_init import random_folder

        return str(random_folder(model))
    return located(model.path)


def located(path: str) -> str:
    """The folder or hub name that a path means. Raises UserError for a folder that holds no model."""
    if path in LADDER:
        return str(place(path))
    if path.startswith("embedded/"):
        if path not in EMBEDDED:
            raise UserError(f"model.path: no embedded model {path}; {nearest(path, [*EMBEDDED, *LADDER])}")
        if not (EMBEDDED[path] / "config.json").is_file():
            raise UserError(f"model.path: {path} is not made yet; {MADE_BY[path]}")
        return str(EMBEDDED[path])
    folder = Path(path).expanduser()
    # A hub name has one slash at most and no leading dot or slash; everything else means a folder.
    is_hub_name = not folder.exists() and path.count("/") <= 1 and path[0] not in "./~"
    if is_hub_name:
        return str(mirrored(path) or path)
    if not (folder / "config.json").is_file():
        raise UserError(f"model.path: {path} holds no model (no config.json); give a hub name or a model's folder")
    return str(folder)


def prefer_cache(model: ModelConfig) -> None:
    """Where the model comes from the hub and that is out of reach, have its cached copy used at once; pre-train a model
    of the ladder that is not there yet."""
    from huggingface_hub import constants

    # The tokenizer is a source of its own, and a random model has no other.
    sources = {model.tokenizer or model.path} | (set() if model.init == "random" else {model.path})
    for source in sources & set(LADDER):
        provide(source)
    if not all(Path(located(source)).is_dir() for source in sources) and not hub_reachable(constants.ENDPOINT):
        constants.HF_HUB_OFFLINE = True  # for the rest of the process: TRL loads the reference model by itself


def unreachable(model: ModelConfig, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(
        f"model.path: cannot load {model.path} ({reason}); give a downloaded copy as model.path=<folder>"
    )


def load_tokenizer(model: ModelConfig):
    """The model's tokenizer, with its own chat template. Raises UserError if it cannot be had."""
    from transformers import AutoTokenizer

    prefer_cache(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(located(model.tokenizer or model.path), revision=model.revision)
    except (OSError, ValueError) as error:
        if model.init == "random" and model.tokenizer is None:
            raise UserError(
                f"model.tokenizer: that of {model.path} cannot be had; with random weights any will do: "
                "model.tokenizer=embedded/micro"
            ) from error
        raise unreachable(model, error) from error
    if tokenizer.chat_template is None:
        raise UserError(f"model.path: {model.path} has no chat template; choose an instruct or reasoning model")
    return tokenizer


def load_model(model: ModelConfig):
    """The causal language model in its dtype. Raises UserError if it cannot be had."""
    import torch
    from transformers import AutoModelForCausalLM

    prefer_cache(model)
    if model.init == "random":
        from src.model.random_init import make_random

        make_random(model, load_tokenizer(model))
    try:
        return AutoModelForCausalLM.from_pretrained(
            resolve(model),
            revision=model.revision,
            dtype=getattr(torch, model.dtype),
            attn_implementation=model.attention,
        )
    except (OSError, ValueError) as error:
        raise unreachable(model, error) from error


def peft_config(model: ModelConfig):
    """PEFT's LoraConfig, or None where all weights are trained."""
    if model.lora is None:
        return None
    import peft

    lora = model.lora
    return peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )


def load_weights(module, checkpoint: Path) -> None:
    """Put a checkpoint's weights into a model in memory (all weights, or a LoRA adapter's)."""
    from safetensors.torch import load_file

    if (checkpoint / "adapter_model.safetensors").is_file():
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(module, load_file(checkpoint / "adapter_model.safetensors"))
        return
    weights = {}
    for shard in sorted(checkpoint.glob("model*.safetensors")):
        weights |= load_file(shard)
    # Tied output embeddings are stored once, so exactly those may be missing.
    result = module.load_state_dict(weights, strict=False)
    missing = set(result.missing_keys) - set(getattr(module, "_tied_weights_keys", None) or ())
    if missing or result.unexpected_keys:
        raise RuntimeError(f"{checkpoint} does not fit the model: missing {missing}, unexpected {result.unexpected_keys}")


def fingerprint(module) -> str:
    """SHA-256 over all weights: equal for equal models, whatever file they came from.

    A LoRA adapter whose B is still zero changes nothing (arXiv 2106.09685, section 4.1) and is left out, so the base
    under a fresh adapter counts as the base.
    """
    import torch

    state = module.state_dict()
    weights = {
        name.removeprefix("base_model.model.").replace(".base_layer.", "."): tensor
        for name, tensor in state.items()
        if ".lora_" not in name or state[name.replace(".lora_A.", ".lora_B.")].any()
    }
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
