"""Which devices a process may use: whole GPUs, MIG slices, and the one that Slurm gives a task."""

import os

import pytest
import torch
from conftest import configured

from src.common.errors import UserError
from src.hardware import ranks
from src.hardware.config import check_device
from src.hardware.gpus import listed, named_among, visible_gpus
from src.plan.plan import make_plan

# As nvidia-smi --list-gpus prints it; the second GPU is cut into two slices.
LISTED = """\
GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-11111111-aaaa-bbbb-cccc-000000000000)
GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-22222222-aaaa-bbbb-cccc-000000000000)
  MIG 3g.40gb     Device  0: (UUID: MIG-33333333-aaaa-bbbb-cccc-000000000000)
  MIG 1g.10gb+me  Device  1: (UUID: MIG-44444444-aaaa-bbbb-cccc-000000000000)
"""
SIZES = "GPU-11111111-aaaa-bbbb-cccc-000000000000, 81920\nGPU-22222222-aaaa-bbbb-cccc-000000000000, 81920\n"
ON_A_GPU = ("+experiment=mix_easy_hard", "scale=h200")


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A machine whose nvidia-smi says this much."""

    def there(devices, sizes):
        for name, text in (("list", devices), ("sizes", sizes)):
            (tmp_path / name).write_text(text)
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\ncase $1 in --list-gpus) cat {tmp_path}/list;; *) cat {tmp_path}/sizes;; esac\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return there


def test_a_slice_is_a_device_of_its_own_and_its_gpu_is_none():
    devices = listed(LISTED, SIZES)
    assert [(gpu.name, gpu.profile) for gpu in devices] == [
        ("NVIDIA A100-SXM4-80GB", ""), ("NVIDIA A100-SXM4-80GB", "3g.40gb"), ("NVIDIA A100-SXM4-80GB", "1g.10gb+me"),
    ]
    assert [gpu.memory_gb for gpu in devices] == pytest.approx([85.9, 40, 10], rel=1e-3)
    assert [gpu.handle[:6] for gpu in devices] == ["GPU-11", "MIG-33", "MIG-44"]
    whole = "\n".join(line for line in LISTED.splitlines() if "MIG" not in line)
    assert [gpu.handle for gpu in listed(whole, SIZES)] == ["0", "1"]
    assert listed("", "") == []


def test_what_is_named_is_found_by_number_and_by_uuid():
    devices = listed(LISTED, SIZES)
    assert [gpu.profile for gpu in named_among(devices, ["MIG-33333333-aaaa-bbbb-cccc-000000000000"])] == ["3g.40gb"]
    assert [gpu.memory_gb for gpu in named_among(devices, ["MIG-4444", "MIG-3333"])] == [10, 40]
    assert named_among(devices, ["7"]) == []


def test_slices_are_shared_out_to_trials_and_not_to_processes(nvidia_smi):
    from src.sweep.engines.local import share_gpus

    nvidia_smi(LISTED, SIZES)
    assert len(visible_gpus()) == 3
    assert [[gpu[:6] for gpu in slot] for slot in share_gpus(3, 1)] == [["GPU-11"], ["MIG-33"], ["MIG-44"]]
    with pytest.raises(UserError, match="MIG slices, which NCCL does not connect; set hardware.gpus=1"):
        check_device(configured(*ON_A_GPU, "hardware.gpus=2", "hardware.processes=2").hardware)


def test_memory_that_is_not_given_is_the_gpus(nvidia_smi, monkeypatch):
    config = configured(*ON_A_GPU, "hardware.spec.memory_gb=null")
    nvidia_smi(LISTED, SIZES)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-11111111-aaaa-bbbb-cccc-000000000000")
    assert make_plan(config).available_gb == pytest.approx(85.9, rel=1e-3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-33333333-aaaa-bbbb-cccc-000000000000")
    assert make_plan(config).available_gb == 40
    nvidia_smi("", "")
    with pytest.raises(UserError, match="no GPU here to read it from"):
        make_plan(config)
    assert make_plan(configured()).available_gb == pytest.approx(
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    )


def test_each_task_of_srun_has_its_own_gpu(monkeypatch):
    """srun --ntasks=4 --gpus-per-task=1: every task sees one GPU, which is number 0 to it."""
    hardware = configured(*ON_A_GPU, "hardware.gpus=4", "hardware.processes=4", "hardware.device_batch_size=3").hardware
    for name, value in {"JOB_ID": 1, "STEP_NUM_TASKS": 4, "PROCID": 3, "LOCALID": 3, "STEP_TASKS_PER_NODE": "4",
                        "GPUS_PER_TASK": 1}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with monkeypatch.context() as context:
        context.setattr(os, "environ", dict(os.environ))
        ranks.adopt_slurm()
        assert (ranks.rank(), os.environ["LOCAL_RANK"], os.environ["LOCAL_WORLD_SIZE"]) == (3, "0", "4")
        check_device(hardware)
        del os.environ["SLURM_GPUS_PER_TASK"]  # four tasks that share one GPU
        with pytest.raises(UserError, match=r"4 CUDA GPU\(s\) asked for, 1 found"):
            check_device(hardware)
