"""Passes without needless padding: the same gradients from narrower passes, the same updates, the same metrics."""

import json

import pytest
import torch
from conftest import TIMING_KEYS, TOY, command, configured
from safetensors.torch import load_file

from src.common.types import Stop
from src.experiment.run import run
from src.model.places import EMBEDDED
from src.plan.plan import passes_in_words
from src.training.passes import needed, sorted_passes

UPDATES = 2
# Plain gradient descent, so that a step is its gradient; six passes an update; every pass that there is: the policy's own
# log-probabilities (two updates on the same completions) and the reference's (beta).
WORK = (
    "+experiment=mix_easy_hard", *TOY, f"scale.steps={UPDATES}", "hardware.device_batch_size=4", "lr=constant", "lr.peak=0.1",
    "+trainer.optim=sgd", "+trainer.beta=0.04", "+trainer.num_iterations=2", "~evaluation.suites.chains",
    "evaluation.validation.problems_per_level=1", "evaluation.validation.samples=1", "evaluation.validation.every_steps=100",
    "record.completions_every_steps=100",
)
SORTED = "algorithm.length_sorted=true"
DAPO = "+trainer.loss_type=dapo"
METHODS = {  # of each, what is the same
    "dapo, an update from each half of the completions": (DAPO, "trainer.num_iterations=1", "+trainer.steps_per_generation=12"),
    "dapo, masked": (DAPO, "+trainer.mask_truncated_completions=true", "length.fraction=0.4"),
    "dr_grpo": ("+trainer.loss_type=dr_grpo",),
    "grpo": ("+trainer.loss_type=grpo",),
    "bnpo": (),
    "rloo": ("algorithm=rloo",),
    "leave one out": (
        "algorithm=rloo_efficient", "algorithm.completions_per_prompt=6", "algorithm.prompts_per_step=4",
    ),
    "supervised": (
        "algorithm=sft_shortest", "trainer.beta=0.0", "algorithm.completions_per_prompt=4", "algorithm.prompts_per_step=6",
    ),
}


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def trained(folder, *overrides):
    """How far a run has moved each weight."""
    run(configured(*WORK, *overrides, f"output_root={folder.parent}", f"run_dir={folder}"))
    start = load_file(EMBEDDED["embedded/micro"] / "model.safetensors")
    end = load_file(folder / "checkpoints" / f"checkpoint-{UPDATES}" / "model.safetensors")
    return torch.cat([(end[name] - start[name]).flatten() for name in sorted(end)])


def apart(one, other):
    return ((one - other).norm() / one.norm()).item()


@pytest.fixture
def widths(monkeypatch):
    """Columns of completions in each pass that TRL computes."""
    from trl import GRPOTrainer, RLOOTrainer

    found = []
    for trainer in (GRPOTrainer, RLOOTrainer):
        original = trainer._get_per_token_logps_and_entropies

        def noted(self, model, input_ids, attention_mask, logits_to_keep, *rest, original=original, **more):
            found.append(logits_to_keep)
            return original(self, model, input_ids, attention_mask, logits_to_keep, *rest, **more)

        monkeypatch.setattr(trainer, "_get_per_token_logps_and_entropies", noted)
    return found


@pytest.mark.parametrize("method", METHODS)
def test_the_gradients_are_the_same_from_narrower_passes(method, tmp_path, widths):
    plain = trained(tmp_path / "plain", *METHODS[method])
    padded = max(widths)
    widths.clear()
    narrow = trained(tmp_path / "narrow", *METHODS[method], SORTED)
    assert apart(plain, narrow) < 1e-3 and plain.norm() > 1e-3
    assert sum(widths) / len(widths) < 0.9 * padded
    for one, other in zip(lines(tmp_path / "plain"), lines(tmp_path / "narrow"), strict=True):
        for key in ("loss", "grad_norm", "reward/mean", "accuracy", "completion_tokens/mean"):
            if one[key] is not None:  # further updates sample nothing
                assert one[key] == pytest.approx(other[key], rel=1e-3, abs=1e-5), key


@pytest.mark.parametrize("method", ["bnpo", "leave one out"])
def test_completions_one_by_one_have_no_padding_and_the_same_gradients(method, tmp_path, monkeypatch):
    """As on a GPU where the mask of padded rows would keep sdpa from its flash kernel; here it is decided in its place."""
    from trl import GRPOTrainer

    padded = []
    score = GRPOTrainer._get_per_token_logps_and_entropies

    def noted(self, model, input_ids, attention_mask, *rest, **more):
        padded.append(not bool(attention_mask.all()))
        return score(self, model, input_ids, attention_mask, *rest, **more)

    monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", noted)
    together = trained(tmp_path / "together", *METHODS[method], SORTED)
    assert any(padded)
    padded.clear()
    monkeypatch.setattr("src.training.passes.NarrowPasses._better_alone", lambda self, mask_BT: True)
    assert apart(together, trained(tmp_path / "alone", *METHODS[method], SORTED)) < 1e-3
    assert padded and not any(padded)


