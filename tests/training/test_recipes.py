"""The algorithms of recent papers: each runs, and its advantages and its loss are those worked out by hand."""

import json
from math import sqrt

import pytest
import torch
from conftest import TINY, composed, configured
from safetensors.torch import load_file

from src.common.errors import UserError
from src.common.types import Stop
from src.config.tree import parse
from src.experiment.run import run
from src.training.group_advantages import of_prompts, over_the_mean
from src.training.reference import FILE
from src.training.trainer import LabTrainerMixin

# Rewards of three prompts, four completions each, over and over.
TERMS = """
def first(batch, config):
    return [[1.0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0][n % 12] for n in range(len(batch.completions))]

def second(batch, config):
    return [[0.0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0][n % 12] for n in range(len(batch.completions))]
"""
SMALL = (
    *TINY, "~evaluation.suites.chains", "algorithm.completions_per_prompt=4", "algorithm.prompts_per_step=3", "hardware.device_batch_size=12", "reward=accuracy",
    "evaluation.validation.problems_per_level=1", "evaluation.validation.samples=1", "evaluation.validation.every_steps=2",
    "length.fraction=0.08",  # 4 tokens, too few to end: all completions are of one length
)  # fmt: skip
H = sqrt(0.75)  # 0.5 over the std of 1, 1, 0, 0
GROUP = [1.5, -0.5, -0.5, -0.5, H, H, -H, -H, 0, 0, 0, 0]  # the std of 1, 0, 0, 0 is 0.5
MEAN = [0.75, -0.25, -0.25, -0.25, 0.5, 0.5, -0.5, -0.5, 0, 0, 0, 0]  # over the prompt's
BOTH = [1.25, 0.25, -0.75, -0.75, H, H, -H, -H, 0.75, -0.25, -0.25, -0.25]  # GROUP and half of the second term's
# Advantages as a function of n, the completions of a batch, and the ratios between which a token is clipped.
BY_HAND = {
    "cispo": (lambda n: GROUP, (0, 5.0)),
    "justrl": (lambda n: GROUP, (0.8, 1.28)),
    "prorl": (lambda n: GROUP, (0.8, 1.4)),
    "maxrl": (lambda n: [3, -1, -1, -1, 1, 1, -1, -1, 0, 0, 0, 0], (0.8, 1.2)),
    "gdpo": (lambda n: [x / sqrt(6.5 / 12 * n / (n - 1)) for x in BOTH], (0.8, 1.2)),
    "lite_ppo": (lambda n: [x / sqrt(3 / 16 * n / (n - 1)) for x in MEAN], (0.8, 1.2)),  # a quarter of the rewards is 1
    "reinforce_pp": (lambda n: [(x - 0.25) / sqrt(3 / 16) for x in [1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]], (0.8, 1.2)),
    # Two of three prompts count, so each completion by 1.5; 8 of 12 are in the std.
    "scale_rl": (lambda n: [1.5 * x / sqrt(1.75 / 8 * (2 * n / 3) / (2 * n / 3 - 1)) for x in MEAN], (0, 5.0)),
}  # fmt: skip


@pytest.fixture
def trainers(tmp_path, monkeypatch):
    """The trainers of the runs of a test, and a file of rewards in the folder where it is."""
    (tmp_path / "fixed.py").write_text(TERMS)
    monkeypatch.chdir(tmp_path)
    found, attach = [], LabTrainerMixin.attach
    monkeypatch.setattr(LabTrainerMixin, "attach", lambda self, harness: (found.append(self), attach(self, harness))[1])
    return found


def asked(algorithm: str, *changes: str, folder: str = "run") -> tuple[str, ...]:
    terms = ("first", "second") if algorithm == "gdpo" else ("first",)
    return (
        f"algorithm={algorithm}", *SMALL, "reward.weights.accuracy=0", *(f"++reward.terms.{term}=fixed.py:{term}" for term in terms),
        "++reward.weights.second=0.5" if algorithm == "gdpo" else "seed=1", *changes, "output_root=out", f"run_dir={folder}",
    )  # fmt: skip


