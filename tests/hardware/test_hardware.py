"""What machines cost, and what they cannot do."""

import pytest
import torch

from src.common.errors import UserError
from src.hardware.config import HardwareConfig, check_device


def test_cost_by_hand():
    values = {"name": "x", "device": "cuda", "gpus": 4, "processes": 3, "device_batch_size": 6, "bf16": True,
              "gradient_checkpointing": True, "sharding": "zero2", "grading_workers": 1, "cpu_threads": None}
    hardware = HardwareConfig(**values, price_usd_per_gpu_hour=0.5)
    assert hardware.cost_usd(1800) == 1.0  # 4 GPUs, half an hour, half a dollar
    assert hardware.gpu_hours(1800) == 2.0
    laptop = hardware.model_copy(update={"device": "cpu", "gpus": 0})
    assert (laptop.cost_usd(3600), laptop.gpu_hours(3600)) == (0.5, 0.0)  # billed as one device


def test_each_of_several_machines_needs_the_gpus_of_its_own_processes(monkeypatch):
    values = {"name": "x", "device": "cuda", "gpus": 40, "processes": 32, "device_batch_size": 4, "bf16": True,
              "gradient_checkpointing": True, "sharding": "fsdp2", "grading_workers": 1, "cpu_threads": None}
    hardware = HardwareConfig(**values, price_usd_per_gpu_hour=3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    with pytest.raises(UserError, match="40 CUDA"):
        check_device(hardware)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")  # as torchrun says on each of four machines
    check_device(hardware)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(UserError, match=r"8 CUDA GPU\(s\) asked for, 4 found"):
        check_device(hardware)
