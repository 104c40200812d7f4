"""A run from the command line to its record: what it leaves, that it repeats exactly, and that it can be continued."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml
from conftest import TIMING_KEYS, TOY, configured

from src.common.errors import UserError
from src.common.files import write_json
from src.experiment.run import run
from src.record.ledger import PHASES
from src.record.record import read_summary


def metrics(folder):
    """metrics.jsonl without what the clock decides."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith(TIMING_KEYS)} for line in lines]


def rows(folder, name):
    return pd.read_parquet(folder / "evaluation" / f"{name}.parquet")


def test_the_record_is_complete(toy_run):
    summary = read_summary(toy_run)
    assert summary["status"] == "complete"
    assert (summary["experiment"], summary["scale"], summary["seed"]) == ("mix_easy_hard", "micro", 42)
    after = summary["evaluation"]["validation"]["after"]
    assert after["ci_low"] <= after["accuracy"] <= after["ci_high"]
    assert (after["problems"], after["samples"]) == (12, 2)
    assert after["gain"]["mean"] == pytest.approx(
        after["accuracy"] - summary["evaluation"]["validation"]["before"]["accuracy"]
    )
    assert set(summary["cost"]["seconds"]) == set(PHASES)
    assert summary["objective"] == summary["evaluation"]["validation"]["best"]["accuracy"]
    assert summary["versions"]["trl"] and summary["commit"]

    config = yaml.safe_load((toy_run / "config.yaml").read_text())
    assert config["choices"]["mix"] == "easy_hard" and config["scale"]["steps"] == 4

    trained_on = pd.read_parquet(toy_run / "problems.parquet")
    assert list(trained_on.columns) == ["id", "question", "answer", "level", "pass_rate", "source"]
    assert len(trained_on) == 4 * 4  # steps x prompts

    samples = pd.read_parquet(toy_run / "completions" / "step_00002.parquet")
    assert len(samples) == 24 and {"text", "reward/accuracy", "reward/format"} <= set(samples.columns)
    assert (toy_run / "checkpoints" / "checkpoint-4" / "model.safetensors").is_file()


def test_evaluation_rows_add_up_to_the_summary(toy_run):
    after = rows(toy_run, "validation_after")
    assert {"problem_id", "level", "sample", "correct", "tokens", "truncated", "format", "language"} <= set(after.columns)
    figures = read_summary(toy_run)["evaluation"]["validation"]["after"]
    assert after["correct"].mean() == pytest.approx(figures["accuracy"])
    assert after["tokens"].mean() == pytest.approx(figures["mean_tokens"])


def test_nothing_trained_on_is_measured(toy_run):
    trained_on = set(pd.read_parquet(toy_run / "problems.parquet")["id"])
    for name in ("validation_before", "chains_after"):
        assert not trained_on & set(rows(toy_run, name)["problem_id"])


def test_each_step_has_its_numbers(toy_run):
    lines = metrics(toy_run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    for line in lines:
        assert line["length_limit"] == 112  # 7/8 of 128
        assert line["reward/mean"] == pytest.approx(
            line["reward/format/mean"] + 2 * line["reward/accuracy/mean"], abs=1e-5
        )
        assert line["reward/accuracy/mean"] == pytest.approx(line["accuracy"])
        assert line["completion_tokens/max"] <= 112
        assert line["kl"] is not None and line["entropy"] > 0 and line["grad_norm"] > 0
    assert [("validation/accuracy" in line) for line in lines] == [False, True, False, True]


def test_the_same_seed_gives_the_same_metrics(toy_run, tmp_path):
    run(configured("+experiment=mix_easy_hard", *TOY, f"output_root={tmp_path}", f"run_dir={tmp_path}/again"))
    assert metrics(tmp_path / "again") == metrics(toy_run)


def test_another_seed_gives_other_metrics(toy_run, tmp_path):
    run(configured("+experiment=mix_easy_hard", *TOY, "seed=7", "scale.steps=1", f"output_root={tmp_path}", f"run_dir={tmp_path}/b"))
    assert metrics(tmp_path / "b")[0] != metrics(toy_run)[0]


def start(tmp_path, *arguments):
    """A run in a process of its own, once it has done two steps."""
    process = subprocess.Popen(
        [sys.executable, "-m", "src.run", "+experiment=mix_easy_hard", *TOY, "scale.steps=8",
         f"output_root={tmp_path}", f"run_dir={tmp_path}/run", *arguments],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    path = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (path.is_file() and path.read_text().count("\n") >= 3):
        assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
        time.sleep(0.02)
    return process


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run(configured("+experiment=mix_easy_hard", *TOY, "scale.steps=8", f"output_root={folder}", f"run_dir={folder}/run"))
    return folder / "run"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_ended_goes_on_as_if_nothing_had_happened(number, command_here, tmp_path, undisturbed):
    process = start(tmp_path)
    process.send_signal(number)
    output, _ = process.communicate(timeout=300)
    status = read_summary(tmp_path / "run")["status"]
    if number == signal.SIGINT:
        assert (process.returncode, status) == (130, "interrupted")
        assert "resume=" in output
    else:
        assert status == "running"  # nobody was there to write another
    result = command_here(f"resume={tmp_path}/run")
    assert result.returncode == 0, result.stderr
    assert metrics(tmp_path / "run") == metrics(undisturbed)
    assert rows(tmp_path / "run", "chains_after").equals(rows(undisturbed, "chains_after"))


def test_a_complete_run_is_not_continued(toy_run):
    with pytest.raises(UserError, match="is complete"):
        run(configured(*TOY).model_copy(update={"resume": str(toy_run)}))


def test_resume_with_another_config_is_refused(toy_run, command_here, tmp_path):
    unfinished = shutil.copytree(toy_run, tmp_path / "run")
    write_json(unfinished / "summary.json", read_summary(toy_run) | {"status": "running"})
    result = command_here(f"resume={unfinished}", "seed=3")
    assert result.returncode == 2
    assert "ran with another" in result.stderr and "seed" in result.stderr


def test_a_run_that_diverges_fails_in_words_and_keeps_the_last_good_checkpoint(command_here, tmp_path):
    result = command_here(
        "+experiment=mix_easy_hard", *TOY, "lr.peak=1e30", "trainer.max_grad_norm=1e30",  # the warm-up's first step is 0
        "record.checkpoint_every_steps=1", f"output_root={tmp_path}", f"run_dir={tmp_path}/run",
    )
    summary = read_summary(tmp_path / "run")
    assert (result.returncode, summary["status"]) == (1, "failed")
    assert "not finite" in summary["reason"] and summary["cost"]["seconds"]["rollout"] > 0
    assert result.stderr.strip() == f"error: {summary['reason']}"
    assert (tmp_path / "run" / "checkpoints" / "checkpoint-1" / "model.safetensors").is_file()


def test_output_folder_that_cannot_be_written(command_here, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = command_here(*TOY, "output_root=file")
    assert result.returncode == 2 and "cannot write" in result.stderr and result.stderr.count("\n") == 1