@pytest.mark.parametrize("algorithm", BY_HAND)
def test_advantages_and_loss_are_those_worked_out_by_hand(algorithm, trainers):
    run(configured(*asked(algorithm)))
    [trainer], (advantages, (low, high)) = trainers, BY_HAND[algorithm]
    found = trainer.rollout.advantages_B
    assert found == pytest.approx(advantages(len(found)) * (len(found) // 12), abs=2e-3)  # the 1e-4 beside a std

    ratios, signs = torch.tensor([[0.5, 1.0, 1.3, 6.0]] * 2), torch.tensor([1.0, -1.0])
    inputs = {
        "prompt_ids": torch.tensor([[5, 6], [7, 8]]), "prompt_mask": torch.ones(2, 2, dtype=torch.long), "advantages": signs,
        "completion_ids": torch.tensor([[9, 10, 11, 12]] * 2), "completion_mask": torch.ones(2, 4, dtype=torch.long),
        # Of the batch, of which this is a pass's part.
        "num_items_in_batch": torch.tensor(8.0) * trainer.args.steps_per_generation / trainer.current_gradient_accumulation_steps,
    }  # fmt: skip
    model = trainer.model.train()
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    logps = trainer._get_per_token_logps_and_entropies(model, ids, torch.ones_like(ids), 4)[0].detach()
    inputs |= {"old_per_token_logps": logps - ratios.log(), "ref_per_token_logps": logps}
    if trainer.loss_type == "cispo":
        expected = -(ratios.clamp(max=high) * signs[:, None] * logps).sum() / 8
    else:
        expected = (-ratios[0].clamp(max=high).sum() + ratios[1].clamp(min=low).sum()) / 8
    assert trainer._compute_loss(model, inputs).item() == pytest.approx(expected.item(), rel=1e-4)


def test_longer_completions_do_not_count_more_under_scale_rl():
    rewards, tokens = torch.tensor([1.0, 0, 1, 0, 1, 1]), torch.tensor([1, 1, 8, 8, 3, 3])
    found = of_prompts(rewards, tokens, 2)
    # 24 tokens, of two prompts that count 12 each: times 12 / 2 and 12 / 16; 0.5 over the std of 0.5, -0.5, 0.5, -0.5.
    assert found.tolist() == pytest.approx([6 * H, -6 * H, 0.75 * H, -0.75 * H, 0, 0], abs=5e-3)
    assert of_prompts(torch.ones(4), tokens[:4], 2).tolist() == [0.0] * 4


def test_a_prompt_without_a_reward_above_0_teaches_nothing_under_maxrl():
    assert over_the_mean(torch.tensor([0.0, 0, -1, 0.5, 2, 0]), 2).tolist() == [0, 0, 0, 0, 1, -1]


def test_the_reference_is_set_to_the_policy_and_a_continued_run_goes_on_with_it(trainers, tmp_path):
    moving = ("algorithm.settings.ref_model_sync_steps=2", "algorithm.settings.generation_batch_size=null", "algorithm.settings.beta=1.0",
              "scale.steps=4", "lr=constant", "lr.peak=1e-3")  # fmt: skip
    run(configured(*asked("prorl", *moving, folder="whole")))
    reference, policy = (load_file(tmp_path / "whole" / "checkpoints" / "checkpoint-4" / name) for name in (FILE, "model.safetensors"))
    assert all(torch.equal(reference[name], policy[name]) for name in {*reference} & {*policy})  # step 4 is a reset too
    kl = [json.loads(line)["kl"] for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert kl[0] == kl[2] == 0 and kl[1] > 0 and kl[3] > 0
    states = [torch.load(tmp_path / "whole" / "checkpoints" / f"checkpoint-{step}" / "optimizer.pt", weights_only=True)["state"] for step in (3, 4)]
    assert {int(each["step"]) for each in states[0].values()} == {1} and not states[1]  # the optimiser began anew at steps 2 and 4

    stop = asked("prorl", *moving, folder="part")
    run(configured(*stop), watches=[lambda line, measured: Stop("interrupted", "a test") if line["step"] == 3 else None])
    run(configured(*stop, "resume=part"))
    whole, part = (load_file(tmp_path / name / "checkpoints" / "checkpoint-4" / "model.safetensors") for name in ("whole", "part"))
    assert all(torch.equal(whole[name], part[name]) for name in whole)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["algorithm=scale_rl", "algorithm.settings.loss_type=dr_grpo"], "choose cispo or dapo"),
        (["algorithm=reinforce_pp", "algorithm.settings.scale_rewards=none"], "set batch, not none"),
        (["algorithm=reinforce_pp", "algorithm.settings.beta=0.1"], "needs two updates a batch"),
        (["algorithm=prorl", "algorithm.settings.beta=0"], "without a KL there is no reference"),
        (["algorithm=prorl", "algorithm.settings.sync_ref_model=false"], "reset_optimizer: it comes with a reference that moves"),
        (["algorithm=prorl", "model.lora={rank: 2, alpha: 4}"], "the reference of adapters is their base"),
    ],
)
def test_what_does_not_go_together_is_said(changes, says):
    with pytest.raises(UserError, match=says):
        parse(composed(*changes))
