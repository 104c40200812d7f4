"""Trials that climb from small runs to the real one: real runs of the embedded model, a kill between two rungs among them."""

import re
from statistics import fmean

import optuna
import pandas as pd
import pytest
import yaml
from conftest import TINY, command, configured, tables_of
from test_sweep import ACCURACY, TOKENS, billed, prepared, started, wait_until
from test_sweep_fleet import GOOD, HOUR, Log

from benchmarks.sweeps import FleetEngine, fleet_sweeper
from src.common.errors import UserError
from src.plan.plan import make_plan
from src.record.record import read_summary
from src.report.analysis import analyse
from src.sweep.budget import Spending
from src.sweep.command import sweep
from src.sweep.config import SweepConfig
from src.sweep.engines.channel import Report
from src.sweep.engines.trial import TrialSpec
from src.sweep.fidelity import expected_climbs, on_rungs, rankings
from src.sweep.read import read_sweep
from src.sweep.results import write_results, write_yaml
from src.sweep.space import Space
from src.sweep.sweeper import Running

BASE = ("-m", "+experiment=mix_easy_hard", *(word for word in TINY if not word.startswith("scale.steps")))
RATES = ("lr.peak=3e-3,1e-4", "lr=constant", f"objective={TOKENS}", "sweep.n_jobs=1")
CLIMB = (*RATES, "sweep.fidelity={steps: [1, 2], mix: [easy_only, easy_hard]}", "sweep.pruner={name: successive_halving, reduction_factor: 2}")


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    """A sweep that was killed when its first trial had climbed, and went on."""
    root = tmp_path_factory.mktemp("climbed")
    folder = root / "outputs" / "sweeps" / "mix_easy_hard"
    sweeper = started(root, *CLIMB, base=BASE)
    wait_until((folder / "trials" / "0000" / "rung_2" / "config.yaml").exists, sweeper)
    sweeper.kill()
    sweeper.communicate()
    low = folder / "trials" / "0000" / "rung_1" / "metrics.jsonl"
    before = low.stat().st_mtime_ns
    again = command(*BASE, *CLIMB, cwd=root, OMP_NUM_THREADS="1")
    assert again.returncode == 0, again.stderr
    assert low.stat().st_mtime_ns == before and len(low.read_text().splitlines()) == 1  # what was done is not done again
    return folder, again.stdout


def test_a_trial_goes_on_only_where_it_is_best_so_far_and_each_rung_is_a_run(climbed):
    folder, said = climbed
    table = pd.read_parquet(folder / "trials.parquet").set_index("number")
    assert set(table["state"]) == {"complete", "pruned"}
    for number, row in table.iterrows():  # of two at a rung one goes on, and the first does: so does each that is the best so far
        assert (row["state"] == "complete") == (row["rung_1"] <= table["rung_1"].iloc[: number + 1].min())
        runs = [read_summary(path.parent) for path in sorted((folder / "trials" / f"{number:04d}").glob("rung_*/summary.json"))]
        assert [(run["status"], run["steps"]) for run in runs] == [("complete", 1), ("complete", 2)][: len(runs)]
        assert len(runs) == (2 if row["state"] == "complete" else 1) and row["steps"] == sum(run["steps"] for run in runs)
        assert [run["objective"] for run in runs] == [row["rung_1"], row[TOKENS]][: len(runs)]
        assert row["seconds"] == pytest.approx(sum(sum(run["cost"]["seconds"].values()) for run in runs))
    mixes = {path.parent.name: yaml.safe_load(path.read_text())["choices"]["mix"] for path in folder.glob("trials/0000/*/config.yaml")}
    assert mixes == {"rung_1": "easy_only", "rung_2": "easy_hard"}
    assert not list(folder.glob("trials/*/rung_1/checkpoints")) and list(folder.glob("trials/0000/rung_2/checkpoints/*"))
    assert "pruned (successive_halving pruner at rung 1 of 2, with " in said
    assert "scale.steps=2 mix=easy_hard" in yaml.safe_load((folder / "best.yaml").read_text())[0]["command"]


def test_the_report_reads_a_trial_by_the_rung_that_it_reached(climbed):
    found = read_sweep(climbed[0])
    assert found.rungs == ({"scale.steps": 1, "mix": "easy_only"}, {"scale.steps": 2, "mix": "easy_hard"})
    for trial in found.trials:
        assert len(trial.rungs) == (2 if trial.state == "complete" else 1) == int(trial.folders[0].name[-1])
        assert (trial.folders[0] / "summary.json").is_file()
    assert {run.folder for run in analyse([climbed[0]]).runs} >= {trial.folders[0] for trial in found.trials}


