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

from src.common.errors import UserError
from src.common.files import file_hash
from src.common.locks import held

if TYPE_CHECKING:
    import torch

CACHE = Path(os.environ.get("GRPO_LAB_CACHE", "~/.cache/grpo-lab")).expanduser() / "merged"
SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def merged_weights(model) -> "Iterator[tuple[str, torch.Tensor]]":
    """Names and weights of the model that a PEFT model amounts to, one at a time, each a sum in float32 that is rounded once.

    What it is made of stays as it is: PEFT's merging and taking apart rounds the base both times, in bfloat16 so much that it has
    moved by 0.38 of the adapter after 500 steps. Sharded weights are gathered; all processes must come here then.
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
                    found = found.float() + whole(layer.get_delta_weight(adapter)).float()
                    if adapter in layer.lora_magnitude_vector:  # DoRA (arXiv 2402.09353, equation 5): a length for each row
                        length = whole(layer.lora_magnitude_vector[adapter].weight).float()
                        found = found * (length / found.norm(dim=1))[:, None]
                    found = found.to(weight.dtype)
        yield name.removeprefix("base_model.model.").replace(".base_layer.", "."), found


def base_of(path: str) -> tuple[str, str | None] | None:
    """Path and revision of the model that an adapter's folder is for; None of what is no such folder."""
    folder = Path(path).expanduser()
    if (folder / "config.json").is_file() or not (folder / SETTINGS).is_file():
        return None
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        base, revision = settings["base_model_name_or_path"], settings.get("revision")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"model.path: {path} holds an {SETTINGS} that names no base; give a whole adapter's folder") from error
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"model.path: {path} holds an {SETTINGS} and no {WEIGHTS}; give a whole adapter's folder")
    return base, revision


def merged_folder(path: str) -> Path:
    """Where the model that an adapter's folder makes of its base lies, or will lie."""
    folder = Path(path).expanduser().resolve()
    return CACHE / f"{folder.name}-{file_hash(folder / SETTINGS)[:8]}{file_hash(folder / WEIGHTS)[:8]}"


def make_merged(path: str, base: str) -> None:
    """Write that model unless it is there; `base` is where the base lies."""
    folder = merged_folder(path)
    with held(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            _merge(Path(path).expanduser(), base, folder)


def _merge(adapter: Path, base: str, folder: Path) -> None:
    """In the base's dtype, and with the tokenizer: the adapter's, or its base's where it has none."""
    from peft import PeftModel
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _, revision = base_of(str(adapter)) or ("", None)
    plain = AutoModelForCausalLM.from_pretrained(base, revision=revision, dtype="auto", trust_remote_code=False)
    own = (adapter / "tokenizer_config.json").is_file()
    tokenizer = AutoTokenizer.from_pretrained(adapter if own else base, revision=None if own else revision, trust_remote_code=False)
    staging = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        PeftModel.from_pretrained(plain, adapter).merge_and_unload().save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        staging.rename(folder)
    except SafetensorError as error:
        raise UserError(f"model.path: {adapter / WEIGHTS} is damaged ({error}); give a whole adapter's folder") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
