"""Models measured without training: what a run has measured is not measured again, and the report compares them."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from conftest import TOY, configured, tables_of

from src.common.errors import UserError
from src.common.screen import Screen
from src.evaluate import configurations
from src.experiment.measuring import measure_models
from src.plan.pilots import pilots
from src.report.analysis import analyse
from src.report.page import write_report
from src.rollout.in_process import TransformersEngine


@pytest.fixture
def calls(monkeypatch) -> list[int]:
    """How many samples of a problem each call of the engine asked for."""
    asked: list[int] = []
    generate = TransformersEngine.generate

    def counted(self, prompts_P, samples, **rest):
        asked.append(samples)
        return generate(self, prompts_P, samples, **rest)

    monkeypatch.setattr(TransformersEngine, "generate", counted)
    return asked


def measured(*arguments):
    return measure_models(configurations(arguments), Screen(quiet=True))


def test_a_base_and_a_runs_best_that_the_run_measured_are_compared_without_sampling(toy_run, tmp_path, calls):
    arguments = [text for text in TOY if not text.startswith("record.")]
    folders = measured("embedded/micro", str(toy_run), *arguments, "+experiment=mix_easy_hard", f"output_root={toy_run.parent}")
    assert calls == []
    for folder, when in zip(folders, ("before", "best"), strict=True):
        there = toy_run / "evaluation" / f"chains_{when}.parquet"
        there = there if there.is_file() else toy_run / "evaluation" / "chains_after.parquet"
        assert pd.read_parquet(folder / "evaluation" / "chains_measured.parquet").equals(pd.read_parquet(there))
    known = pilots(configured("+experiment=mix_easy_hard", *arguments, f"output_root={toy_run.parent}"))
    assert known["chains"].source.startswith("table: ")  # what was only measured says nothing of recipes
    analysis = analyse([toy_run, *folders])
    assert len(analysis.runs) == 1 and not analysis.left_out and not analysis.unfinished
    (pair,) = tables_of(analysis)["model_pairs"].rows
    assert {pair[1].text, pair[2].text} == {"embedded/micro", str(toy_run)}
    summary = json.loads((toy_run / "summary.json").read_text())["evaluation"]["chains"]
    assert abs(pair[3].value) == pytest.approx(100 * abs(summary["best"]["gain"]["mean"]), abs=1e-4)
    page = write_report(analyse(folders), tmp_path / "report").read_text(encoding="utf-8")
    assert "2 models measured without training" in page and "Models against each other" in page


def test_models_measured_in_other_ways_are_not_compared(tmp_path):
    few = ("evaluation.suites.chains.pool.count=4", "evaluation.suites.chains.samples=1", "~evaluation.suites.chains_long")
    one = measured("embedded/micro", *few, f"output_root={tmp_path}")
    other = measured("model.path=embedded/micro", *few, "evaluation.reader=last_expression", f"output_root={tmp_path}")
    analysis = analyse([*one, *other])
    assert len(analysis.models) == 2 and not any(group.pairs for group in analysis.models)


def test_what_is_no_model_is_said_before_anything_is_measured(tmp_path):
    with pytest.raises(UserError, match="model.path: no embedded model embedded/micr;"):
        measured("embedded/micro", "embedded/micr", f"output_root={tmp_path}")
    with pytest.raises(UserError, match="plan: of a run alone"):
        configurations(["embedded/micro", "plan=true"])
    with pytest.raises(UserError, match="--all: no such option"):
        configurations(["embedded/micro", "--all"])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text('{"status": "running"}')
    with pytest.raises(UserError, match="has no checkpoint of its best step"):
        configurations([str(tmp_path / "run")])
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_models_are_named_by_themselves_or_in_a_list_or_by_their_option():
    assert [name for name, _ in configurations(["a/b", "model.path=./c,d", "evaluation=open_rs"])] == ["a/b", "./c", "d"]
    ((name, config),) = configurations(["model=smollm2_135m", "~evaluation.suites.chains_long"])
    assert name == config.model.path and list(config.evaluation.suites) == ["chains"]


def test_a_misspelt_key_is_one_line_and_exit_code_2(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "src.evaluate", "evaluation.raeder=boxed"], cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 2 and ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1
    assert "did you mean reader?" in ended.stderr


ROUNDS = (
    "evaluation.suites.chains.pool.count=12", "evaluation.suites.chains.samples=12", "~evaluation.suites.chains_long",
    "evaluation.until.samples_per_round=2",
)  # fmt: skip


def test_a_kill_in_the_middle_of_an_evaluation_loses_one_round(tmp_path, calls):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "src.evaluate", "embedded/micro", *ROUNDS, f"output_root={killed}"]
    process = subprocess.Popen(command, cwd=tmp_path, env=dict(os.environ), stdout=subprocess.DEVNULL)
    deadline, cache = time.monotonic() + 240, killed / ".cache" / "evaluation"
    while len(list(cache.glob("[!.]*.parquet"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list(cache.glob("[!.]*.parquet")))
    assert 2 <= kept < 6, "it was not killed in the middle"
    (again,) = measured("embedded/micro", *ROUNDS, f"output_root={killed}")
    assert calls == [2] * (6 - kept)
    calls.clear()
    (at_once,) = measured("embedded/micro", *ROUNDS, f"output_root={whole}")
    assert calls == [2] * 6
    tables = [pd.read_parquet(folder / "evaluation" / "chains_measured.parquet") for folder in (again, at_once)]
    assert tables[0].equals(tables[1])
