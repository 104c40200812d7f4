"""RLOO's advantages in GRPO's trainer: worked by hand, and what a run makes of them."""

import json

import pytest
import torch
from conftest import TOY, composed, configured

from src.common.errors import UserError
from src.config.tree import parse
from src.experiment.run import run
from src.training.leave_one_out import Scored, leave_one_out

REWARDS = [1.0, 0.0, 0.0, 0.9, 0.6, 0.6]  # of two prompts, three completions each
PENALTIES = [0.0, 0.0, 0.3, 0.0, 0.0, 0.0]
STD = (1 / 3) ** 0.5  # of 1, 0, 0; that of 0.9, 0.6, 0.6 is 0.3 of it


def scored(penalties=PENALTIES, tokens=(1,) * 6) -> Scored:
    return Scored(torch.tensor(REWARDS), torch.tensor(penalties), torch.tensor(tokens), 3)


@pytest.mark.parametrize(
    ("scale", "penalties", "expected"),
    [
        # The first completion: 1 less the mean of the other two.
        ("none", [0.0] * 6, [1.0, -0.5, -0.5, 0.3, -0.15, -0.15]),
        # 1 - (0 - 0.3) / 2, 0 - (1 - 0.3) / 2, -0.3 - (1 + 0) / 2
        ("none", PENALTIES, [1.15, -0.35, -0.8, 0.3, -0.15, -0.15]),
        # Both prompts weigh the same now, whatever lies between their rewards; the penalty stays what it was.
        ("group", PENALTIES, [1 / STD + 0.15, -0.5 / STD + 0.15, -0.5 / STD - 0.3, 1 / STD, -0.5 / STD, -0.5 / STD]),
    ],
)
def test_advantages(scale, penalties, expected):
    found = leave_one_out(scored(penalties=penalties), scale)
    assert found.tolist() == pytest.approx(expected, abs=2e-3)  # the 1e-4 beside the std


def test_whitened_over_the_tokens_of_the_batch():
    """As if each token were a row of its own: a completion of three tokens counts three times."""
    tokens = [1, 3, 2, 1, 1, 4]
    plain = leave_one_out(scored(), "none").repeat_interleave(torch.tensor(tokens))
    by_token = leave_one_out(scored(tokens=tokens), "batch").repeat_interleave(torch.tensor(tokens))
    assert by_token.tolist() == pytest.approx(((plain - plain.mean()) / plain.std(correction=0)).tolist(), abs=1e-3)
    assert by_token.mean().item() == pytest.approx(0, abs=1e-6)
    assert leave_one_out(scored(), "batch")[0] != pytest.approx(by_token[0].item(), abs=0.05)  # over completions it is another


def test_the_kl_is_in_the_reward_and_not_in_the_loss(tmp_path):
    def lines(name: str, *overrides: str) -> list[dict]:
        run(configured(
            *TOY, "algorithm=rloo_efficient", "algorithm.completions_per_prompt=6", "algorithm.prompts_per_step=4",
            "hardware.device_batch_size=24", "lr=constant", "lr.peak=1e-3", *overrides,
            f"output_root={tmp_path}", f"run_dir={tmp_path}/{name}",
        ))
        return [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]

    weak, strong = lines("weak"), lines("strong", "algorithm.settings.beta=100.0")
    # At the start there is no KL. Once there is, a loss with it would differ at the second update, from the other half of the same batch.
    assert weak[0]["kl"] == 0 and weak[2]["kl"] > 0 and weak[1]["loss"] == strong[1]["loss"]
    assert weak[2]["kl"] == strong[2]["kl"] and strong[2]["advantage/std"] > 3 * weak[2]["advantage/std"]
    assert strong[3]["loss"] != weak[3]["loss"]


def test_what_does_not_go_together_is_said():
    with pytest.raises(UserError, match="needs two updates a batch"):
        parse(composed("algorithm=rloo_efficient", "algorithm.settings.generation_batch_size=null"))
    with pytest.raises(UserError, match="goes with trainer: grpo"):
        parse(composed("algorithm=rloo", "+algorithm.advantages=leave_one_out"))
