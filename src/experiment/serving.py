"""The vLLM servers that a run starts beside itself: the one that samples in training, and others that help to measure."""

import sys
from pathlib import Path
from typing import Any

from src.common.errors import UserError
from src.config.tree import LabConfig
from src.hardware.gpus import visible_gpus
from src.hardware.ranks import is_first
from src.model.load import resolve
from src.rollout.server import Server, check_free, free_port


def check_server(config: LabConfig) -> None:
    """Raise UserError where a server that the run has to start could not."""
    rollout: Any = config.rollout  # a server's, if it starts one
    if rollout.starts_server:
        server_gpus(config)
        if rollout.port and is_first():  # the others may come here when it runs
            check_free(f"http://{rollout.host}:{rollout.port}")


def server_for(config: LabConfig, log: Path) -> Server | None:
    """The server that a run has to start itself, or None."""
    rollout: Any = config.rollout
    if not rollout.starts_server:
        return None
    port, gpus = rollout.port or free_port(), server_gpus(config)
    environment = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else None
    return Server(server_command(config, port), f"http://{rollout.host}:{port}", log, rollout.timeout_s, environment)


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


def engine_dtype(config: LabConfig) -> str:
    """What vLLM computes in: under hardware.bf16 float32 weights do so as well."""
    return "bfloat16" if config.hardware.bf16 else config.model.dtype


def weights_server(config: LabConfig, weights: str, revision: str | None, gpu: str, share: float, log: Path) -> Server:
    """vLLM's own server of weights in a folder or on the hub, in a share of a GPU's memory."""
    rollout: Any = config.rollout
    port = free_port()
    options = {
        "model": weights,
        "revision": revision,
        "host": rollout.host,
        "port": port,
        "dtype": engine_dtype(config),
        "max-model-len": config.trainer.get("vllm_max_model_length"),
        "gpu-memory-utilization": f"{share:.3f}",
        "generation-config": "vllm",  # how it is sampled says who asks
        "uvicorn-log-level": "warning",
    }
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *_as_arguments(options)]
    return Server(command, f"http://{rollout.host}:{port}", log, rollout.timeout_s, {"CUDA_VISIBLE_DEVICES": gpu})


def _as_arguments(options: dict[str, Any]) -> list[str]:
    return [text for name, value in options.items() if value is not None for text in (f"--{name}", str(value))]


def server_command(config: LabConfig, port: int) -> list[str]:
    """`trl vllm-serve` for the run's model, with room for all that the model can read, unless less is asked for."""
    rollout: Any = config.rollout
    options = {
        "model": resolve(config.model),
        "revision": config.model.revision,
        "host": rollout.host,
        "port": port,
        "dtype": engine_dtype(config),
        "max_model_len": config.trainer.get("vllm_max_model_length"),
        "gpu_memory_utilization": rollout.gpu_memory_share,
        "tensor_parallel_size": len(server_gpus(config)) or None,
        "log_level": "warning",
    }
    return [sys.executable, "-m", "trl.scripts.vllm_serve", *_as_arguments(options)]
