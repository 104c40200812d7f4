"""On-policy distillation: a larger embedded model teaches a smaller one."""

import json

import pytest
import torch
from conftest import TINY, composed, configured
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from src.common.errors import UserError
from src.common.types import Stop
from src.config.tree import parse
from src.experiment.run import run
from src.micro import WEIGHTS
from src.micro.ladder import CACHE_VARIABLE, LADDER, place
from src.model.load import load_tokenizer
from src.training.distill import LabDistillationTrainer


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A model of one layer that has learnt nothing, with the embedded model's tokens."""
    from transformers import AutoConfig

    from src.model.places import EMBEDDED

    folder, shape = tmp_path_factory.mktemp("small") / "student", AutoConfig.from_pretrained(EMBEDDED["embedded/micro"])
    shape.update({"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 1, "num_key_value_heads": 1,
                  "head_dim": 32, "layer_types": shape.layer_types[:1]})  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(shape).save_pretrained(folder)
    load_tokenizer(configured().model).save_pretrained(folder)
    return folder


TAUGHT = ("algorithm=distill", "algorithm.teacher=embedded/micro")


def asked(small, folder, name: str, *changes: str) -> tuple[str, ...]:
    return (
        *TAUGHT, *TINY, f"model.path={small}", "algorithm.completions_per_prompt=3", "lr=constant",
        "algorithm.prompts_per_step=8", "hardware.device_batch_size=12", "scale.steps=8", "scale.completion_budget=24", "lr.peak=1e-2",
        "evaluation.validation.problems_per_level=1", "evaluation.validation.every_steps=8", "record.checkpoint_every_steps=4",
        "~evaluation.suites.chains", *changes, f"output_root={folder}", f"run_dir={folder}/{name}",
    )  # fmt: skip


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def taught(small, tmp_path_factory):
    """A finished run and its trainer."""
    folder, found, attach = tmp_path_factory.mktemp("taught"), [], LabDistillationTrainer.attach
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LabDistillationTrainer, "attach", lambda self, harness: (found.append(self), attach(self, harness))[1])
        summary = run(configured(*asked(small, folder, "whole")))
    return folder / "whole", summary, found[0]


def test_the_policy_comes_closer_to_its_teacher_and_the_record_is_that_of_any_run(taught):
    folder, summary, trainer = taught
    found = lines(folder)
    losses = [line["loss"] for line in found]
    assert sum(losses[4:]) / 4 < losses[0] - 0.3  # nats a token
    assert [line["length_limit"] for line in found] == [24] * 8 and all(line["advantage/max"] == 0 for line in found)
    assert {"reward/accuracy/mean", "accuracy", "entropy", "truncated_share", "validation/accuracy"} <= found[-1].keys()
    assert summary["status"] == "complete" and summary["evaluation"]["validation"]["after"]["problems"] == 2
    # Three completions of each prompt, next to each other.
    assert [problem.id for problem in trainer.rollout.problems[::3]] == [problem.id for problem in trainer.rollout.problems[1::3]]
    assert found[-1]["flops/reference"] > 5 * found[-1]["flops/generation"]  # a pass of the teacher costs what the teacher's size costs


