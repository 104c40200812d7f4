"""W&B gets the numbers where it can, and never stops a run."""

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, TOY, configured
from wandb_stand_in import StandIn, python

from src.common.hub import hub_answers
from src.experiment.run import run
from src.record.record import Record
from src.record.tracking import AXES, Tracker

WANDB_TOY = [override for override in TOY if override != "tracking=none"]


def sent(folder: Path) -> Iterator:
    """What lies in a run's .wandb file: W&B's records, in LevelDB's log format behind a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record as Sent

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield Sent.FromString(whole)
            whole = b""


def content(items) -> dict:
    """Keys and values as they were logged; a table is a dictionary that says where it lies."""
    found: dict = {}
    for item in items:
        *parents, last = item.nested_key or [item.key]
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = json.loads(item.value_json)
    return found


def history(records) -> list[dict]:
    return [content(record.history.item) for record in records if record.HasField("history")]


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A finished run that was tracked offline, and what it left for W&B."""
    root = tmp_path_factory.mktemp("offline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        run(configured("+experiment=mix_easy_hard", *WANDB_TOY, f"output_root={root}", f"run_dir={root}/mix_easy_hard/one"))
    folder, patience = root / "mix_easy_hard" / "one", time.monotonic() + 30
    # W&B's own process writes the end of the file when the run has finished here already.
    records = list(sent(folder))
    while not records[-1].HasField("exit") and time.monotonic() < patience:
        time.sleep(0.1)
        records = list(sent(folder))
    return folder, records


def test_an_offline_run_has_its_configuration_group_and_tags(offline):
    folder, records = offline
    about = next(record.run for record in records if record.HasField("run"))
    summary = json.loads((folder / "summary.json").read_text())
    assert (about.run_id, about.project) == (summary["wandb"]["id"], "grpo-lab")
    assert (about.run_group, about.display_name) == ("mix_easy_hard", "mix_easy_hard/one")
    assert {"mix=easy_hard", "scale=micro", "experiment=mix_easy_hard"} <= set(about.tags)
    config = {item.key: json.loads(item.value_json) for item in about.config.update}
    assert config["scale"]["steps"] == 4 and config["choices"]["mix"] == "easy_hard"


def test_every_step_is_there_over_steps_tokens_and_time(offline):
    folder, records = offline
    rows = history(records)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == [row["_step"] for row in steps] == [1, 2, 3, 4]
    assert all(row[key] == value for row, line in zip(steps, lines, strict=True) for key, value in line.items() if value is not None)
    assert [row["over_tokens/accuracy"] for row in steps] == [line["accuracy"] for line in lines]
    assert "over_time/validation/accuracy" in steps[1] and "over_time/validation/accuracy" not in steps[0]
    axes = {record.metric.name or record.metric.glob_name: record.metric.step_metric for record in records if record.HasField("metric")}
    assert axes["*"] == "step" and axes["over_tokens/accuracy"] == AXES["over_tokens"] == "completion_tokens"


def test_completions_are_tables_at_the_steps_that_keep_them(offline):
    folder, records = offline
    kinds = ("completions/training", "completions/validation")
    tables = {(row["_step"], kind): row[kind]["path"] for row in history(records) for kind in kinds if kind in row}
    assert set(tables) == {(step, kind) for step in (2, 4) for kind in kinds}
    (files,) = folder.glob("wandb/offline-run-*/files")
    table = json.loads((files / tables[4, "completions/training"]).read_text())
    kept = pd.read_parquet(folder / "completions" / "step_00004.parquet")
    text, correct = (table["columns"].index(column) for column in ("text", "correct"))
    assert [row[text] for row in table["data"]] == kept["text"].to_list() and table["data"][0][correct] == bool(kept["correct"][0])
    table = json.loads((files / tables[4, "completions/validation"]).read_text())
    assert len({row[table["columns"].index("problem_id")] for row in table["data"]}) == len(table["data"]) == 12


def test_the_summary_and_the_evaluation_as_an_artifact(offline):
    folder, records = offline
    summary = json.loads((folder / "summary.json").read_text())
    told: dict = {}
    for record in records:
        if record.HasField("summary"):
            told |= content(record.summary.update)
    assert told["status"] == "complete" and told["objective"] == summary["objective"]
    assert told["evaluation"]["chains"]["after"]["accuracy"] == summary["evaluation"]["chains"]["after"]["accuracy"]
    artifact = next(
        record.request.log_artifact.artifact if record.HasField("request") else record.artifact
        for record in records
        if (record.artifact.type or record.request.log_artifact.artifact.type) == "evaluation"
    )
    assert {entry.path for entry in artifact.manifest.contents} == {"chains.table.json", "validation.table.json"}
    entry = next(entry for entry in artifact.manifest.contents if entry.path == "chains.table.json")
    table = json.loads(Path(entry.local_path).read_text())
    weights, right = table["columns"].index("weights"), table["columns"].index("correct")
    after = [row[right] for row in table["data"] if row[weights] == "after"]
    assert sum(after) / len(after) == pytest.approx(summary["evaluation"]["chains"]["after"]["accuracy"])


def test_a_continued_run_is_the_same_run_there(tmp_path):
    tracker = Tracker(configured("tracking.mode=offline").tracking, pytest.fail)
    record = Record.open(tmp_path / "run", "", {})
    for status in ("interrupted", "complete"):
        tracker.start(record, configured().model_dump(mode="json"))
        tracker.log({"step": 1, "loss": 1.0})
        tracker.finish({"status": status, "evaluation": {}})
        record = Record(record.folder, json.loads((record.folder / "summary.json").read_text()))
    assert len({path.stem for path in record.folder.glob("wandb/offline-run-*/*.wandb")}) == 1
    assert tracker.page is None and Path(tracker.sync.removeprefix("wandb sync ")) in record.folder.glob("wandb/offline-run-*")


def test_trials_of_a_sweep_are_one_group():
    from src.sweep.command import grouped

    assert grouped(configured(), "mix_length").tracking.group == "mix_length"
    assert grouped(configured("tracking.group=mine"), "mix_length").tracking.group == "mine"
    assert grouped(configured("tracking=none"), "mix_length").tracking.backend == "none"


def test_a_server_that_refuses_costs_a_warning_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    warnings: list[str] = []
    config = configured("tracking.mode=online", "tracking.init_timeout_s=3")
    tracker = Tracker(config.tracking, warnings.append)
    tracker.start(Record.open(tmp_path / "run", "", {}), config.model_dump(mode="json"))
    tracker.log({"step": 1, "loss": 1.0})
    tracker.finish({"status": "complete", "evaluation": {}})
    assert len(warnings) == 1 and "the run goes on" in warnings[0]


TRACKED = """
import sys
from pathlib import Path
from conftest import configured
from src.record.record import Record
from src.record.tracking import Tracker
config = configured("+experiment=mix_easy_hard", "tracking.finish_timeout_s=2", f"output_root={sys.argv[1]}")
tracker = Tracker(config.tracking, lambda text: print("warning:", text))
tracker.start(Record.open(Path(sys.argv[1], "mix_easy_hard", "one"), "", {}), config.model_dump(mode="json"))
print("page:", tracker.page)
tracker.log({"step": 1, "loss": 1.0})
tracker.finish({"status": "pruned"})
print("the run goes on")
"""


@pytest.mark.parametrize("manner", ["refuse", "stall", "break"])
def test_a_server_that_fails_in_the_middle_costs_a_warning(manner, tmp_path):
    server = StandIn("answer", then=manner)
    result = python(tmp_path, "-c", TRACKED, tmp_path / "outputs", server=server)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "the run goes on" and result.stdout.count("warning:") <= 1
    assert "page: http" in result.stdout and "/grpo-lab/runs/" in result.stdout
    if manner != "break":  # of which W&B's client says nothing
        assert "W&B tracking stopped" in result.stdout or "wandb sync" in result.stderr
    run = next(variables for query, variables in server.sent if "upsertBucket" in query)
    assert (run["project"], run["groupName"], run["displayName"]) == ("grpo-lab", "mix_easy_hard", "mix_easy_hard/one")
    summary = json.loads((tmp_path / "outputs" / "mix_easy_hard" / "one" / "summary.json").read_text())
    assert summary["wandb"] == {"id": run["name"], "project": "grpo-lab", "entity": "someone"}
    assert "mix=easy_hard" in run["tags"]


def test_a_failure_in_the_middle_is_said_once(tmp_path):
    class Broken:
        def log(self, *_, **__):
            raise ConnectionError("gone")

    warnings: list[str] = []
    tracker = Tracker(configured().tracking, warnings.append)
    tracker.run, tracker.folder = Broken(), tmp_path
    for step in (1, 2, 3):
        tracker.log({"step": step, "loss": 0.0})
    assert len(warnings) == 1 and "gone" in warnings[0]


@pytest.mark.parametrize(("tracking", "mode"), [("none", "online"), ("wandb", "disabled")])
def test_without_tracking_nothing_is_sent_or_kept(tracking, mode, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", mode)
    tracker = Tracker(configured(f"tracking={tracking}").tracking, pytest.fail)
    record = Record.open(tmp_path / "run", "", {})
    tracker.start(record, configured().model_dump(mode="json"))
    tracker.log({"step": 1})
    tracker.finish({"status": "complete", "evaluation": {}})
    assert tracker.run is None and {path.name for path in record.folder.iterdir()} == {"config.yaml", "checksums.json"}



def test_a_server_that_is_down_costs_seconds_and_the_run_is_kept_for_later(tmp_path, monkeypatch):
    monkeypatch.setattr("src.record.tracking.hub_answers", lambda address: False)
    warnings: list[str] = []
    config = configured("tracking.mode=online")
    tracker = Tracker(config.tracking, warnings.append)
    record = Record.open(tmp_path / "run", "", {})
    tracker.start(record, config.published())
    tracker.log({"step": 1, "loss": 1.0})
    tracker.finish({"status": "interrupted", "evaluation": {}})
    assert len(warnings) == 1 and "does not answer" in warnings[0] and "wandb sync" in warnings[0]
    assert list(record.folder.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.parametrize("manner", ["nobody", "silent", "there"])
def test_whether_a_server_answers_is_known_in_seconds(manner, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("src.common.hub.HUB_SECONDS", 1.0)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if manner == "silent":
            listening.listen()
        url = StandIn("answer").url if manner == "there" else f"http://127.0.0.1:{listening.getsockname()[1]}"
        begun = time.monotonic()
        assert hub_answers(url) == (manner == "there")
        assert time.monotonic() - begun < 10


LEFT = """
import os, signal, sys
from src.record.tracking import import_wandb
import_wandb()
import wandb
print(len(list(__import__("pathlib").Path(os.environ["TMPDIR"]).rglob("*wandb-*"))), flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_wandb_leaves_of_a_killed_process_is_cleared_by_the_next(tmp_path):
    for end, found in (("killed", "2"), ("in order", "2")):
        result = subprocess.run(
            [sys.executable, "-c", LEFT, end], env={**os.environ, "TMPDIR": str(tmp_path)}, cwd=ROOT, capture_output=True, text=True
        )
        assert result.stdout.strip() == found, result.stderr
    assert [path for path in tmp_path.rglob("*") if "wandb-" in path.name] == []
