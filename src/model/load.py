"""Loading: a model's tokenizer, weights and adapters, and the fingerprint by which equal weights are known."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.common.errors import UserError
from src.model.config import ModelConfig
from src.model.places import located, prefer_cache, unreachable


def resolve(model: ModelConfig) -> str:
    """Folder or hub name to load from; of a model of the ladder or with random weights, the folder where it is or will
    be. Raises UserError for a folder that holds no model.
    """
    if model.init == "random":
        from src.model.random_init import random_folder

        return str(random_folder(model))
    return located(model.path)


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
    tokenizer.chat_template = with_values(tokenizer.chat_template, model.chat_template_kwargs)
    return tokenizer


def with_values(template: str, values: Mapping[str, Any]) -> str:
    """A chat template that takes these values for names that its caller leaves open. Written into the template, they hold in
    training and evaluation alike, and go with the trained model. Raises UserError for a name that the template does not have."""
    for name in values:
        if not re.search(rf"\b{re.escape(name)}\b", template):
            raise UserError(f"model.chat_template_kwargs: the model's chat template has no {name}")
    settings = (f"{{%- set {name} = {name} if {name} is defined else {json.dumps(value)} %}}" for name, value in values.items())
    return "".join(settings) + template


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