def test_another_ladder_is_another_study(climbed, monkeypatch):
    monkeypatch.chdir(climbed[0].parents[2])
    for fidelity, now in (("{steps: [1, 2]}", "{'scale.steps': [1, 2], 'resources': [1, 3]}"), ("{}", "{}")):
        with pytest.raises(UserError, match=f"sweep.fidelity was .*'resources': .*, now {re.escape(now)}"):
            sweep(*prepared(*BASE[1:], *RATES, "scale.steps=2" if now == "{}" else "mix=easy_hard", f"sweep.fidelity={fidelity}", "sweep.pruner=median"))


def test_what_is_confirmed_is_the_real_run_and_not_its_ladder(climbed):
    folder, _ = climbed
    result = command(*BASE, *CLIMB, "sweep.confirm={top: 1, seeds: 2}", cwd=folder.parents[2], OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr
    again = folder / "confirm" / "trials"
    runs = {str(path.parent.relative_to(again)): read_summary(path.parent) for path in again.rglob("summary.json")}
    assert sorted(runs) == [f"{trial:04d}/seed_{seed}" for trial in range(2) for seed in (1042, 1043)]
    assert all((run["status"], run["steps"]) == ("complete", 2) for run in runs.values())
    (best,) = yaml.safe_load((folder / "best.yaml").read_text())
    assert best["confirmed"]["confirmed"] == pytest.approx(fmean(runs[f"0001/seed_{seed}"]["objective"] for seed in (1042, 1043)))


INTERVAL = "lr.peak=tag(log,interval(1e-4,1e-3))"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ((INTERVAL, "sweep.fidelity={steps: [1, 2], model: [micro]}"), "lists of 2, 1; give each as many values"),
        ((INTERVAL, "sweep.fidelity={steps: [2]}"), "lists of 1"),
        ((INTERVAL, "sweep.fidelity={lr.peek: [1, 2]}"), "no key lr.peek"),
        ((INTERVAL, "sweep.fidelity={model: [micro_0_2, micro]}"), "model=micro_0_2: no such option"),
        ((INTERVAL, "sweep.fidelity={steps: [0, 2]}"), "at rung 1 scale.steps: must be greater"),
        ((INTERVAL, "sweep.fidelity={lr.peak: [1e-4, 1e-3]}"), "lr.peak is given besides"),
        ((INTERVAL, "scale.steps=40", "sweep.fidelity={steps: [10, 40]}"), "scale.steps is given besides"),
        ((INTERVAL, "sweep.fidelity={steps: ['interval(1,2)', 2]}"), "scale.steps takes one value for each rung"),
        ((INTERVAL, "sweep.fidelity={steps: [1, 2]}", f"objective=[{ACCURACY},{TOKENS}]"), "judged by one objective"),
        ((INTERVAL, "seed=1,2", "sweep.fidelity={steps: [1, 2]}"), "give sweep.seeds"),
        ((INTERVAL, "sweep.fidelity={steps: [1, 2]}", "sweep.pruner=wilcoxon"), "judges what happens within a run"),
        ((INTERVAL, "sweep.fidelity={steps: [1, 2]}", "sweep.pruner={name: hyperband, reduction_factor: 1}"), "whole number above 1"),
        ((INTERVAL, "sweep.fidelity={steps: [1, 2]}", "sweep.pruner={name: successive_halving, min_resource: 5}"), "min_resource is of steps"),
        ((INTERVAL, "sweep.fidelity={steps: [1, 2]}", "sweep.stop_when={width: 0.1}"), "stop_when"),
        (("lr.peak=1e-4,1e-3", "sweep.fidelity={steps: [1, 2]}"), "each of the 2 points is run to its end"),
    ],
)
def test_rungs_that_do_not_hold_together_are_refused_in_one_line(given, fault, command_here, tmp_path):
    result = command_here("-m", "+experiment=mix_easy_hard", *given)
    assert result.returncode == 2 and fault in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "outputs").exists()