def test_a_mean_over_the_tokens_of_a_pass_would_be_another_one(tmp_path, monkeypatch):
    plain = trained(tmp_path / "plain")
    monkeypatch.setattr("src.config.tree.bound_to_passes", lambda fields: None)
    assert apart(plain, trained(tmp_path / "sorted", SORTED)) > 0.01


def test_metrics_are_means_over_the_tokens_of_the_update(tmp_path):
    """As those of one pass with all completions in it, though the tokens of sorted passes are very unequal."""
    trained(tmp_path / "one", DAPO, "hardware.device_batch_size=24")
    trained(tmp_path / "six", DAPO, SORTED)
    for one, six in zip(lines(tmp_path / "one"), lines(tmp_path / "six"), strict=True):
        for key in ("entropy", "kl", "clipped_share"):
            assert one[key] == pytest.approx(six[key], rel=2e-3, abs=1e-6), key
    assert lines(tmp_path / "six")[1]["kl"] > 0


def test_a_run_that_is_continued_ends_in_the_same_metrics(tmp_path):
    def at_two(line, measured):
        return Stop("interrupted", "enough") if line["step"] == 2 else None

    def config(name, *overrides):
        return configured(*WORK, DAPO, SORTED, "scale.steps=4", *overrides, f"output_root={tmp_path}", f"run_dir={tmp_path}/{name}")

    run(config("whole"))
    run(config("halves"), watches=[at_two])
    run(config("halves").model_copy(update={"resume": str(tmp_path / "halves"), "run_dir": None}))
    whole, halves = (
        [{key: value for key, value in line.items() if not key.startswith(TIMING_KEYS)} for line in lines(tmp_path / name)]
        for name in ("whole", "halves")
    )
    assert whole == halves and len(whole) == 4


def test_each_of_two_processes_sorts_its_own_share(tmp_path):
    def of_two(name, *overrides):
        result = command(*WORK, DAPO, *overrides, "hardware.processes=2", f"output_root={tmp_path}", f"run_dir={tmp_path}/{name}",
                         cwd=tmp_path, patience_s=900)
        assert result.returncode == 0, result.stderr[-3000:]
        return [(line["loss"], line["grad_norm"]) for line in lines(tmp_path / name)]

    for plain, narrow in zip(of_two("plain"), of_two("narrow", SORTED), strict=True):
        assert plain == pytest.approx(narrow, rel=1e-3)


def test_sorted_passes_by_hand():
    def a_pass(*lengths):
        masks = [[1] * length + [0] * (4 - length) for length in lengths]
        return {"completion_mask": torch.tensor(masks), "advantages": torch.tensor([float(length) for length in lengths]),
                "num_items_in_batch": torch.tensor(9), "old_per_token_logps": None}

    # Two updates of two passes of two completions: nothing leaves its update.
    found = sorted_passes([a_pass(1, 4), a_pass(2, 3), a_pass(2, 1), a_pass(1, 2)], 2)
    assert [one["advantages"].tolist() for one in found] == [[4, 3], [2, 1], [2, 2], [1, 1]]
    assert [one["completion_mask"].sum(dim=1).tolist() for one in found] == [[4, 3], [2, 1], [2, 2], [1, 1]]
    assert all(one["num_items_in_batch"] == 9 and one["old_per_token_logps"] is None for one in found)


def test_needed_columns_by_hand():
    prompts = [[0, 0, 1], [0, 1, 1]]
    completions = [[1, 1, 0, 0], [1, 0, 0, 0]]
    mask = torch.tensor([prompt + completion for prompt, completion in zip(prompts, completions, strict=True)])
    assert needed(mask, 4, 1) == (slice(1, 5), 2)
    assert needed(torch.cat([torch.zeros(2, 1, dtype=int), mask], dim=1), 4, 4) == (slice(0, 8), 4)  # stay multiples of 4
    nothing = mask.clone()
    nothing[:, 3:] = 0  # all completions masked
    assert needed(nothing, 4, 1) == (slice(1, 4), 1)


def test_what_is_said_of_a_loss_that_sees_the_passes():
    size = ("scale=h200", "+experiment=mix_easy_hard")
    assert configured(*size).padding == "trimmed" and "not sorted: under loss_type=bnpo" in passes_in_words(configured(*size))
    assert configured(*size, DAPO).padding == "sorted" and passes_in_words(configured(*size, DAPO)).endswith("sorted by length")
    assert configured(*size, DAPO, "algorithm.length_sorted=false").padding == "padded"
    assert configured(*size, DAPO, "+trainer.entropy_coef=0.01").padding == "trimmed"
    assert configured("+experiment=efficient", "scale=open_rs").padding == "sorted"
    assert configured().padding == "padded"  # what is published here at micro scale stays as it was
