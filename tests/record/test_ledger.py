"""What a run's record says it used: worked out by hand, and from a real run."""

import json

import pytest
import torch
from conftest import TOY, configured
from transformers import Qwen2Config, Qwen2ForCausalLM

from src.experiment.run import run
from src.record.flops import ParameterCount, flops, size_of
from src.record.ledger import Ledger


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def tiny(tied):
    return Qwen2Config(
        vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, tie_word_embeddings=tied,
    )


@pytest.mark.parametrize("tied", [True, False])
def test_size_with_and_without_embeddings(tied):
    size = size_of(Qwen2ForCausalLM(tiny(tied)))
    layer = 4 * 32 * 32 + 3 * 32 + 3 * 32 * 64 + 2 * 32  # attention, its biases, feed-forward, norms
    assert size == ParameterCount(2 * layer + 32 + size.embeddings, 100 * 32 * (1 if tied else 2))
    assert size.without_embeddings == 2 * layer + 32
    with torch.device("meta"):
        assert size_of(Qwen2ForCausalLM(tiny(tied))) == size


def test_operations_by_hand():
    tokens = {"training": 2000, "generation": 1000, "old_policy": 0, "reference": 1000}
    assert flops(ParameterCount(120, 20), tokens) == {
        "training": 6 * 100 * 2000, "generation": 2 * 100 * 1000, "old_policy": 0, "reference": 2 * 100 * 1000,
        "total": 1_200_000 + 200_000 + 200_000,
    }


def test_the_account_of_a_real_run_adds_up(toy_run):
    lines = metrics(toy_run)
    for number, line in enumerate(lines, 1):
        sampled = line["prompt_tokens"] + line["completion_tokens"]
        assert (line["optimiser_steps"], line["samples"]) == (number, 4 * number)
        assert line["unique_samples"] == line["samples"] and line["epochs"] == pytest.approx(4 * number / 1400)
        assert (line["parameters"], line["parameters/without_embeddings"]) == (377_376, 377_376 - 459 * 96)
        n = line["parameters/without_embeddings"]
        assert line["flops/training"] == 6 * n * sampled
        assert line["flops/generation"] == line["flops/reference"] == 2 * n * sampled  # beta is 0.04
        assert line["flops/old_policy"] == 0  # one update a batch needs none
        assert line["flops/total"] == 10 * n * sampled
    summary = json.loads((toy_run / "summary.json").read_text())
    assert summary["cost"]["flops"]["total"] == lines[-1]["flops/total"]


def test_a_batch_used_twice_is_trained_on_twice_and_sampled_once(tmp_path):
    options = ("trainer.num_iterations=2", "trainer.steps_per_generation=4", "mix.size=12", "mix.repeats=3", "trainer.beta=0")
    options = [f"++{option}" if option.startswith("trainer.") else option for option in options]
    run(configured("+experiment=mix_easy_hard", *TOY, *options, "scale.steps=4", f"run_dir={tmp_path}/run"))
    lines = metrics(tmp_path / "run")
    sampled = [line["prompt_tokens"] + line["completion_tokens"] for line in lines]
    assert sampled[0] == sampled[3]  # one batch for all four steps
    n = lines[0]["parameters/without_embeddings"]
    assert lines[3]["flops/training"] == 6 * n * 2 * sampled[3]
    assert lines[1]["flops/training"] == lines[3]["flops/training"] / 2 > lines[0]["flops/training"] > 0
    assert lines[3]["flops/old_policy"] == 2 * n * sampled[3] and lines[3]["flops/reference"] == 0
    assert [(line["samples"], line["unique_samples"], line["epochs"]) for line in lines] == [(8, 4, 2.0)] * 4


def test_the_account_survives_a_continued_run():
    first, second = Ledger(), Ledger()
    first.tokens_by_pass |= {"training": 7, "generation": 5}
    second.continue_from(json.loads(json.dumps(first.state_dict())), lost_seconds=0.0)
    second.size = ParameterCount(100, 0)
    assert second.flops()["total"] == 100 * (6 * 7 + 2 * 5)
