"""The GPU benchmark runs end to end at toy size, where there is no GPU; its variants are settings that TRL takes."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT

pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_benchmark_measures_both_sides_by_phase(tmp_path):
    result = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu.py", "--toy", "--steps", "2", "--out", tmp_path / "found.json"],
        capture_output=True, text=True, timeout=1200, check=False, cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == {"bare TRL", "plain"}
    assert found["plain"]["first_gradient"] == pytest.approx(found["bare TRL"]["first_gradient"], rel=0.01) != 0
    assert ": equal (" in result.stdout
    for side in found.values():
        assert len(side["steps"]) == 2
        for phase in ("rollout", "log-probabilities", "forward and backward", "optimiser"):
            assert side["seconds"][phase] > 0, phase
        assert side["seconds_per_step"] == pytest.approx(sum(side["seconds"].values()), rel=0.2)
        assert 0 < side["training_mfu"] < 1 and 0 < side["rollout_floor_share"] < 1
    assert "times bare TRL's steps per hour" in result.stdout


def test_every_variant_is_a_configuration_that_trl_takes(tmp_path):
    sys.path.insert(0, str(ROOT))
    from benchmarks.gpu import FULL, VARIANTS, config_of
    from src.experiment.trl_config import trl_config

    for name, variant in VARIANTS.items():
        config = config_of(FULL, variant.overrides, 3, tmp_path)
        config = config.model_copy(update={"hardware": config.hardware.model_copy(update={"device": "cpu", "bf16": False})})
        taken = trl_config(config, tmp_path)
        assert taken.generation_kwargs == {"min_tokens" if taken.use_vllm else "min_new_tokens": 3584}, name
        for field, value in config.trainer.items():
            assert getattr(taken, field) == value, name
