"""Supervised training on the shortest correct completions: which ones, and what a run learns from them."""

import json

import pytest
import torch
from conftest import TOY, composed, configured
from safetensors.torch import load_file

from src.common.errors import RunFailed, UserError
from src.config.tree import parse
from src.experiment.run import run
from src.training.shortest_correct import shortest_correct

SHORTEST = (
    *TOY, "algorithm=sft_shortest", "reward=efficient", "reward.alpha=0.0", "algorithm.completions_per_prompt=4",
    "algorithm.prompts_per_step=6", "hardware.device_batch_size=24", "lr=constant", "lr.peak=2e-4",
)


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_shortest_correct_completion_of_each_prompt():
    correct = [True, True, False, False, False, False, False, True, True]
    assert shortest_correct(correct, [9, 5, 1, 2, 2, 2, 7, 8, 8], 3) == [1, None, 7]


def test_the_base_samples_and_the_policy_learns(tmp_path):
    run(configured(*SHORTEST, "scale.steps=8", f"output_root={tmp_path}", f"run_dir={tmp_path}/one"))
    found = lines(tmp_path / "one")
    losses = [line["loss"] for line in found]
    # The second update on the same demonstrations; AdamW's very first step is too long.
    assert all(losses[step + 1] < losses[step] for step in (2, 4, 6))
    # All prompts are sampled for four times each, one completion of each is learnt.
    learnt, sampled = found[-1]["flops/training"] / 6 / 2, found[-1]["flops/generation"] / 2
    assert learnt < 0.35 * sampled
    # Samples are the base's whatever was learnt: a run that learns nothing has the same ones.
    run(configured(*SHORTEST, "scale.steps=8", "lr.peak=1e-12", f"output_root={tmp_path}", f"run_dir={tmp_path}/still"))
    for ours, base in zip(found, lines(tmp_path / "still"), strict=True):
        assert ours["completion_tokens/mean"] == base["completion_tokens/mean"] and ours["accuracy"] == base["accuracy"]
    assert found[-1]["loss"] < lines(tmp_path / "still")[-1]["loss"]


def test_a_continued_run_is_the_uninterrupted_one(tmp_path):
    def at(name):
        return (*SHORTEST, f"output_root={tmp_path}", f"run_dir={tmp_path}/{name}")

    run(configured(*at("whole")))
    run(configured(*at("part")), watches=[lambda line, measured: _stop(line)])
    assert len(lines(tmp_path / "part")) == 2
    run(configured(*at("part"), f"resume={tmp_path}/part"))
    weights = [load_file(tmp_path / name / "checkpoints" / "checkpoint-4" / "model.safetensors") for name in ("whole", "part")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_nothing_to_learn_from_is_said(tmp_path):
    with pytest.raises(RunFailed, match="none of the 24 completions of the first 6 prompts is correct"):
        run(configured(*SHORTEST, "length.fraction=0.02", f"output_root={tmp_path}", f"run_dir={tmp_path}/run"))


def _stop(line):
    from src.common.types import Stop

    return Stop("interrupted", "a test") if line["step"] == 2 else None


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("algorithm.settings.beta=0.1", "no KL"),
        ("algorithm.trainer=rloo ~algorithm.settings.loss_type ~algorithm.settings.vllm_importance_sampling_correction", "trainer: grpo"),
        ("hardware.device_batch_size=6", "no multiple"),
        ("hardware.sharding=fsdp2", "zero2"),
    ],
)
def test_what_does_not_go_together_is_said(override, words):
    with pytest.raises(UserError, match=words):
        parse(composed(*SHORTEST, *override.split()))
