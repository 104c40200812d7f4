"""What only a GPU can show: sharding, vLLM with weight sync, the full-size shape, the benchmarks and the plan.

    python -m pytest tests/hardware/test_gpu.py -m gpu

One GPU is enough for all but weight sync to a server, which has a GPU of its own. Nothing is downloaded.
"""

import importlib.util
import json
import math
import re
import signal
import subprocess
import sys

import pytest
from conftest import ROOT, TOY, command, configured
from test_launch import STEPS, lines, start, wait_for_steps

from src.hardware.gpus import visible_gpus
from src.record.checkpoints import Checkpoints
from src.record.record import read_summary

pytestmark = pytest.mark.gpu

PATIENCE_S = 1800
IN_STEP = 0.05  # nats a token, on average: bf16 in the sampler and in the trainer
ONE_GPU = ("hardware=h200", "hardware.grading_workers=2", "hardware.device_batch_size=12")
# DeepSeek-R1-Distill-Qwen-1.5B's shape with random weights on generated problems, short.
FULL_SHAPE = (
    "scale=h200", "model.init=random", "model.tokenizer=embedded/micro", "problems=micro", "mix.size=1400",
    "scale.completion_budget=256", "length.fraction=1.0",
)
QUIET = (
    "+experiment=mix_easy_hard", "evaluation=micro", "~evaluation.suites.chains", "~evaluation.suites.chains_long",
    "evaluation.validation.problems_per_level=2", "evaluation.validation.samples=1", "tracking=none",
)

needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (extra vllm)")


def finished(tmp_path, *overrides):
    """The folder of a run that was carried out to its end."""
    folder = tmp_path / "run"
    result = command(*overrides, f"output_root={tmp_path}", f"run_dir={folder}", cwd=tmp_path, patience_s=PATIENCE_S)
    assert result.returncode == 0, result.stderr[-3000:]
    assert read_summary(folder)["status"] == "complete"
    assert all(math.isfinite(line["loss"]) and line["grad_norm"] >= 0 for line in lines(folder))
    return folder


@pytest.mark.parametrize("sharding", ["zero2", "fsdp2"])
def test_a_sharded_run_trains_is_saved_whole_and_goes_on(tmp_path, sharding):
    if sharding == "zero2":
        pytest.importorskip("deepspeed", reason="DeepSpeed is not installed (extra deepspeed)")
    processes = f"hardware.processes={min(2, len(visible_gpus()))}"
    gpus = processes.replace("processes", "gpus")
    process = start(tmp_path, *ONE_GPU, gpus, processes, f"hardware.sharding={sharding}")
    wait_for_steps(process, tmp_path, 3)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE_S)
    folder = tmp_path / "run"
    assert (process.returncode, read_summary(folder)["status"]) == (130, "interrupted"), errors[-3000:]
    assert Checkpoints(folder / "checkpoints", 1).sharding()[0] == sharding
    result = command(f"resume={folder}", cwd=tmp_path, patience_s=PATIENCE_S)
    assert result.returncode == 0, result.stderr[-3000:]
    assert read_summary(folder)["status"] == "complete"
    assert [line["step"] for line in lines(folder)] == list(range(1, STEPS + 1))
    assert any(line["grad_norm"] > 0 for line in lines(folder))


@needs_vllm
def test_colocated_vllm_samples_from_the_policy_of_full_shape(tmp_path):
    folder = finished(tmp_path, *QUIET, *FULL_SHAPE, "scale.steps=3", "lr=constant", "lr.peak=1e-5",
                      "trainer.vllm_importance_sampling_correction=true")
    assert all(line["sampler_logp_difference"] < IN_STEP for line in lines(folder))
    assert all(line["completion_tokens/max"] <= 256 for line in lines(folder))


@needs_vllm
@pytest.mark.skipif(len(visible_gpus()) < 2, reason="weight sync to a server needs two GPUs: NCCL takes one for each side")
def test_the_server_samples_from_the_policy_that_is_trained(tmp_path):
    folder = finished(
        tmp_path, "+experiment=mix_easy_hard", *TOY, *ONE_GPU, "hardware.gpus=2", "rollout=vllm_server",
        "rollout.temperature=1.0", "lr=constant", "lr.peak=1e-3", "trainer.vllm_importance_sampling_correction=true",
    )
    assert any(line["grad_norm"] > 0 for line in lines(folder))
    assert all(line["sampler_logp_difference"] < IN_STEP for line in lines(folder))


@needs_vllm
def test_the_server_starts_answers_and_is_gone(tmp_path):
    import psutil
    from trl.generation.vllm_client import VLLMClient

    from src.experiment.serving import server_for
    from src.rollout.server import serving

    server = server_for(configured("rollout=vllm_server", "rollout.gpu_memory_share=0.3"), tmp_path / "server.log")
    server.environment, server.timeout_s = {"CUDA_VISIBLE_DEVICES": visible_gpus()[0]}, PATIENCE_S
    with serving(server):
        everyone = psutil.Process(server.process.pid).children(recursive=True)
        output = VLLMClient(base_url=server.url).generate([[5, 6, 7]], n=3, max_tokens=20)
    assert len(output["completion_ids"]) == 3
    assert everyone and not [process for process in everyone if process.is_running()]


def test_the_benchmark_measures_every_variant_with_equal_results(tmp_path):
    result = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu.py", "--toy", "--steps", "2", "--all",
         "--out", tmp_path / "found.json"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=tmp_path,
    )
    found = json.loads((tmp_path / "found.json").read_text())
    measured = {name: side for name, side in found.items() if "failed" not in side and "left_out" not in side}
    assert {"bare TRL", "plain"} <= set(measured), result.stderr[-3000:]
    assert all(side["device"] != "CPU" for side in measured.values())
    assert measured["plain"]["first_gradient"] == pytest.approx(measured["bare TRL"]["first_gradient"], rel=0.05)


def test_the_large_embedded_model_takes_a_few_steps(tmp_path):
    weights = tmp_path / "weights"
    subprocess.run(
        [sys.executable, "-m", "src.micro.pretrain", "--size", "large", "--steps", "20", "--calibration-count", "4",
         "--output", weights], cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE_S,
    )
    folder = finished(
        tmp_path, "+experiment=mix_easy_hard", "scale=micro_large", f"model.path={weights}", "scale.steps=3",
        "~evaluation.suites.chains", "~evaluation.suites.chains_long", "evaluation.validation.problems_per_level=4",
        "tracking=none",
    )
    assert len(lines(folder)) == 3


def test_the_plan_is_within_a_quarter_of_what_is_measured(tmp_path):
    engine = () if importlib.util.find_spec("vllm") else ("rollout=transformers",)
    result = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "plan.py", "--as-given", "--steps", "5", *FULL_SHAPE, *engine,
         "+trainer.generation_kwargs={%s: 256}" % ("min_new_tokens" if engine else "min_tokens"),
         "scale.natural_completion_tokens=1e9"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    ratios = [float(ratio) for ratio in re.findall(r"ratio ([\d.]+)", result.stdout)]
    assert len(ratios) == 2 and all(0.75 <= ratio <= 1.25 for ratio in ratios), result.stdout
