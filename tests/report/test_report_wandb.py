"""The report on W&B against a local stand-in for its API."""

import json

import pytest
from wandb_stand_in import STALL_S, StandIn, python

from benchmarks.records import write_run

pytest.importorskip("wandb_workspaces", reason="needs the extra wandb-report")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wandb") / "mix_easy_hard"
    for number in range(2):
        write_run(folder / f"run{number}", seed=number, problems=20, gain=0.3, settings={"tracking.project": "lab"})
    return folder


PUBLISH = """
import sys
import time
from pathlib import Path
from src.report.__main__ import leave
from src.report.analysis import analyse
from src.report.wandb_report import publish
import wandb_workspaces.reports.v2
analysis = analyse([Path(sys.argv[1])])
began = time.monotonic()
print(publish(analysis, None, float(sys.argv[2])))
print("seconds:", time.monotonic() - began)
leave(0)
"""


def test_the_right_project_run_set_and_panels_are_sent(records, tmp_path):
    server = StandIn("answer")
    result = python(tmp_path, "-c", PUBLISH, records, 30, server=server)
    assert result.returncode == 0, result.stderr
    assert "W&B report: http" in result.stdout and "/someone/lab/reports/" in result.stdout
    variables = next(variables for query, variables in server.sent if "upsertView" in query)
    assert (variables["entityName"], variables["projectName"]) == ("someone", "lab")
    spec = json.loads(variables["spec"])
    grid = next(block for block in spec["blocks"] if block["type"] == "panel-grid")
    run_set = json.dumps(grid["metadata"]["runSets"])
    assert "run0" in run_set and "run1" in run_set
    panels = json.dumps(grid["metadata"]["panelBankSectionConfig"])
    for metric in (
        "validation/accuracy",
        "completion_tokens/mean",
        "truncated_share",
        "entropy",
        "kl",
        "reward/format/mean",
    ):
        assert metric in panels
    text = json.dumps(spec)
    assert "chains: 20 problems" in text and "better than the base" in text and "No recipe can be recommended yet" in text


@pytest.mark.parametrize("manner", ["refuse", "stall", "break"])
def test_a_server_that_fails_costs_a_message(manner, records, tmp_path):
    result = python(tmp_path, "-c", PUBLISH, records, 2, server=StandIn(manner))
    assert result.returncode == 0
    assert result.stdout.startswith("W&B: no report made") and "the page is complete without it" in result.stdout
    assert float(result.stdout.split("seconds:")[1]) < STALL_S  # it did not wait for the server


def test_without_a_login_it_says_so_and_writes_the_page(records, tmp_path):
    kept = records / "run0" / "wandb" / "offline-run-20260101_000000-x"
    kept.mkdir(parents=True)
    result = python(tmp_path, "-m", "src.report", records, "--output", tmp_path / "report", "--wandb")
    assert result.returncode == 0
    assert [line for line in result.stdout.splitlines() if line.startswith("W&B")] == [
        f"W&B: 1 run kept offline; send with: wandb sync {kept}",
        "W&B: no report made: no login; set WANDB_API_KEY or run wandb login, then run this again",
    ]
    assert (tmp_path / "report" / "index.html").is_file()
