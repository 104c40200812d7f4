"""The report of sweeps: from the table of trials, from Optuna's storage while a sweep is going, and with several seeds."""

import csv
import json
import subprocess
import sys

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from conftest import ROOT, TINY, command, figures_of, tables_of

from benchmarks.records import write_run
from src.report.__main__ import main
from src.report.analysis import analyse
from src.report.findings import equal_cost
from src.sweep.budget import Spending
from src.sweep.read import Importance
from src.sweep.results import write_results
from src.sweep.space import read_space
from src.sweep.study import open_storage

ACCURACY = "evaluation.validation.best.accuracy"


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A real sweep of two trials with two seeds each, stored in SQLite."""
    root = tmp_path_factory.mktemp("swept")
    arguments = (
        "mix.easy_share=0.2,0.8", "sweep.sampler=grid", "sweep.pruner=none", "sweep.seeds=2", "sweep.n_jobs=1",
        f"sweep.storage=sqlite:///{root}/study.db",
    )  # fmt: skip
    result = command("-m", "+experiment=mix_easy_hard", *TINY, "evaluation.suites.chains.samples=2", *arguments, cwd=root, OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr
    return root / "outputs" / "sweeps" / "mix_easy_hard"


def test_trials_of_several_seeds_are_configurations_with_these_seeds(swept):
    analysis = analyse([swept])
    assert [configuration.seeds for configuration in analysis.configurations] == [[42, 43], [42, 43]]
    (sweep,) = analysis.sweeps
    summaries = [
        [json.loads((swept / "trials" / f"{trial:04d}" / f"seed_{seed}" / "summary.json").read_text()) for seed in (42, 43)]
        for trial in (0, 1)
    ]
    for trial, seeds in zip(sweep.trials, summaries, strict=True):
        values = [summary["objective"] for summary in seeds]
        assert trial.value == pytest.approx(sum(values) / 2) and trial.seeds == 2
        assert trial.spread == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    told = tables_of(analysis)["trials"].rows
    assert [row[3].text for row in told] == [f"{100 * trial.value:.1f} %" for trial in sweep.trials]
    assert all(row[-1].value in ("samples", "problems", "seeds") for row in told)
    assert any("Seeds are too few" in sentence for _, words in analysis.sentences for sentence in words)


def test_the_runs_of_a_sweep_are_read_at_the_cost_where_the_cheapest_ended(swept, monkeypatch):
    monkeypatch.setattr(equal_cost, "APART", 0.0)  # so small, they cost nearly the same
    (found,) = analyse([swept]).equal_costs
    runs = {run.folder: run for runs in found.at_end.runs.values() for run in runs}
    cheapest = min(runs, key=lambda folder: runs[folder].summary["cost"]["flops"]["total"])
    assert found.cost == runs[cheapest].summary["cost"]["flops"]["total"]
    for run in (run for at_cost in found.group.runs.values() for run in at_cost):
        accuracy = run.measures["validation", "after"].accuracy
        reached = [run.measures["validation", "before"].accuracy, *runs[run.folder].steps["validation/accuracy"]]
        costs = [0.0, *runs[run.folder].steps["flops/total"]]
        assert accuracy == pytest.approx(np.interp(found.cost, costs, reached))
        assert run.folder != cheapest or accuracy == reached[-1]


@pytest.mark.parametrize("there", [("study.db",), ("trials.parquet",), ("trials.csv",)])
def test_the_storage_and_the_tables_say_the_same(there, swept, tmp_path):
    expected = analyse([swept]).sweeps[0].trials
    folder = tmp_path / "moved"
    folder.mkdir()
    (folder / "sweep.yaml").write_bytes((swept / "sweep.yaml").read_bytes().replace(str(swept.parents[2]).encode(), b"/none"))
    for name in there:
        source = swept.parents[2] / name if name == "study.db" else swept / name
        (folder / name).write_bytes(source.read_bytes())
    (folder / "trials").symlink_to(swept / "trials")
    found = analyse([folder]).sweeps[0].trials
    assert [(t.number, t.state, t.params) for t in found] == [(t.number, t.state, t.params) for t in expected]
    assert [t.value for t in found] == pytest.approx([t.value for t in expected])


KEYS = ("laws", "forecasts", "compute_optimal", "reuse")
EMPTY = {"results.json": json.dumps({key: {"all": []} for key in KEYS} | {"comparisons": []}), "figures.json": "[]"}


def going(folder, storage=None, trials=10):
    """A sweep in the middle: complete trials, a pruned one of two seeds, one that runs; no table yet."""
    folder.mkdir(parents=True)
    study = optuna.create_study(study_name="lr", storage=open_storage(storage, folder), direction="maximize")
    for number in range(trials):
        trial = study.ask({"lr.peak": optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True)})
        run = folder / "trials" / f"{number:04d}"
        account = {"folder": str(run), "steps": 20, "seconds": 1.0, "usd": 0.0, "spread": [0.01]}
        if number == trials - 1:
            break
        trial.set_user_attr("account", account | ({"reason": "median pruner at step 5"} if number == 3 else {}))
        if number == 3:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            for seed in (0, 1):
                write_run(run / f"seed_{seed}", seed=seed, steps=5)
        else:
            study.tell(trial, number / 10)
    about = {"study": "lr", "objectives": {ACCURACY: "maximize"}, "storage": storage or str(folder / "journal.log")}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(about))
    return folder


@pytest.mark.parametrize("storage", [None, "sqlite:///{}/study.db"])
def test_a_sweep_that_is_still_going_is_read_from_its_storage(storage, tmp_path):
    folder = going(tmp_path / "lr", storage and storage.format(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in (*folder.iterdir(), *tmp_path.glob("*.db"))}
    (sweep,) = analyse([folder]).sweeps
    assert [trial.state for trial in sweep.trials] == ["complete"] * 3 + ["pruned"] + ["complete"] * 5 + ["running"]
    assert (sweep.best.number, sweep.trials[3].reason, sweep.trials[0].spread) == (8, "median pruner at step 5", 0.01)
    last = [next(v for v in run.steps["validation/accuracy"] if v is not None) for run in analyse([folder]).runs]
    assert sweep.trials[3].value == pytest.approx(sum(last) / 2) and sweep.trials[3].seeds == 2
    assert before == {path: path.stat().st_mtime_ns for path in before}  # read, not written
    figure = figures_of(analyse([folder]))["sweep0_history"]
    row = next(csv.DictReader(figure.spec["data"]["values"].splitlines()))
    assert (float(row["low"]), float(row["high"])) == pytest.approx((-0.01, 0.01))
    table = tables_of(analyse([folder]))["trials"]
    assert len(table.rows) == 10 and table.rows[3][2].text == "pruned"


def test_a_journal_with_a_torn_last_line_is_read_as_far_as_it_goes(tmp_path):
    folder = going(tmp_path / "lr")
    with (folder / "journal.log").open("a") as file:
        file.write('{"op_code": 4, "worker')
    assert len(analyse([folder]).sweeps[0].trials) == 10


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / "journal.log").unlink(), "half-written: it has no table of trials"),
        (lambda folder: (folder / "journal.log").write_text("nonsense\n\n"), "its storage cannot be read"),
        (lambda folder: (folder / "sweep.yaml").write_text("a: [1"), "sweep.yaml cannot be read"),
        (lambda folder: (folder / "sweep.yaml").write_text("study: lr"), "names no objectives"),
        (lambda folder: (folder / "importances.yaml").write_text("[]"), "importances.yaml cannot be read"),
        (lambda folder: (folder / "importances.yaml").write_text(f"{ACCURACY}: {{x: 1}}"), "importances.yaml cannot be read"),
        (lambda folder: (folder / "trials.parquet").write_text("nonsense"), "trials.parquet is not a table"),
        (lambda folder: (folder / "trials.csv").write_text("a,b\n1,2\n"), "its table of trials has no proper 'number'"),
    ],
)
def test_a_sweep_that_cannot_be_read_is_named_and_left_out(change, reason, tmp_path):
    folder = going(tmp_path / "sweeps" / "lr")
    change(folder)
    write_run(tmp_path / "run")
    analysis = analyse([tmp_path])
    assert not analysis.sweeps and analysis.ranked
    assert any(entry.folder == str(folder) and reason in entry.reason for entry in analysis.left_out), analysis.left_out


@pytest.mark.parametrize("name", ["results.json", "figures.json"])
@pytest.mark.parametrize("content", ["{", "[]", "[1]", '{"laws": {}}'])
def test_malformed_results_of_a_scaling_study_cost_these_alone(name, content, tmp_path):
    folder = going(tmp_path / "lr")
    (folder / "scaling").mkdir()
    for each in ("results.json", "figures.json"):
        (folder / "scaling" / each).write_text(content if each == name else EMPTY[each])
    analysis = analyse([folder])
    assert len(analysis.sweeps) == 1 and not analysis.scaling_tables
    said = any(entry.folder.startswith(str(folder / "scaling")) and "scaling" in entry.reason for entry in analysis.left_out)
    assert said == ((name, content) != ("figures.json", "[]"))  # no figures at all is no fault
    assert main([str(folder), "--output", str(tmp_path / "report")]) == 0


def test_a_database_server_that_is_away_costs_its_sweep_alone(tmp_path):
    folder = going(tmp_path / "lr")
    about = yaml.safe_load((folder / "sweep.yaml").read_text())
    about["storage"] = "postgresql://someone:secret@127.0.0.1:9/optuna"
    (folder / "sweep.yaml").write_text(yaml.safe_dump(about))
    analysis = analyse([folder])
    (entry,) = [entry for entry in analysis.left_out if entry.folder == str(folder)]
    assert "its storage cannot be read" in entry.reason and "secret" not in entry.reason


def test_a_sweep_alone_makes_a_page(tmp_path):
    folder = going(tmp_path / "lr")
    assert main([str(folder), "--output", str(tmp_path / "report")]) == 0
    with (tmp_path / "report" / "tables" / "trials.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 10


def test_reading_a_storage_needs_no_torch(tmp_path):
    folder = going(tmp_path / "lr")
    code = "import sys; from pathlib import Path; from src.report.analysis import analyse; analyse([Path(sys.argv[1])]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, check=True, timeout=100)


def write_sweep(folder, objectives=("evaluation.validation.best.accuracy",), direction="maximize"):
    """Ten trials as a sweeper leaves them: the learning rate decides, the easy share does not, two were pruned."""
    rows = []
    for number in range(10):
        pruned = number in (3, 7)
        row = {"number": number, "state": "pruned" if pruned else "complete"}
        for place, key in enumerate(objectives):
            row[key] = None if pruned else (number / 10 if place == 0 else 100 - 10 * (number % 4))
        row |= {
            "param/lr.peak": 1e-5 * 2**number,
            "param/mix.easy_share": (number * 7 % 10) / 10,
            "param/length": "fixed" if number % 2 else "staged",
        }
        rows.append(
            row
            | {
                "steps": 5 if pruned else 20,
                "seconds": 9.0,
                "usd": 0.0,
                "folder": f"{folder}/trials/{number:04d}",
                "reason": "below the median" if pruned else "",
            }
        )
    folder.mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(folder / "trials.parquet", index=False)
    (folder / "sweep.yaml").write_text(
        yaml.safe_dump({"study": "lr", "objectives": dict.fromkeys(objectives, direction)})
    )
    found = {"lr.peak": {"importance": 0.904, "spread": 0.05}, "mix.easy_share": {"importance": 0.096, "spread": 0.04}}
    (folder / "importances.yaml").write_text(yaml.safe_dump(dict.fromkeys(objectives, found), sort_keys=False))
    run = write_run(folder / "trials" / "0003", steps=5)
    (run / "summary.json").write_text(json.dumps(json.loads((run / "summary.json").read_text()) | {"status": "pruned"}))
    return folder


def test_a_search_shows_history_importances_slices_and_what_was_pruned(tmp_path):
    analysis = analyse([write_sweep(tmp_path / "sweeps" / "lr")])
    sweep = analysis.sweeps[0]
    assert (sweep.name, len(sweep.complete), sweep.best.number) == ("lr", 8, 9)
    assert next(iter(sweep.importances)) == "lr.peak"
    assert sweep.importances == {"lr.peak": Importance(0.904, 0.05), "mix.easy_share": Importance(0.096, 0.04)}
    pruned = next(trial for trial in sweep.trials if trial.number == 3)
    assert (pruned.state, pruned.step, pruned.reason) == ("pruned", 5, "below the median")
    assert pruned.value == next(value for value in analysis.runs[0].steps["validation/accuracy"] if value is not None)
    names = [name for name in figures_of(analysis) if name.startswith("sweep0")]
    assert names == [
        "sweep0_history",
        "sweep0_importances",
        *("sweep0_slice_lr_peak", "sweep0_slice_mix_easy_share", "sweep0_slice_length"),  # what matters most first
        "sweep0_pruned",
    ]
    assert [row[2].text for row in tables_of(analysis)["importances"].rows] == ["90 ± 5 %", "10 ± 4 %"]
    assert main([str(tmp_path / "sweeps"), "--output", str(tmp_path / "report")]) == 0


def test_importances_are_those_that_the_sweep_tells_at_its_end(tmp_path):
    folder = going(tmp_path / "lr", trials=14)
    study = optuna.load_study(study_name="lr", storage=open_storage(None, folder))
    space = read_space({}, ["lr.peak=interval(1e-5,1e-2)"])
    told = write_results(folder, study, [ACCURACY], space, Spending(), None)["importances"][ACCURACY]
    assert told and [(name, each.share, each.spread) for name, each in analyse([folder]).sweeps[0].importances.items()] == [
        (name, each["importance"], each["spread"]) for name, each in told.items()
    ]


def test_a_sweep_that_has_not_ended_has_no_importances_and_says_so(tmp_path):
    ended, going_on = write_sweep(tmp_path / "ended"), going(tmp_path / "going")
    assert "No importances" not in tables_of(analyse([ended]))["trials"].note
    found = tables_of(analyse([going_on]))
    assert "importances" not in found and "No importances yet of lr" in found["trials"].note


def test_two_objectives_have_a_pareto_front(tmp_path):
    folder = write_sweep(
        tmp_path / "two", ("evaluation.validation.best.accuracy", "evaluation.validation.best.mean_tokens")
    )
    figure = figures_of(analyse([folder]))["sweep0_pareto"]
    rows = list(csv.DictReader(figure.spec["data"]["values"].splitlines()))
    # Both are maximised: 4 and 8 have 100 tokens, 8 the higher accuracy; 9 the highest accuracy.
    assert {row["trial"] for row in rows if row["front"] == "1"} == {"8", "9"}


def test_a_switch_is_drawn_by_its_two_values(tmp_path):
    folder = write_sweep(tmp_path / "lr")
    trials = pd.read_parquet(folder / "trials.parquet")
    trials["param/mask"] = trials.number % 2 == 0
    trials.to_parquet(folder / "trials.parquet", index=False)
    spec = figures_of(analyse([folder]))["sweep0_slice_mask"].spec
    rows = csv.DictReader(spec["data"]["values"].splitlines())
    assert {row["parameter"] for row in rows} == {"False", "True"}
    assert (spec["encoding"]["x"]["type"], spec["data"]["format"]["parse"]["parameter"]) == ("nominal", "string")
