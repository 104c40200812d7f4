"""TRL's config from ours."""

from pathlib import Path
from typing import Any

import torch
import trl

from src.common.errors import UserError
from src.common.secrets import is_secret
from src.config.tree import LabConfig
from src.hardware.ranks import PATIENCE_S
from src.training import fsdp
from src.training.algorithm import CONFIGS
from src.training.length import LengthSchedule
from src.training.lr import trainer_fields
from src.training.reward import active

# DeepSpeed's ZeRO stage 2 (arXiv 1910.02054), as Open-RS; "auto" is filled in from TRL's config.
ZERO2 = {
    "bf16": {"enabled": "auto"},
    "zero_optimization": {"stage": 2},
    "gradient_clipping": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "train_batch_size": "auto",
}


def trl_config(config: LabConfig, output_dir: Path):
    """TRL's config for a run. Raises UserError for a value under `trainer` or `algorithm.settings` that TRL refuses."""
    hardware, algorithm = config.hardware, config.algorithm
    schedule = LengthSchedule(config.length, config.scale.completion_budget, config.scale.steps)
    fields: dict[str, Any] = {
        "output_dir": str(output_dir),
        "seed": config.seed,
        "max_steps": config.scale.steps,
        "per_device_train_batch_size": hardware.device_batch_size,
        "gradient_accumulation_steps": config.batch.accumulation_steps,
        "max_completion_length": schedule.maximum,
        "shuffle_dataset": False,  # the mix has put the problems in order
        "use_cpu": hardware.device == "cpu",
        "bf16": hardware.bf16,
        "gradient_checkpointing": hardware.gradient_checkpointing,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a NaN must be seen
        "save_strategy": "no",  # AfterStep decides
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": hardware.device == "cuda",
        "ddp_timeout": PATIENCE_S,
        "ddp_find_unused_parameters": False,  # every weight takes part in every pass; looking for others costs time
        "deepspeed": ZERO2 if hardware.sharding == "zero2" else None,
        "fsdp": hardware.sharding == "fsdp2" or None,
        "fsdp_config": dict(fsdp.SETTINGS) if hardware.sharding == "fsdp2" else None,
    }
    if algorithm.trainer != "distillation":
        fields |= {"num_generations": algorithm.completions_per_prompt, "reward_weights": list(active(config.reward).values())}
    fields |= trainer_fields(config.lr, config.scale.steps) | config.rollout.trainer_fields()
    fields |= algorithm.settings | {key: value for key, value in config.trainer.items() if not is_secret(key)}  # it is saved
    try:
        trainer_config = getattr(trl, CONFIGS[algorithm.trainer])(**fields)
        trainer_config._n_gpu = min(trainer_config.n_gpu, 1)  # or transformers would spread a process over all GPUs
        if hardware.device == "cpu":  # among several processes it is "cpu:0", from which torch restores no optimiser
            trainer_config._setup_devices = torch.device("cpu")
        return trainer_config
    except (TypeError, ValueError) as error:
        raise UserError(f"trainer: TRL refuses these settings ({' '.join(str(error).split())})") from error
