"""What machines cost, and what they cannot do."""

from src.hardware import HardwareConfig


def test_cost_by_hand():
    values = {"name": "x", "device": "cuda", "gpus": 4, "processes": 3, "device_batch_size": 6, "bf16": True,
              "gradient_checkpointing": True, "sharding": "zero2", "grading_workers": 1, "cpu_threads": None}
    hardware = HardwareConfig(**values, price_usd_per_gpu_hour=0.5)
    assert hardware.cost_usd(1800) == 1.0  # 4 GPUs, half an hour, half a dollar
    assert hardware.gpu_hours(1800) == 2.0
    laptop = hardware.model_copy(update={"device": "cpu", "gpus": 0})
    assert (laptop.cost_usd(3600), laptop.gpu_hours(3600)) == (0.5, 0.0)  # billed as one device
