"""What machines cost, and what they cannot do."""

import pytest
from conftest import configured

from src.errors import UserError
from src.hardware import HardwareConfig, check_processes


def test_cost_by_hand():
    values = {"name": "x", "device": "cuda", "gpus": 4, "processes": 3, "device_batch_size": 6, "bf16": True,
              "gradient_checkpointing": True, "sharding": "zero2", "grading_workers": 1, "cpu_threads": None}
    hardware = HardwareConfig(**values, price_usd_per_gpu_hour=0.5)
    assert hardware.cost_usd(1800) == 1.0  # 4 GPUs, half an hour, half a dollar
    assert hardware.gpu_hours(1800) == 2.0
    laptop = hardware.model_copy(update={"device": "cpu", "gpus": 0})
    assert (laptop.cost_usd(3600), laptop.gpu_hours(3600)) == (0.5, 0.0)  # billed as one device


def test_another_number_of_processes_than_asked_for_is_refused(monkeypatch):
    hardware = configured().hardware
    check_processes(hardware)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="1 asked for, 2 running"):
        check_processes(hardware)
