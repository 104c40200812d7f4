"""The `hardware` group: how many processes and GPUs, and what an hour of them costs."""

import os
from typing import Literal

from pydantic import Field, model_validator

from src.common.base import Config
from src.common.errors import UserError
from src.hardware.gpus import gpus_here, sliced, visible_gpus
from src.hardware.ranks import has_own_gpu


class Spec(Config):
    """What one device can do; the shares say how much of its peak a real run gets."""

    memory_gb: float | None = Field(gt=0)  # null = this machine's, see HardwareConfig.known_spec
    peak_tflops: float = Field(gt=0)  # dense matrix products in the type that is trained in
    bandwidth_gb_per_s: float = Field(gt=0)  # of its memory
    link_gb_per_s: float = Field(gt=0)  # on which weights go to the sampler
    training_share: float = Field(gt=0, le=1)  # of peak_tflops, in log-probabilities, forward and backward
    sampling_share: float = Field(gt=0, le=1)  # of bandwidth_gb_per_s and peak_tflops, token by token
    layer_seconds: float = Field(ge=0)  # that a layer takes at least, without CUDA graphs
    token_seconds: float = Field(ge=0)  # that a forward pass of sampling takes besides its layers
    step_seconds: float = Field(ge=0)  # of a step besides sampling and FLOPs: grading, logging
    startup_seconds: float = Field(ge=0)
    base_gb: float = Field(ge=0)  # that libraries take before any tensor

    @property
    def memory_bytes(self) -> float:
        assert self.memory_gb is not None, "known_spec has it"
        return self.memory_gb * 1e9

    @property
    def training_flops_per_s(self) -> float:
        return self.training_share * self.peak_tflops * 1e12

    @property
    def sampling_flops_per_s(self) -> float:
        return self.sampling_share * self.peak_tflops * 1e12

    @property
    def sampling_bytes_per_s(self) -> float:
        return self.sampling_share * self.bandwidth_gb_per_s * 1e9


class HardwareConfig(Config):
    """Where the run happens. A machine without GPUs is billed as one device."""

    name: str
    device: Literal["cpu", "cuda"]
    gpus: int = Field(ge=0)
    processes: int = Field(ge=1)  # training processes
    device_batch_size: int = Field(ge=1)  # completions in one forward and backward pass of one process
    price_usd_per_gpu_hour: float = Field(ge=0)
    bf16: bool
    gradient_checkpointing: bool
    # Over training processes. none = DDP; zero2 = DeepSpeed's ZeRO-2 (arXiv 1910.02054): gradients and optimiser; fsdp2 =
    # torch's fully_shard (arXiv 2304.11277): weights too.
    sharding: Literal["none", "zero2", "fsdp2"]
    grading_workers: int = Field(ge=1)
    cpu_threads: int | None = Field(ge=1)  # of torch in each process; null = torch's own choice
    spec: Spec | None = None  # of each device, for the plan; null = no plan

    @model_validator(mode="after")
    def _gpus_match_device(self) -> "HardwareConfig":
        if self.device == "cuda" and self.gpus == 0:
            raise ValueError("device cuda needs gpus of at least 1")
        if self.device == "cuda" and self.processes > self.gpus:
            raise ValueError(f"{self.processes} processes need a GPU each, and gpus is {self.gpus}; lower processes")
        if self.device == "cpu" and self.sharding == "zero2":
            raise ValueError("sharding zero2 needs GPUs; set hardware.sharding=none or fsdp2")
        return self

    @property
    def title(self) -> str:
        """Its name, with the number of GPUs where there are several of one name."""
        return self.name if self.gpus < 2 or self.name.startswith(f"{self.gpus} x ") else f"{self.gpus} x {self.name}"

    @property
    def known_spec(self) -> Spec | None:
        """`spec` with this machine's memory where it gives none: of the smallest GPU here, or the host's without GPUs. Raises
        UserError where there is no GPU to ask."""
        if self.spec is None or self.spec.memory_gb is not None:
            return self.spec
        if self.device == "cpu":
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        elif sizes := [gpu.memory_gb for gpu in gpus_here() if gpu.memory_gb]:
            memory = min(sizes)
        else:
            raise UserError("hardware.spec.memory_gb: no GPU here to read it from; give it in GB")
        return self.spec.model_copy(update={"memory_gb": memory})

    def cost_usd(self, seconds: float) -> float:
        """Price of `seconds` of wall-clock time on all devices."""
        return max(1, self.gpus) * seconds / 3600 * self.price_usd_per_gpu_hour

    def gpu_hours(self, seconds: float) -> float:
        """GPU-hours of `seconds` of wall-clock time; 0 without GPUs."""
        return self.gpus * seconds / 3600


def check_sharding(hardware: HardwareConfig) -> None:
    """Raise UserError where DeepSpeed is asked for and not installed."""
    import importlib.util

    if hardware.sharding == "zero2" and importlib.util.find_spec("deepspeed") is None:
        raise UserError(
            "hardware.sharding=zero2 needs DeepSpeed, which is not installed; "
            "pip install -e '.[deepspeed]' -c constraints.txt, or set hardware.sharding=none if memory allows"
        )


def check_device(hardware: HardwareConfig) -> None:
    """Raise UserError where the run asks for GPUs that this machine lacks: all of them, or where torchrun or srun spread its
    processes over several machines, one for each process here. Imports torch."""
    if hardware.device != "cuda":
        return
    import torch

    if hardware.gpus > 1 and sliced(visible_gpus()):
        raise UserError(
            f"hardware: {hardware.gpus} GPUs asked for, and here are MIG slices, which NCCL does not connect; set hardware.gpus=1 "
            "hardware.processes=1 (trials of a sweep get a slice each)"
        )
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = int(os.environ.get("LOCAL_WORLD_SIZE", hardware.processes))
    if has_own_gpu():
        found *= here
    asked = here if here < hardware.processes else hardware.gpus
    if found < asked:
        raise UserError(
            f"hardware: {asked} CUDA GPU(s) asked for, {found} found; choose scale=micro or hardware=cpu, "
            "or set hardware.gpus"
        )
