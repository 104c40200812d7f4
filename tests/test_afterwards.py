"""What a run is for afterwards: asked, exported, listed and compared."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from conftest import configured

import src.commands.runs
from benchmarks.records import write_run
from src.commands.asking import Asked, Question, configurations, verdict
from src.commands.export import export
from src.common.errors import UserError
from src.grading.grader import Grader
from src.model.load import load_model, load_tokenizer, peft_config
from src.record.checkpoints import Checkpoints
from src.record.read import read_run
from src.record.record import Record


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Three finished runs, of which the second gains most and has another reward."""
    root = tmp_path_factory.mktemp("records")
    for place, gain in enumerate((0.05, 0.4, 0.2)):
        settings = {"reward.alpha": 0.3} if place == 1 else {}
        folder = write_run(root / "outputs" / f"run_{place}", gain=gain, seed=place, settings=settings)
        summary = json.loads((folder / "summary.json").read_text())
        summary["evaluation"]["chains"] = {"best": {"accuracy": 0.4 + gain, "gain": {"mean": gain}}}
        (folder / "summary.json").write_text(json.dumps(summary))
    return root / "outputs"


def said(monkeypatch, capsys, *arguments):
    """Exit code, output and errors of `grpo-lab runs` with some arguments."""
    monkeypatch.setattr(sys, "argv", ["grpo-lab runs", *map(str, arguments)])
    code = 0
    try:
        src.commands.runs.main()
    except SystemExit as ended:
        code = ended.code
    return code, *capsys.readouterr()


def test_runs_are_listed_sorted_and_filtered_by_any_key(records, monkeypatch, capsys):
    def order(*arguments):
        shown = said(monkeypatch, capsys, records, *arguments)[1]
        return [word.rpartition("/")[2] for word in shown.split() if "/run_" in word]

    assert order() == ["run_0", "run_1", "run_2"]
    assert order("--sort", "gain") == ["run_1", "run_2", "run_0"] == order("--sort", "accuracy")
    assert order("--where", "reward.alpha=0.3") == ["run_1"] and order("--where", "seed>0", "--sort", "seed", "--reverse") == ["run_1", "run_2"]
    assert order("--where", "status=running") == []
    code, _, error = said(monkeypatch, capsys, records, "--sort", "reward.alhpa")
    assert code == 2 and error.startswith("error: no run has reward.alhpa; did you mean reward.alpha")


def test_two_runs_are_compared_by_what_differs_and_problem_by_problem(records, monkeypatch, capsys):
    code, shown, _ = said(monkeypatch, capsys, "compare", records / "run_0", records / "run_1")
    first, second = (read_run(records / name).final("chains").accuracy_P for name in ("run_0", "run_1"))
    assert code == 0 and "  reward.alpha: 0.1 | 0.3\n" in shown
    row = next(line for line in shown.splitlines() if "chains" in line)
    assert f"{100 * np.mean(second - first):.1f} [" in row


def test_a_run_is_removed_after_a_yes_and_never_one_that_is_needed(records, monkeypatch, capsys, tmp_path):
    run = shutil.copytree(records / "run_0", tmp_path / "run")
    assert said(monkeypatch, capsys, "remove", run)[0] == 2 and run.is_dir()  # nobody is asked, and nobody said --yes
    record = Record(run, {})
    record._take()
    assert "a process is at work" in said(monkeypatch, capsys, "remove", run, "--yes")[2]
    record.close()
    trial = shutil.copytree(run, tmp_path / "sweep" / "trials" / "0000")
    (tmp_path / "sweep" / "sweep.yaml").write_text("")
    assert "its sweep needs" in said(monkeypatch, capsys, "remove", trial, "--yes")[2] and trial.is_dir()
    assert said(monkeypatch, capsys, "remove", run, "--yes")[0] == 0 and not run.exists()


def test_the_best_checkpoint_has_a_name_of_its_own(toy_run):
    summary = read_run(toy_run).summary
    best = toy_run / "checkpoints" / "best"
    assert best.resolve().name == f"checkpoint-{summary['best_step']}"
    assert Checkpoints(toy_run / "checkpoints", kept=2).name_best(summary["best_step"]) == best


def test_a_run_is_exported_with_its_card_and_nothing_of_training(toy_run, tmp_path):
    export(str(toy_run), tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= names
    assert not [name for name in names if name.startswith(("optimizer", "trainer", "lab_state", "checksums"))]
    assert "mix_easy_hard, seed 42" in (tmp_path / "model" / "README.md").read_text()
    with pytest.raises(UserError, match="is there already"):
        export(str(toy_run), tmp_path / "model")
    with pytest.raises(UserError, match="holds no model"):
        export(str(tmp_path / "nothing"), tmp_path / "other")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def test_an_adapter_is_exported_as_one_model_with_its_base(tmp_path):
    import peft

    config = configured("model.lora={rank: 2, alpha: 4}").model
    torch.manual_seed(0)
    adapted = peft.get_peft_model(load_model(config), peft_config(config)).eval()
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    adapted.peft_config["default"].base_model_name_or_path = "embedded/micro"
    adapted.save_pretrained(tmp_path / "adapter")
    export(str(tmp_path / "adapter"), tmp_path / "model")
    whole = load_model(config.model_copy(update={"path": str(tmp_path / "model"), "lora": None})).eval()
    tokens = torch.tensor([load_tokenizer(config)("Work from left to right: 2+3")["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(whole(tokens).logits, adapted(tokens).logits, atol=1e-4, rtol=0)
        assert not torch.allclose(whole(tokens).logits, load_model(config)(tokens).logits, atol=1e-2)


def test_a_runs_model_is_asked_beside_its_base_as_in_its_evaluation(toy_run):
    (asked, other), _ = configurations(str(toy_run), "embedded/micro_1m", [])
    assert asked == other.model.path == "embedded/micro_1m"
    (base, first), (name, second) = configurations(str(toy_run), None, ["evaluation.sampling.temperature=0"])
    assert (base, name) == ("embedded/micro", str(toy_run))
    assert second.model.path == str(toy_run / "checkpoints" / f"checkpoint-{read_run(toy_run).summary['best_step']}")
    assert first.evaluation == second.evaluation and first.evaluation.suites["chains"].pool.count == 8  # as the run had it
    question = Question("Work from left to right: 2+3", "5", samples=2, seed=0)
    with Grader(1) as grader:
        one, two = Asked(name, second).answers(question, grader)
    assert one.text == two.text and "\\boxed{" in one.text  # at temperature 0
    assert verdict(one, "5").startswith("read: 5, right; ") == one.verdict.correct
    assert ", right" not in verdict(one, None) and ", wrong" not in verdict(one, None)


def test_a_model_without_a_run_is_asked_with_the_keys_of_a_command_line(tmp_path):
    [(name, config)] = configurations("embedded/micro", None, ["prompt=boxed"])
    assert (name, config.model.path, config.prompt) == ("embedded/micro", "embedded/micro", configured("prompt=boxed").prompt)
