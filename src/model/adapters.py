"""LoRA adapters (arXiv 2106.09685) and their base: what they amount to together, and a checkpoint of one as a model to start from.

TRL's reference model and vLLM load theirs by path, so such a checkpoint is merged into a folder once.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.common.files import file_hash

if TYPE_CHECKING:
    import torch

CACHE = Path(os.environ.get("GRPO_LAB_CACHE", "~/.cache/grpo-lab")).expanduser() / "merged"
SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def merged_weights(model) -> "Iterator[tuple[str, torch.Tensor]]":
    """Names and weights of the model that a PEFT model amounts to, one at a time, each a sum in float32 that is rounded once.

    What it is made of stays as it is: PEFT's merging and taking apart rounds the base both times, in bfloat16 so much that 500
    of them move it by half of the adapter. Sharded weights are gathered; all processes must come here then.
    """
    import torch

    def whole(weight: Any) -> torch.Tensor:
        return weight.full_tensor() if hasattr(weight, "full_tensor") else weight

    for name, weight in model.named_parameters():
        if model.prefix in name:
            continue
        owner, adapted, kind = name.partition(".base_layer.")
        with torch.no_grad():
            found = whole(weight.data)
            if adapted and kind == "weight":
                layer = model.get_submodule(owner)
                for adapter in layer.active_adapters:
                    found = (found.float() + whole(layer.get_delta_weight(adapter)).float()).to(weight.dtype)
        yield name.removeprefix("base_model.model.").replace(".base_layer.", "."), found


def base_of(path: str) -> tuple[str, str | None] | None:
    """Path and revision of the model that an adapter's folder is for; None of what is no such folder."""
    folder = Path(path).expanduser()
    if (folder / "config.json").is_file() or not (folder / SETTINGS).is_file():
        return None
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    return settings["base_model_name_or_path"], settings.get("revision")


def merged_folder(path: str) -> Path:
    """Where the model that an adapter's folder makes of its base lies, or will lie."""
    folder = Path(path).expanduser().resolve()
    return CACHE / f"{folder.name}-{file_hash(folder / SETTINGS)[:8]}{file_hash(folder / WEIGHTS)[:8]}"


def make_merged(path: str, base: str) -> Path:
    """Write that model, in its base's dtype, with the tokenizer, unless it is there; `base` is where the base lies."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, source = merged_folder(path), Path(path).expanduser()
    if folder.is_dir():
        return folder
    _, revision = base_of(path) or ("", None)
    plain = AutoModelForCausalLM.from_pretrained(base, revision=revision, dtype="auto", trust_remote_code=False)
    own_tokenizer = (source / "tokenizer_config.json").is_file()
    tokenizer = AutoTokenizer.from_pretrained(
        *([source] if own_tokenizer else [base]), revision=None if own_tokenizer else revision, trust_remote_code=False
    )
    merged = PeftModel.from_pretrained(plain, source).merge_and_unload()
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        merged.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        if not folder.is_dir():  # another process may have been quicker
            staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder
