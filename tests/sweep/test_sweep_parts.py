"""Samplers, pruners, budget, seeds, locks and the study, each by itself."""

import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import optuna
import pandas as pd
import pytest
from conftest import configured
from optuna.trial import TrialState

from src.common.errors import RunFailed, UserError
from src.common.locks import FileLock, is_held
from src.common.secrets import without_password
from src.record.recipe import ALWAYS_WAS
from src.sweep.budget import Budget, Spending
from src.sweep.composer import base_of
from src.sweep.config import BudgetConfig
from src.sweep.engines.local import share_gpus
from src.sweep.pruners import ERRORS, OUTCOMES, PRUNERS, Mirror, build_pruner
from src.sweep.results import importances, write_results
from src.sweep.samplers import SAMPLERS, SamplerMaker, build_sampler, check_sampler
from src.sweep.seeds import surely_out
from src.sweep.space import read_space
from src.sweep.study import Claims, _differences, open_storage, open_study, storage_in_words

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
    params = taken(opened(tmp_path), tmp_path, name, 10)
    assert sorted((p["x"], p["y"]) for p in params) == [(x, y) for x in (0.0, 0.25, 0.5, 0.75) for y in "ab"]  # every point once


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


def judged(pruner, last, error):
    """What a pruner says of a trial with these values, after four others that rise by 0.1 to 0.5, 0.6, 0.7 and 0.8."""
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for level in (0.5, 0.6, 0.7, 0.8):
        trial = study.ask()
        trial.set_user_attr(ERRORS, {str(step): error for step in (1, 2, 3)})
        for step in (1, 2, 3):
            trial.report(level - 0.1 * (3 - step) / 2, step)
        study.tell(trial, level)
    trial = study.ask()
    trial.set_user_attr(ERRORS, {"1": error, "2": error})
    for step, value in enumerate(last, 1):
        trial.report(value, step)
    return trial.should_prune()


def test_a_trial_is_stopped_when_it_is_unlikely_to_be_among_the_best_and_noise_speaks_for_it():
    sharp, blunt, high = (build_pruner({"name": "likely", "probability": 0.1}) for _ in range(3))
    assert judged(sharp, (0.5, 0.55), 0.01) and sharp.said == "0.00 likely to be among the best 1"
    assert not judged(blunt, (0.5, 0.55), 0.5) and blunt.said > sharp.said  # whose validations say next to nothing
    assert not judged(high, (0.75, 0.8), 0.01)
    assert not judged(build_pruner({"name": "likely", "k": 4}), (0.5, 0.55), 0.01)  # the fourth is at 0.5
    with pytest.raises(UserError, match="probability between 0 and 1"):
        build_pruner({"name": "likely", "probability": 5})


def test_the_likely_pruner_learns_how_curves_go_from_the_last_trials_however_many_went_before():
    pruner = build_pruner({"name": "likely", "most": 8})
    study = optuna.create_study(direction="maximize", pruner=pruner)

    def reported(*values):
        trial = study.ask()
        trial.set_user_attr(ERRORS, {str(step): 0.01 for step in (1, 2, 3)})
        said = []
        for step, value in enumerate(values, 1):
            trial.report(value, step)
            said.append(trial.should_prune())
        study.tell(trial, state=TrialState.PRUNED) if len(values) < 3 else study.tell(trial, values[-1])
        return said[-1]

    levels = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85]
    for level in levels * 2:
        reported(level, level, level)
    assert reported(0.6)  # they stay where they begin
    for place in range(16):
        reported(levels[place % 8], levels[3 * place % 8], levels[(5 * place + 3) % 8])
    assert not reported(0.6)  # where they begin says nothing of their end


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
    opened(tmp_path, base={"seed": "42", "evaluation.reader": "boxed"})  # a newer key with what always held
    with pytest.raises(UserError, match="evaluation.reader is new"):
        opened(tmp_path, base={"seed": "42", "evaluation.reader": "last_expression"})


def test_a_journal_with_a_torn_last_line_is_mended(tmp_path):
    study = opened(tmp_path)
    study.tell(study.ask(SPACE.distributions), 1.0)
    with (tmp_path / "journal.log").open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    again = opened(tmp_path)
    again.tell(again.ask(SPACE.distributions), 2.0)
    assert [trial.value for trial in opened(tmp_path).trials] == [1.0, 2.0]


def test_storages_that_cannot_be_reached(tmp_path):
    with pytest.raises(UserError, match="cannot be reached"):
        open_storage(f"sqlite:///{tmp_path}/none/study.db", tmp_path)
    (tmp_path / "damaged.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    with pytest.raises(UserError, match=r"damaged.db cannot be reached \(.*(malformed|not a database|encrypted)"):
        open_storage(f"sqlite:///{tmp_path}/damaged.db", tmp_path)
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


def journal(folder):
    """A study with a finished trial; the lines of its journal."""
    study = opened(folder)
    study.tell(study.ask(SPACE.distributions), 1.0)
    return folder / "journal.log"


@pytest.mark.parametrize("line", [
    b"garbage", b'{"op_code":4,"work', b'\xff\xfe{\x00}\x00', b"\0\0\0\0", b"[1,2]", b"3", b'{"op_code":6}', b"\xff\xff",
    b'{"op_code":99,"worker_id":"x"}',
])  # fmt: skip
def test_a_damaged_journal_is_named_in_one_line(line, tmp_path):
    path = journal(tmp_path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:3], line, *lines[3:]]) + b"\n")
    with pytest.raises(UserError, match=r"journal.log is damaged: (line 4|its lines)") as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)
    # At the end it is what a loss of power leaves: cut off, and the study goes on.
    for end in (b"", b"\n"):
        path.write_bytes(b"\n".join([*lines, line]) + end)
        if not line.startswith(b'{"op_code":99'):
            assert [trial.value for trial in opened(tmp_path).trials] == [1.0]
            assert path.read_bytes().splitlines() == lines


def told(folder):
    """A study of three finished trials and one that runs, as sweepers leave it; the lines of its journal."""
    study = opened(folder)
    claims = Claims(study, folder, SPACE, 4)
    for number in range(4):
        trial, _ = claims.take(SamplerMaker({"name": "random"}, SPACE), yes, yes)
        if number < 3:
            trial.report(number / 10, 1)
            study.tell(trial, number / 10)
    claims.close()
    return (folder / "journal.log").read_bytes().splitlines(keepends=True)


def results(study):
    return {trial.number: (trial.params, trial.value) for trial in study.trials if trial.state == TrialState.COMPLETE}


def test_no_line_is_lost_moved_or_changed_without_a_word(tmp_path):
    lines, path = told(tmp_path), tmp_path / "journal.log"
    assert len(lines) > 20 and len(results(opened(tmp_path))) == 3
    for number, line in enumerate(lines):
        last, changed = number == len(lines) - 1, re.sub(rb"\d", lambda digit: b"%d" % ((int(digit[0]) + 1) % 10), line, count=1)
        for faulty in ([line] * 2, [changed], *([[], [lines[number + 1], line, lines[number + 1]]] if not last else [])):
            path.write_bytes(b"".join([*lines[:number], *faulty, *lines[number + 1 :]]))
            with pytest.raises(UserError, match=r"journal.log is damaged: line \d+ "):
                opened(tmp_path)
    path.write_bytes(b"".join(lines[:-1]))  # as a kill before it leaves it
    assert len(results(opened(tmp_path))) == 3


def test_a_journal_of_an_earlier_version_goes_on_and_tells_no_wrong_results(tmp_path):
    lines, path = [line.rpartition(b',"sum":')[0] + b"}\n" for line in told(tmp_path)], tmp_path / "journal.log"
    path.write_bytes(b"".join(lines))
    right = results(opened(tmp_path))
    assert len(right) == 3
    for number, line in enumerate(lines[:-1]):
        path.write_bytes(b"".join([*lines[:number], *lines[number + 1 :]]))
        try:
            found = results(opened(tmp_path))
        except UserError:
            continue
        log = json.loads(line)  # what makes a study, a trial, or a parameter of a finished one is missed
        assert log["op_code"] not in (0, 4, 5) or log["trial_id"] == 3
        assert found.items() <= right.items()
    path.write_bytes(b"".join(lines))
    study = opened(tmp_path)  # with lines of both kinds
    study.tell(study.ask(SPACE.distributions), 1.0)
    assert len(results(opened(tmp_path))) == 4