def test_the_loss_is_the_divergence_from_the_teacher_worked_out_token_by_token(taught):
    trainer = taught[2]
    ids, mask = torch.tensor([[5, 6, 9, 10, 11], [7, 8, 12, 13, 3]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    inputs = {
        "prompt_ids": ids[:, :2], "prompt_mask": torch.ones(2, 2, dtype=torch.long), "completion_ids": ids[:, 2:], "completion_mask": mask,
        "num_items_in_batch": torch.tensor(5.0),
    }  # fmt: skip
    model = trainer.model.train()
    policy, teacher = (each(ids).logits[:, 1:-1].log_softmax(-1).detach() for each in (model, trainer.teacher_model))
    by_token = (policy.exp() * (policy - teacher)).sum(-1)  # KL from the policy, beta 1
    expected = (by_token * mask).sum() / 5
    assert trainer.compute_loss(model, inputs).item() == pytest.approx(expected.item(), rel=1e-3)


def test_a_continued_run_is_the_uninterrupted_one(taught, small, tmp_path):
    part = asked(small, tmp_path, "part")
    run(configured(*part), watches=[lambda line, measured: Stop("interrupted", "a test") if line["step"] == 4 else None])
    run(configured(*part, f"resume={tmp_path}/part"))
    whole, continued = (load_file(folder / "checkpoints" / "checkpoint-8" / "model.safetensors") for folder in (taught[0], tmp_path / "part"))
    assert all(torch.equal(whole[name], continued[name]) for name in whole)


def test_a_larger_model_of_the_ladder_teaches_a_smaller_one(tmp_path, monkeypatch):
    """By name. Both have random weights here: to pre-train them takes minutes."""
    from transformers import Qwen2Config

    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    tokenizer, micro = load_tokenizer(configured().model), json.loads((WEIGHTS / "config.json").read_text())
    for name in ("embedded/micro_0_05m", "embedded/micro_1m"):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(Qwen2Config(**LADDER[name].config(micro))).save_pretrained(place(name))
        tokenizer.save_pretrained(place(name))
    changes = ("model=micro_0_05m", "algorithm=distill", "algorithm.teacher=embedded/micro_1m", "~evaluation.suites.chains", "lr.peak=1e-2")
    summary = run(configured(*TINY, *changes, "lr=constant", "scale.steps=4", f"output_root={tmp_path}", f"run_dir={tmp_path}/run"))
    found = lines(tmp_path / "run")
    assert summary["status"] == "complete" and found[-1]["loss"] < found[0]["loss"]
    assert found[-1]["flops/reference"] > 10 * found[-1]["flops/generation"]


def test_after_reinforcement_learning_it_goes_on_from_the_runs_weights(small, tmp_path, monkeypatch):
    begins, attach = [], LabDistillationTrainer.attach
    monkeypatch.setattr(
        LabDistillationTrainer, "attach",
        lambda self, harness: (begins.append([weight.clone() for weight in self.model.parameters()]), attach(self, harness))[1],
    )  # fmt: skip
    rl = ("lr.peak=1e-3", "lr=constant", "~evaluation.suites.chains", f"output_root={tmp_path}")
    run(configured(*TINY, *rl, f"run_dir={tmp_path}/rl"))
    learnt = tmp_path / "rl" / "checkpoints" / "checkpoint-2"
    summary = run(configured(*asked(small, tmp_path, "after", f"model.path={learnt}", "scale.steps=1", "algorithm.teacher=embedded/micro")))
    assert summary["status"] == "complete"
    base, kept = (AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).parameters() for folder in (WEIGHTS, learnt))
    assert all(map(torch.equal, begins[0], kept)) and not all(map(torch.equal, begins[0], base))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["algorithm=distill"], "distillation needs one"),
        (["++algorithm.teacher=embedded/micro"], "no other trainer has one"),
        (["algorithm.completions_per_prompt=1"], "at least 2"),
        ([*TAUGHT, "++algorithm.settings.epsilon=0.2"], "TRL has no such field"),
        ([*TAUGHT, "hardware.sharding=fsdp2"], "under fsdp2 has not been tried"),
    ],
)
def test_what_does_not_go_together_is_said(changes, says):
    with pytest.raises(UserError, match=says):
        parse(composed(*changes))


def test_a_teacher_that_is_not_there_or_reads_other_tokens_is_named_before_anything_is_written(small, tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    with pytest.raises(UserError, match=r"algorithm.teacher: \./nothing holds no model"):
        run(configured(*asked(small, tmp_path, "run", "algorithm.teacher=./nothing")))
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "1": 1, "+": 2, "?": 3}, unk_token="?")), chat_template="x")
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "config.json").write_text((small / "config.json").read_text())
    other.save_pretrained(tmp_path / "teacher")
    with pytest.raises(UserError, match="algorithm.teacher: .* has other tokens than"):
        run(configured(*asked(small, tmp_path, "run", f"algorithm.teacher={tmp_path}/teacher")))
    assert not (tmp_path / "run").exists()
