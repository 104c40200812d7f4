"""The vLLM server that a run starts beside itself."""

import sys
from pathlib import Path
from typing import Any

from src.common.errors import UserError
from src.config.tree import LabConfig
from src.hardware.gpus import visible_gpus
from src.hardware.ranks import is_first
from src.model.load import resolve
from src.plan.workload import positions
from src.rollout.server import Server, check_free


def check_server(config: LabConfig) -> None:
    """Raise UserError where a server that the run has to start could not."""
    rollout: Any = config.rollout  # a server's, if it starts one
    if rollout.starts_server:
        server_gpus(config)
        if is_first():  # the others may come here when it runs
            check_free(rollout.url)


def server_for(config: LabConfig, log: Path) -> Server | None:
    """The server that a run has to start itself, or None."""
    rollout: Any = config.rollout
    if not rollout.starts_server:
        return None
    command, gpus = server_command(config), server_gpus(config)
    return Server(command, rollout.url, log, rollout.timeout_s, {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else None)


def server_gpus(config: LabConfig) -> list[str]:
    """The GPUs kept for the server: those after the training processes'. Raises UserError if none is left."""
    hardware = config.hardware
    if hardware.device == "cpu":
        return []
    left = visible_gpus()[hardware.processes : hardware.gpus]
    if not left:
        raise UserError(
            f"rollout=vllm_server needs a GPU of its own, and {hardware.processes} processes train on {hardware.gpus}; "
            "lower hardware.processes, or choose rollout=vllm_colocate"
        )
    return left


def server_command(config: LabConfig) -> list[str]:
    """`trl vllm-serve` for the run's model, with room for the longest prompt and completion of training and measuring."""
    rollout: Any = config.rollout
    options = {
        "model": resolve(config.model),
        "revision": config.model.revision,
        "host": rollout.host,
        "port": rollout.port,
        "dtype": "bfloat16" if config.hardware.bf16 else config.model.dtype,  # float32 weights compute in bf16 as well
        "max_model_len": positions(config),
        "gpu_memory_utilization": rollout.gpu_memory_share,
        "tensor_parallel_size": len(server_gpus(config)) or None,
        "log_level": "warning",
    }
    arguments = [text for name, value in options.items() if value is not None for text in (f"--{name}", str(value))]
    return [sys.executable, "-m", "trl.scripts.vllm_serve", *arguments]