def test_a_full_disk_leaves_no_piece_of_a_line(tmp_path):
    path = journal(tmp_path)
    before = path.read_bytes()
    backend = open_storage(None, tmp_path)._backend
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))  # the kernel writes 20 bytes of it
    try:
        with pytest.raises(OSError, match="File too large"):
            backend.append_logs([{"op_code": 0, "worker_id": "x", "study_name": "another", "directions": [1]}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before


@pytest.mark.parametrize("place", ["/dev/null", "/dev/full", "folder"])
def test_a_storage_that_is_no_file(place, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="sweep.storage: .* is no file"):
        open_storage(place if place.startswith("/") else str(tmp_path / place), tmp_path)
    (tmp_path / "journal.log").mkdir()
    with pytest.raises(UserError, match="journal.log is no file"):
        open_storage(None, tmp_path)


def test_a_storage_that_gives_way_is_one_line(tmp_path):
    url = f"sqlite:///{tmp_path}/x.db"
    storage = open_storage(url, tmp_path)
    study = open_study(storage, "study", tmp_path, ["maximize"], SPACE, {})
    other = sqlite3.connect(tmp_path / "x.db")
    other.execute("BEGIN EXCLUSIVE")
    storage.engine.dispose()
    storage.engine.dialect.connect = lambda *a, **k: sqlite3.connect(tmp_path / "x.db", timeout=0.1)
    with pytest.raises(RunFailed, match=r"cannot be used \(.*database is locked\); .* the same command goes on") as caught, \
            storage_in_words(url, RunFailed):
        study.set_user_attr("a", 1)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"No space left on device \(/x/journal.log\)"), storage_in_words(None, UserError):
        raise OSError(28, "No space left on device", "/x/journal.log")
    journaled = opened(tmp_path / "b")
    (tmp_path / "b" / "journal.log").unlink()
    with pytest.raises(RunFailed, match="No such file"), storage_in_words(None, RunFailed):
        journaled.set_user_attr("a", 1)


@pytest.mark.parametrize(("values", "expected"), [
    ("null,700", ["null", "700"]), ("null,0.1", ["null", "0.1"]), ("true,null", ["true", "null"]),
    ("null,true,3", ["null", "true", "3"]), ("1,auto", ["1", "auto"]), ('0.5,"high"', ["0.5", '"high"']),
    ("true,2", ["true", "2"]), ("null,{rank:4,alpha:8}", None), ("0,0.04", None), ("1,1.5", None), ("true,false", None),
    ("fixed,staged", None),
])  # fmt: skip
def test_results_are_written_whatever_types_a_parameter_has(values, expected, tmp_path, capsys):
    space = read_space({}, [f"x={values}"])
    study = opened(tmp_path, space)
    for choice in space.distributions["x"].choices:
        study.enqueue_trial({"x": choice})
        study.tell(study.ask(space.distributions), 1.0)
    write_results(tmp_path, study, ["o"], space, Spending(), None)
    assert capsys.readouterr().err == ""
    column = pd.read_parquet(tmp_path / "trials.parquet")["param/x"].to_list()
    assert column == (expected or list(space.distributions["x"].choices))
    assert (tmp_path / "summary.yaml").is_file() and (tmp_path / "best.yaml").is_file()


def test_a_result_that_cannot_be_written_takes_no_other_down(tmp_path, capsys):
    study = opened(tmp_path)
    study.tell(study.ask(SPACE.distributions), 1.0)
    (tmp_path / "trials.parquet").mkdir()
    (tmp_path / "best.yaml").mkdir()
    summary = write_results(tmp_path, study, ["o"], SPACE, Spending(), None)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "trials.parquet cannot be had" in said[0] and "best.yaml cannot be had" in said[1]
    assert summary["best"][0]["trial"] == 0 and summary["ended"] == "all trials are done"
    for name in ("trials.csv", "importances.yaml", "summary.yaml"):
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize(("url", "shown"), [
    ("postgresql://h/db?user=me&password=pw", "postgresql://h/db"), ("postgresql://u:p?w@h:5/db", "postgresql://h:5/db"),
    ("postgresql://u:p/w@h/db", "postgresql://h/db"), ("redis://:pw@h/0", "redis://h/0"), ("sqlite:///x.db", "sqlite:///x.db"),
    ("sqlite:////a/x.db", "sqlite:////a/x.db"), ("postgresql://me:p%40w@h/db?sslmode=require&sslpassword=x",
    "postgresql://h/db?sslmode=require"), ("nonsense://me:pw@@::/", "nonsense://..."),
])  # fmt: skip
def test_an_address_is_shown_without_its_password(url, shown):
    assert without_password(url) == shown


def test_a_secret_is_no_part_of_a_study(tmp_path):
    opened(tmp_path, base={"seed": "42", "trainer.hub_token": "hf_SECRETSECRET"})
    assert "SECRET" not in (tmp_path / "journal.log").read_text()
    opened(tmp_path, base={"seed": "42", "trainer.hub_token": "another"})
    secret = ["trainer.hub_token=x", "++trainer.hub_token=x", "trainer={hub_token: x}", "a=hf_abcdefghijklmnop", "tracking.api_key=x"]
    plain = ["scale.completion_tokens=3", "+experiment=mix", "model.path=a/b", "rollout.max_tokens=7", "mix={easy:1}"]
    assert read_space({}, [*secret, *plain]).shown == plain


def test_options_without_a_name_say_how_to_give_it():
    with pytest.raises(UserError, match="sweep.sampler: options without a name; give hydra/sweeper/sampler=<name> beside them"):
        check_sampler({"seed": 1}, SPACE, 1)


def test_a_study_of_before_these_keys_were_is_the_same_study():
    space = read_space({"lr.peak": "interval(1e-5,1e-3)"}, [])
    base = base_of(configured("+experiment=mix_easy_hard"), space)
    before = {key: value for key, value in base.items() if key not in ALWAYS_WAS}
    assert len(before) < len(base) and _differences(before, base, "configuration") == ""
    assert "problems.by_level is new" in _differences(before, base | {"problems.by_level": "True"}, "configuration")
