"""Random weights in a model's architecture, to measure speed and memory where the real weights cannot be had.

They are written to a folder once, since TRL's reference model and vLLM load theirs by path.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from src.model.config import ModelConfig

CACHE = Path(os.environ.get("GRPO_LAB_CACHE", "~/.cache/grpo-lab")).expanduser() / "random"
SEED = 0


def random_folder(model: ModelConfig) -> Path:
    """Where the random model of a configuration lies, or will lie."""
    from src.model.architecture import config_json

    key = json.dumps([dict(config_json(model)), model.dtype, model.tokenizer, SEED], sort_keys=True)
    return CACHE / f"{model.path.rpartition('/')[2]}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def make_random(model: ModelConfig, tokenizer) -> Path:
    """Write the model with random weights, its configuration and the tokenizer, unless they are there."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    from src.model.architecture import config_json

    folder = random_folder(model)
    if folder.is_dir():
        return folder
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    config = AutoConfig.for_model(**(dict(config_json(model)) | ends))
    config.vocab_size = max(config.vocab_size, len(tokenizer))
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        made = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, model.dtype))
    made.generation_config = GenerationConfig(do_sample=True, **ends)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        made.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        if not folder.is_dir():  # another process may have been quicker
            staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder
