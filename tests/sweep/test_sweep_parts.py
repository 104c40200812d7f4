"""Samplers, pruners, budget, seeds, locks and the study, each by itself."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from src.common.errors import UserError
from src.common.locks import FileLock, is_held
from src.sweep.budget import Budget, Spending
from src.sweep.config import BudgetConfig
from src.sweep.engines.local import share_gpus
from src.sweep.pruners import OUTCOMES, PRUNERS, Mirror, build_pruner
from src.sweep.results import importances
from src.sweep.samplers import SAMPLERS, SamplerMaker, build_sampler, check_sampler
from src.sweep.seeds import surely_out
from src.sweep.space import read_space
from src.sweep.study import Claims, open_storage, open_study

SPACE = read_space({}, ["x=range(0,1,0.25)", "y=a,b"])


def opened(folder, space=SPACE, directions=("maximize",), base=None, name="study"):
    folder.mkdir(exist_ok=True)
    return open_study(open_storage(None, folder), name, folder, list(directions), space, base or {"seed": "42"})


def yes():
    return True


def taken(study, folder, sampler, n_trials):
    """Every trial that a sweeper gets, each told the value of a plain function."""
    claims = Claims(study, folder, SPACE, n_trials)
    while claimed := claims.take(SamplerMaker({"name": sampler}, SPACE), yes, yes):
        trial, _ = claimed
        x, y = trial.params["x"], trial.params["y"]
        value = -((x - 0.5) ** 2) + (y == "a")
        study.tell(trial, [value] * len(study.directions))
    claims.close()
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_sampler_runs(name, tmp_path):
    params = taken(opened(tmp_path), tmp_path, name, 10 if name != "grid" else 8)
    assert all(p["x"] in (0.0, 0.25, 0.5, 0.75) and p["y"] in "ab" for p in params)
    if name == "grid":
        assert len({(p["x"], p["y"]) for p in params}) == 8  # every point once


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"cmaes", "gp"}))
def test_samplers_with_two_objectives(name, tmp_path):
    assert len(taken(opened(tmp_path, directions=("maximize", "minimize")), tmp_path, name, 4)) == 4


def test_one_that_cannot_do_two_objectives():
    with pytest.raises(UserError, match="cmaes cannot do 2 objectives"):
        check_sampler({"name": "cmaes"}, SPACE, 2)
    with pytest.raises(UserError, match="did you mean tpe"):
        check_sampler({"name": "tpee"}, SPACE, 1)
    with pytest.raises(UserError, match="refuses its options"):
        check_sampler({"name": "tpe", "startup": 3}, SPACE, 1)


def test_what_is_drawn_does_not_depend_on_interruptions(tmp_path):
    whole = taken(opened(tmp_path / "a"), tmp_path / "a", "random", 6)
    for total in (2, 3, 6):
        parts = taken(opened(tmp_path / "b"), tmp_path / "b", "random", total)
    assert parts == whole


@pytest.mark.parametrize("name", sorted(PRUNERS))
def test_pruners_stop_what_is_hopeless_and_keep_what_is_best(name):
    options = {
        "median": {"n_startup_trials": 1}, "percentile": {"n_startup_trials": 1},
        "patient": {"wrapped": {"name": "median", "n_startup_trials": 1}},
        "successive_halving": {"reduction_factor": 2}, "hyperband": {"max_resource": 8, "reduction_factor": 2},
    }.get(name, {})
    study = optuna.create_study(direction="maximize", pruner=build_pruner({"name": name, **options}))
    decisions = {}
    for level in (0.9, 0.8, 0.85, 0.1, 0.2, 0.3, 0.15, 0.25, 0.35, 0.95):
        trial = study.ask()
        for step in range(1, 9):
            outcomes = [level - 0.01 * problem for problem in range(10)]
            trial.set_user_attr(OUTCOMES, trial.user_attrs.get(OUTCOMES, {}) | {str(step): outcomes})
            trial.report(level - 0.001 * step if name == "patient" else level + 0.001 * step, step)
            decisions[level] = trial.should_prune()
            if decisions[level]:
                break
        study.tell(trial, state=TrialState.PRUNED) if decisions[level] else study.tell(trial, level)
    assert not decisions[0.95]
    assert any(decisions.values()) == (name != "none")


def test_pruning_with_two_objectives_looks_at_the_named_one():
    study = optuna.create_study(directions=["minimize", "maximize"])
    mirror = Mirror(study, 1, build_pruner({"name": "median", "n_startup_trials": 1}))
    pruned = []
    for level in (0.5, 0.6, 0.1, 0.7):
        trial = study.ask()
        trial.set_user_attr(Mirror.REPORTS, {"5": level})
        pruned.append(mirror.should_prune(trial.number))
        study.tell(trial, [1.0, level]) if not pruned[-1] else study.tell(trial, state=TrialState.PRUNED)
    assert pruned == [False, False, True, False]


def test_a_study_is_continued_only_as_what_it_is(tmp_path):
    opened(tmp_path)
    opened(tmp_path)
    with pytest.raises(UserError, match="x was 0.0 to 0.75 in steps of 0.25, now 0.0 to 1.0"):
        opened(tmp_path, space=read_space({}, ["x=interval(0,1)", "y=a,b"]))
    with pytest.raises(UserError, match="z is new"):
        opened(tmp_path, space=read_space({}, ["x=range(0,1,0.25)", "y=a,b", "z=1,2"]))
    with pytest.raises(UserError, match="directions are maximize, not minimize"):
        opened(tmp_path, directions=("minimize",))
    with pytest.raises(UserError, match="seed was 42, now 43"):
        opened(tmp_path, base={"seed": "43"})


def test_a_journal_with_a_torn_last_line_is_mended(tmp_path):
    study = opened(tmp_path)
    study.tell(study.ask(), 1.0)
    with (tmp_path / "journal.log").open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    again = opened(tmp_path)
    again.tell(again.ask(), 2.0)
    assert [trial.value for trial in opened(tmp_path).trials] == [1.0, 2.0]


def test_storages_that_cannot_be_reached(tmp_path):
    with pytest.raises(UserError, match="cannot be reached"):
        open_storage(f"sqlite:///{tmp_path}/none/study.db", tmp_path)
    with pytest.raises(UserError, match="sweep.storage: nonsense://host"):
        open_storage("nonsense://user:secret@host/db", tmp_path)


def test_a_dead_sweepers_trials_are_taken_up_and_a_living_ones_are_not(tmp_path):
    study = opened(tmp_path)
    sampler = SamplerMaker({"name": "random"}, SPACE)
    dead, living = (Claims(study, tmp_path, SPACE, 3) for _ in range(2))
    first, _ = dead.take(sampler, yes, yes)
    living.take(sampler, yes, yes)
    dead.close()
    lost = study.ask()  # as a kill between asking and writing down the owner leaves it
    third = Claims(study, tmp_path, SPACE, 3)
    assert third.take(sampler, yes, lambda: False) is None  # nor a new one before those that have begun
    got = [third.take(sampler, yes, yes) for _ in range(3)]
    assert [(claimed[0].number, claimed[1]) for claimed in got[:2]] == [(first.number, True), (lost.number, True)]
    assert got[0][0].params == first.params and got[2] is None
    assert third.others()


def test_a_lock_goes_with_its_holder(tmp_path):
    code = (
        "import sys, time, pathlib; from src.common.locks import FileLock; lock = FileLock(pathlib.Path(sys.argv[1]));"
        "lock.acquire(0); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE)
    holder.stdout.readline()
    assert is_held(tmp_path / "lock") and not FileLock(tmp_path / "lock").acquire(0.02)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert not is_held(tmp_path / "lock")


def test_budget():
    spending = Spending(trials=3, hours=1.0, usd=6.0, full=2, full_seconds=5400.0, full_usd=4.0)
    assert Budget(BudgetConfig(trials=4), None, None).refuses(spending) is None
    assert "budget.trials=3" in Budget(BudgetConfig(trials=3), None, None).refuses(spending)
    # The mean trial takes 0.75 h and $2.
    assert Budget(BudgetConfig(hours=1.75), None, None).refuses(spending) is None
    assert "budget.hours=1.7 " in Budget(BudgetConfig(hours=1.7), None, None).refuses(spending)
    assert Budget(BudgetConfig(usd=8), None, None).refuses(spending) is None
    assert "budget.usd=7.9" in Budget(BudgetConfig(usd=7.9), None, None).refuses(spending)
    assert "budget.usd=8 " in Budget(BudgetConfig(usd=8), None, None).refuses(replace(spending, running_usd=0.5))
    assert Budget(BudgetConfig(usd=8), None, None).spent(spending) is None
    assert "budget.usd=5 is spent" in Budget(BudgetConfig(usd=5), None, None).spent(spending)
    # Before the first trial was measured, what the scale expects of it counts.
    assert Budget(BudgetConfig(usd=5), 7200.0, 6.0).refuses(Spending()) is not None


def test_seeds_that_cannot_change_the_verdict():
    others = [[0.60, 0.62, 0.64], [0.50, 0.52, 0.54]]  # pooled std 0.02 with 4 degrees of freedom, t = 2.776
    # One seed against the mean 0.62 of three: margin 2.776 * 0.02 * sqrt(1 + 1/3) = 0.0641
    assert surely_out([0.550], others, maximise=True)
    assert surely_out([0.560], others, maximise=True) is None
    # The best of those to be minimised has the mean 0.52.
    assert surely_out([0.590], others, maximise=False)
    assert surely_out([0.580], others, maximise=False) is None
    assert surely_out([0.1], [[0.6], [0.7]], maximise=True) is None  # nobody knows the spread


def test_importances_find_the_parameter_that_matters(tmp_path):
    study = opened(tmp_path)
    for number in range(30):
        study.sampler = build_sampler({"name": "random"}, SPACE, number)
        trial = study.ask(SPACE.distributions)
        study.tell(trial, trial.params["x"])
    found = importances(study, 0)
    assert found["x"]["importance"] > 0.9 and sum(v["importance"] for v in found.values()) == pytest.approx(1, abs=1e-3)
    assert 0 <= found["x"]["spread"] < 0.2


def test_gpus_are_shared_out(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert share_gpus(2, 2) == [["4", "5"], ["6", "7"]]
    assert share_gpus(3, 0) == [[], [], []]
    with pytest.raises(UserError, match="5 GPUs for each trial, but this machine has 4"):
        share_gpus(1, 5)
    with pytest.raises(UserError, match="set sweep.n_jobs=2"):
        share_gpus(3, 2)


def test_an_idle_lock_file_is_not_held(tmp_path):
    assert not is_held(tmp_path / "none")
    with FileLock(tmp_path / "lock"):
        started = time.monotonic()
        assert not FileLock(tmp_path / "lock").acquire(0.05) and time.monotonic() - started < 1
