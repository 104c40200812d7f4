"""The GPU benchmark runs end to end at toy size, where there is no GPU."""

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
    assert set(found) == {"bare TRL", "rollout=transformers"}
    for side in found.values():
        assert len(side["steps"]) == 2
        for phase in ("rollout", "log-probabilities", "forward and backward", "optimiser"):
            assert side["seconds"][phase] > 0, phase
        assert side["seconds_per_step"] == pytest.approx(sum(side["seconds"].values()), rel=0.2)
        assert 0 < side["training_mfu"] < 1 and 0 < side["rollout_floor_share"] < 1
    assert "times bare TRL's steps per hour" in result.stdout