def test_the_plan_prices_the_climb_at_most_and_as_the_halving_is_expected_to_go(tmp_path, capsys):
    models = ("micro_0_2m", "micro_1m")
    bill = billed(tmp_path, "+experiment=mix_easy_hard", INTERVAL, "sweep.n_trials=9", "sweep.seeds=2", "sweep.fidelity={model: [micro_0_2m, micro_1m], steps: [5, 20]}")
    hours = [make_plan(configured("+experiment=mix_easy_hard", f"model={model}", f"scale.steps={steps}")).hours for model, steps in zip(models, (5, 20), strict=True)]
    assert bill["high"]["hours"] == pytest.approx(9 * 2 * sum(hours))
    trials = [row["trials_expected"] for row in bill["rungs"]]
    assert trials[0] == 9 and bill["expected"]["high"]["hours"] == pytest.approx(2 * sum(n * each for n, each in zip(trials, hours, strict=True)))
    said = capsys.readouterr().out
    assert f"rung 2, model=micro_1m scale.steps=20: {trials[1]:.1f} trials expected" in said and "in all, every trial at every rung" in said


def on_ladder(pruner, **options):
    return on_rungs(SweepConfig(fidelity={"steps": [1, 2, 3]}, pruner={"name": pruner} | options))


def test_how_many_climb_is_what_the_pruner_does():
    one, two, three = expected_climbs(on_ladder("successive_halving"), 3)
    assert one == 3 and two == pytest.approx(1 + 1 / 2 + 1 / 3, abs=0.1)  # the first goes on, and who is the best so far
    assert two - three < 0.01  # which it is at the next rung as well
    assert expected_climbs(on_ladder("none"), 5) == [5, 5, 5]
    all_of_them, most, fewer = expected_climbs(on_ladder("hyperband"), 60)
    assert all_of_them == 60 > most > fewer > expected_climbs(on_ladder("successive_halving"), 60)[2]  # whose brackets judge later


def test_a_trial_that_was_told_to_end_is_told_so_again(tmp_path):
    config = on_ladder("successive_halving").model_copy(update={"n_trials": 9})
    sweeper = fleet_sweeper(tmp_path, FleetEngine(1, [GOOD], HOUR, 0, 1.0), config, Log)
    told = {}
    for number, value in enumerate((0.9, 0.1)):
        trial = sweeper.study.ask()
        spec = TrialSpec(number, "", [{}] * 3, "", "", "", [], 0, False, 60, {}, 0.0, resources=[1, 3, 9])
        sweeper.running[number], sweeper.screen.latest[number] = Running(trial, spec, 0.0), ""
        told[number] = [sweeper._prune(trial, Report("", "rung", 1, value, [], [])) for _ in range(2)]  # a kill, and asked again
    assert told[0] == [None, None] and told[1] == ["successive_halving pruner at rung 1 of 3, with 0.1000"] * 2
    sweeper.claims.close()


def test_how_well_small_runs_rank_large_ones_is_worked_out_over_those_that_had_both(tmp_path):
    small, large = [1, 2, 3, 4, 5, 0], [20, 10, 40, 30, 50]  # as in test_ranks
    (found,) = rankings({number: values for number, values in enumerate([*map(list, zip(small, large, strict=False)), [0]])}, True)
    assert (found.rungs, found.trials, found.best) == ((1, 2), 5, (4, 4)) and found.correlation.mean == pytest.approx(0.8)
    assert rankings({0: [1, 2], 1: [2, 1]}, True) == [] == rankings({0: [1.0]}, True)

    study = optuna.create_study(direction="minimize")
    for rate, first, last in zip((1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4), small, [*large, None], strict=True):
        study.enqueue_trial({"lr.peak": rate})
        trial = study.ask({"lr.peak": optuna.distributions.FloatDistribution(1e-5, 1e-3)})
        trial.report(first, 1)
        trial.set_user_attr("account", {"rungs": [first], "folder": str(tmp_path / "trials" / f"{trial.number:04d}"), "seconds": 1.0, "usd": 0.0})
        study.tell(trial, last, state=None if last else optuna.trial.TrialState.PRUNED)
    about = {"study": "s", "objectives": {"o": "minimize"}, "space": {}, "sweep": {"fidelity": {"scale.steps": [10, 40]}}}
    write_yaml(tmp_path / "sweep.yaml", about)
    (row,) = write_results(tmp_path, study, ["o"], Space({}, {}, ()), Spending(), None)["rankings"]
    assert (row["rungs"], row["trials"], row["best"]) == ([1, 2], 5, [0, 1]) and row["low"] < row["correlation"] < row["high"]
    assert yaml.safe_load((tmp_path / "summary.yaml").read_text())["rankings"] == [row]
    (cells,) = tables_of(analyse([tmp_path]))["rungs"].rows
    assert [cell.text for cell in cells] == ["s", "scale.steps=10", "scale.steps=40", "5", "0.80 (−0.46 to 0.99)", "lr.peak=0.0001", "lr.peak=0.0002"]
