"""A search whose best are run again on fresh seeds beside the default recipe: real runs of the embedded model, a kill among them."""

import json
import os
import subprocess
import sys
import time

import optuna
import pytest
import yaml
from conftest import TINY, command, configured, tables_of

from src.report.analysis import analyse
from src.sweep.budget import Spending
from src.sweep.results import expectations, write_results, write_results_anew
from src.sweep.space import Space

ACCURACY = "evaluation.validation.best.accuracy"
SEARCH = ("-m", "+experiment=mix_easy_hard", *TINY, "evaluation.validation.every_steps=2", "lr.peak=1e-4,1e-3,3e-3", "sweep.sampler=grid", "sweep.pruner=none", "sweep.n_jobs=1")
CONFIRM = "sweep.confirm={top: 2, seeds: 2}"


def summaries(folder):
    return {path: json.loads(path.read_text()) for path in sorted(folder.rglob("summary.json"))}


def test_the_best_are_run_again_beside_the_default_and_a_kill_costs_nothing(tmp_path):
    sweeper = subprocess.Popen(
        [sys.executable, "-m", "src.run", *SEARCH, CONFIRM], cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    folder = tmp_path / "outputs" / "sweeps" / "mix_easy_hard"
    first, deadline = folder / "confirm" / "trials" / "0000" / "seed_1042" / "checkpoints", time.monotonic() + 300
    while not first.exists():
        assert sweeper.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    sweeper.kill()
    sweeper.wait()
    searched = {path: path.stat().st_mtime_ns for path in (folder / "trials").rglob("summary.json")}
    assert len(searched) == 3 and not (folder / "confirmation.yaml").exists()

    again = command(*SEARCH, CONFIRM, cwd=tmp_path, OMP_NUM_THREADS="1")
    assert again.returncode == 0, again.stderr
    assert searched == {path: path.stat().st_mtime_ns for path in searched}
    rows = yaml.safe_load((folder / "confirmation.yaml").read_text())
    runs = {path.parent.relative_to(folder / "confirm" / "trials"): found for path, found in summaries(folder / "confirm").items()}
    assert sorted(map(str, runs)) == [f"{trial:04d}/seed_{seed}" for trial in range(3) for seed in (1042, 1043)]
    default = yaml.safe_load((folder / "confirm" / "trials" / "0000" / "seed_1042" / "config.yaml").read_text())
    assert default["lr"]["peak"] == configured("+experiment=mix_easy_hard").lr.peak

    values = {int(path.parent.name): found["objective"] for path, found in summaries(folder / "trials").items()}
    best = sorted(values, key=lambda number: (-values[number], number))[:2]
    assert {row["trial"] for row in rows} == {None, *best}
    for place, number in enumerate([None, *best]):
        (row,) = [row for row in rows if row["trial"] == number]
        by_seed = [runs[path]["objective"] for path in sorted(runs) if path.parts[0] == f"{place:04d}"]
        assert row["by_seed"] == pytest.approx(by_seed) and row["low"] < row["confirmed"] < row["high"]
        if number is not None:
            assert row["search"] == values[number] and row["flattered_by"] == pytest.approx(values[number] - sum(by_seed) / 2)
    (named,) = yaml.safe_load((folder / "best.yaml").read_text())
    assert named["trial"] == next(row["trial"] for row in rows if row["trial"] is not None)
    assert named["confirmed"]["confirmed"] == max(row["confirmed"] for row in rows if row["trial"] is not None)

    took = {path: sum(found["cost"]["seconds"].values()) / 3600 for path, found in summaries(folder).items()}
    summary = yaml.safe_load((folder / "summary.yaml").read_text())
    assert summary["spent"]["hours"] > sum(hours for path, hours in took.items() if path.parent != first.parent)  # which was killed
    assert write_results_anew(folder)["spent"]["hours"] == pytest.approx(summary["spent"]["hours"], rel=0.01)

    analysis = analyse([folder])
    assert sum(c.label.startswith("default recipe, ") for c in analysis.configurations) == 1
    against = {row["trial"]: row["against_default"]["shares"] for row in rows if row["trial"] is not None}  # nothing where none varied
    told = {cells[1].text.split(":")[0]: cells[-1].value for cells in tables_of(analysis)["confirmation"].rows}
    assert all((told[f"trial {number}"] in shares) if shares else told[f"trial {number}"] is None for number, shares in against.items())
    assert len(tables_of(analysis)["confirmation"].rows) == 3
    picked = [entry for entry in analysis.left_out if "picked it for its figure" in entry.reason]
    assert sorted(int(entry.folder[-4:]) for entry in picked) == sorted(best)
    assert {run.seed for run in analysis.runs} == {42, 1042, 1043}


def test_the_bill_of_a_sweep_holds_what_is_confirmed(command_here, tmp_path):
    bills = {}
    for given in ((), (CONFIRM,)):
        assert command_here(*SEARCH, *given, "plan=true").returncode == 0
        (path,) = tmp_path.glob("outputs/plans/*.json")
        bills[given] = json.loads(path.read_text())["high"]
        path.unlink()
    assert bills[CONFIRM,]["hours"] == pytest.approx(bills[()]["hours"] * (3 + 3 * 2) / 3)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ((f"objective=[{ACCURACY},evaluation.validation.best.mean_tokens]",), "takes one objective"),
        (("seed=1,2",), "seed is varied here"),
        (("sweep.confirm={tops: 3}",), "tops"),
    ],
)
def test_what_cannot_be_confirmed_is_said_before_the_first_trial(given, fault, command_here):
    result = command_here(*SEARCH, CONFIRM, *given, "plan=true")
    assert result.returncode == 2 and fault in result.stderr and len(result.stderr.splitlines()) == 1


def searched(values, by_seed=None):
    study = optuna.create_study(direction="maximize")
    for number, value in enumerate(values):
        trial = study.ask()
        if by_seed:
            trial.set_user_attr("account", {"by_seed": [[each] for each in by_seed[number]]})
        study.tell(trial, value)
    return study


def test_a_search_s_figures_are_drawn_to_their_mean_as_far_as_seeds_explain_them(tmp_path):
    study = searched([0.0, 1.0, 2.0, 3.0, 4.0])
    assert expectations(study, None) == {} and expectations(study, 1.25)[4] == pytest.approx(2.5)  # 2 + 2 x (1 - 1.25 / (5 / 3))
    pairs = [(value - 1, value + 1) for value in (0, 1, 2, 3, 4)]  # variance between seeds 2, of a mean of two 1
    assert expectations(searched([0, 1, 2, 3, 4], pairs), None)[0] == pytest.approx(2 - 2 * (1 - 1 / (5 / 3)))
    write_results(tmp_path, study, ["o"], Space({}, {}, ()), Spending(), None, noise=1.25)
    (best,) = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert (best["trial"], best["expected"]) == (4, pytest.approx(2.5))
