"""Loading: a model's tokenizer, weights and adapters, and the fingerprint by which equal weights are known."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.common.errors import UserError
from src.model.config import ModelConfig
from src.model.places import located, prefer_cache, unreachable

TOKENS_OF_GENERATION = ("bos_token_id", "eos_token_id", "pad_token_id")
SET_ANYWAY = ("do_sample", "temperature", "top_p", "top_k", "max_length", "max_new_tokens", "use_cache", "transformers_version")
OWN_CODE = (
    "brings code of its own, which is never run here (trust_remote_code=False); choose a model of an architecture that "
    "transformers knows"
)
SAID = {  # what transformers and torch say, and what it means
    "trust_remote_code": OWN_CODE,
    "custom code": OWN_CODE,
    "ignore_mismatched_sizes": "has weights of other shapes than its config.json says; are both of the same model?",
    "eights only load failed": "has a weights file that holds more than weights, and could run code; give it as safetensors",
}


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
    source = model.tokenizer or model.path
    with loading(source):
        try:
            tokenizer = AutoTokenizer.from_pretrained(located(source), revision=model.revision, trust_remote_code=False)
        except (OSError, ValueError) as error:
            if model.init == "random" and model.tokenizer is None:
                raise UserError(
                    f"model.tokenizer: that of {model.path} cannot be had; with random weights any will do: "
                    "model.tokenizer=embedded/micro"
                ) from error
            raise
    if not tokenizer("1 + 1")["input_ids"]:
        raise UserError(f"model.path: the tokenizer of {source} knows no text; is its tokenizer.json there?")
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
    """The causal language model in its dtype. Raises UserError if it cannot be had, or its weights are not all there."""
    import torch
    from transformers import AutoModelForCausalLM

    prefer_cache(model)
    if model.init == "random":
        from src.model.random_init import make_random

        make_random(model, load_tokenizer(model))
    with loading(model.path):
        loaded, found = AutoModelForCausalLM.from_pretrained(
            resolve(model),
            revision=model.revision,
            dtype=getattr(torch, model.dtype),
            attn_implementation=model.attention,
            trust_remote_code=False,  # without it transformers asks on the terminal, and a yes runs the repository's code
            output_loading_info=True,
        )
    check_all_loaded(model.path, found)
    with_plain_generation(loaded)
    return loaded


def with_plain_generation(model) -> None:
    """Keep of the model's own generation_config.json only which tokens end a completion, so that what the configuration says is
    what is sampled; as it was it stays in `own_generation_config`, and is saved with the weights."""
    from transformers import GenerationConfig

    own = model.own_generation_config = model.generation_config
    model.generation_config = GenerationConfig(**{name: getattr(own, name) for name in TOKENS_OF_GENERATION})


def generation_not_followed(model) -> dict[str, Any]:
    """What the model's own generation_config.json would have changed of the samples, besides what the configuration sets anyway."""
    own = model.own_generation_config.to_diff_dict()
    return {name: value for name, value in own.items() if name not in (*TOKENS_OF_GENERATION, *SET_ANYWAY)}


@contextmanager
def loading(source: str) -> Iterator[None]:
    """Whatever transformers makes of files that are no model, in one line; what memory is short of goes on as it is."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        said = str(error)
        if isinstance(error, RuntimeError) and "memory" in said:
            raise
        for words, what in SAID.items():
            if words in said:
                raise UserError(f"model.path: {source} {what}") from error
        raise unreachable(source, error) from error


def check_all_loaded(source: str, found: Mapping[str, Any]) -> None:
    """Raise UserError where a file lacks weights, which transformers makes up at random, or has others than the model. Tied
    weights, which are stored once, count as there."""
    faults = [
        f"{len(found[kind])} weights are {words}, such as {_first(found[kind])}"
        for kind, words in (("missing_keys", "missing"), ("unexpected_keys", "unexpected"), ("mismatched_keys", "of another shape"))
        if found.get(kind)
    ]
    if faults:
        raise UserError(f"model.path: the weights of {source} are not those of its config.json: {'; '.join(faults)}")


def _first(keys: Iterable[Any]) -> str:
    return min(key if isinstance(key, str) else str(key[0]) for key in keys)


def peft_config(model: ModelConfig):
    """PEFT's LoraConfig, or None where all weights are trained. Raises UserError for settings that PEFT refuses."""
    if model.lora is None:
        return None
    import peft

    lora = model.lora
    try:
        return peft.LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.target_modules,
            **lora.peft_fields(),
            task_type="CAUSAL_LM",
            revision=model.revision,  # of the base, for whoever loads the adapter
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"model.lora: PEFT refuses these settings ({' '.join(str(error).split())})") from error


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
        if ".lora_" not in name or state[name.replace(".lora_A.", ".lora_B.").replace(".lora_magnitude_vector.", ".lora_B.")].any()
    }
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
