"""What a sweep meets besides: signals, frozen processes, full disks, damaged folders, clocks that jump."""

import errno
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml
from conftest import command, configured
from test_sweep import ACCURACY, TINY, processes_of, started, swept, trials, wait_until
from test_sweep_fleet import HOUR, Log, states

from benchmarks.sweeps import FleetEngine, fleet_sweeper
from src.common.files import NO_ROOM, finds_no_room
from src.record.record import read_summary
from src.run import CONF
from src.sweep.config import SweepConfig
from src.sweep.engines.channel import Channel
from src.sweep.engines.engine import Ended
from src.sweep.engines.local import LocalEngine
from src.sweep.engines.trial import TrialSpec, run_of_another, run_trial

ONE = ("lr.peak=interval(1e-4,1e-3)", "sweep.sampler=random", "sweep.pruner=none", "sweep.n_jobs=1", "sweep.n_trials=1")


def folder_of(root):
    return root / "outputs" / "sweeps" / "mix_easy_hard"


def steps_of(root):
    path = folder_of(root) / "trials" / "0000" / "metrics.jsonl"
    return [json.loads(line)["step"] for line in path.read_text().splitlines()] if path.is_file() else []


def spec_of(folder, *changes):
    config = configured(
        "+experiment=mix_easy_hard", *TINY, f"output_root={folder}", f"run_dir={folder}/run", *changes
    ).model_dump(mode="json")
    return TrialSpec(
        0, "", [config], str(folder / "run"), str(folder / "control"), "", [], 0, False, 60, {}, time.monotonic()
    )


def outcome_of(spec):
    channel = Channel(Path(spec.control))
    channel.prepare()
    run_trial(spec)
    return channel.outcome()


# A trial's folder ----------------------------------------------------------------------------------------------------


def test_a_folder_is_never_taken_for_another_configuration(tmp_path):
    first = swept(tmp_path, *ONE)
    assert first.returncode == 0, first.stderr
    folder, value = folder_of(tmp_path), trials(tmp_path)[ACCURACY].to_list()
    (folder / "journal.log").unlink()
    # The same trials again are what they were, and are not run again.
    before = (folder / "trials" / "0000" / "metrics.jsonl").stat().st_mtime_ns
    assert swept(tmp_path, *ONE).returncode == 0
    assert trials(tmp_path)[ACCURACY].to_list() == value
    assert (folder / "trials" / "0000" / "metrics.jsonl").stat().st_mtime_ns == before
    other = ("lr.peak=interval(2e-3,3e-3)", *ONE[1:], f"sweep.storage=sqlite:///{tmp_path}/x.db", "sweep.study_name=mix_easy_hard")
    refused = swept(tmp_path, *other)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
    assert "trials/0000 holds a run of another configuration (it differs in lr)" in refused.stderr
    assert trials(tmp_path)[ACCURACY].to_list() == value  # nor are its results overwritten
    shutil.rmtree(folder / "trials" / "0000")  # as the refusal says; what its process said at last is no result either
    assert swept(tmp_path, *other).returncode == 0
    assert read_summary(folder / "trials" / "0000")["status"] == "complete"
    assert 2e-3 <= trials(tmp_path)["param/lr.peak"][0] <= 3e-3


@pytest.mark.parametrize(("change", "what"), [
    ("seed=7", "seed"), ("scale.steps=3", "scale"), ("++trainer.beta=0.1", "trainer"), ("length=staged", "length"),
    ("reward.weights.tag_count=1", "reward"), ("hardware.grading_workers=3", None), ("output_root=/elsewhere", None),
])  # fmt: skip
def test_what_makes_a_configuration_another(change, what, tmp_path):
    spec, changed = spec_of(tmp_path), spec_of(tmp_path, change)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(spec.configs[0]))
    assert run_of_another(spec) is None
    found = run_of_another(changed)
    assert found is None if what is None else f"(it differs in {what})" in found
    (tmp_path / "run" / "config.yaml").write_text("seed: 7\nof_the_future: 1\n")
    assert "cannot be compared" in run_of_another(spec)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A trial that ended after its first step, and the values of one that went through."""
    folder = tmp_path_factory.mktemp("begun")
    whole = outcome_of(spec_of(folder / "whole"))
    spec = spec_of(folder)
    channel = Channel(Path(spec.control))
    channel.prepare()
    channel.stop("enough")
    run_trial(spec)
    assert read_summary(folder / "run")["status"] == "interrupted"
    return folder / "run", whole.values


@pytest.mark.parametrize(("file", "content"), [
    ("summary.json", "{"), ("config.yaml", "a: ["), ("checkpoints/checkpoint-1/trainer_state.json", "{}"),
    ("problems.parquet", "PAR1"),
])  # fmt: skip
def test_a_trial_begins_anew_where_what_it_left_is_damaged(file, content, begun, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(begun[0], run)
    assert (run / file).is_file()
    (run / file).write_text(content)
    again = outcome_of(spec_of(tmp_path))
    assert (again.status, again.values) == ("complete", begun[1]), again.reason
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [1, 2]


# Signals -------------------------------------------------------------------------------------------------------------


def test_a_trial_that_somebody_ends_is_taken_up_again(tmp_path):
    sweeper = started(tmp_path, *ONE, "scale.steps=6")
    wait_until(lambda: steps_of(tmp_path), sweeper)
    processes_of(sweeper)[0].terminate()
    output, _ = sweeper.communicate(timeout=300)
    assert sweeper.returncode == 0, output
    assert "interrupted (SIGTERM); taken up again from step" in output and "all trials are done: 1 complete" in output
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_a_sweep_as_ctrl_c_does(number, tmp_path):
    sweeper = started(tmp_path, *ONE, "scale.steps=30")
    wait_until(lambda: steps_of(tmp_path), sweeper)
    if number == signal.SIGINT:
        sweeper.stdout.close()  # as tee, which gets the same Ctrl-C
    else:  # as a scheduler sends it, to all
        for process in psutil.Process(sweeper.pid).children(recursive=True):
            process.send_signal(number)
    sweeper.send_signal(number)
    if number == signal.SIGINT:
        assert sweeper.wait(300) == 130
    else:
        output, _ = sweeper.communicate(timeout=300)
        assert sweeper.returncode == 130 and "continue with the same command" in output, output
    assert read_summary(folder_of(tmp_path) / "trials" / "0000")["status"] == "interrupted"
    summary = yaml.safe_load((folder_of(tmp_path) / "summary.yaml").read_text())
    assert (summary["ended"], summary["trials"]) == (f"stopped by {number.name}".replace("SIGINT", "Ctrl-C"), {"running": 1})


# Hangs ---------------------------------------------------------------------------------------------------------------


def test_a_trial_that_hangs_is_taken_up_again(tmp_path):
    sweeper = started(tmp_path, *ONE, "scale.steps=6", "sweep.heartbeat=2")
    wait_until(lambda: steps_of(tmp_path), sweeper)
    metrics, aside = folder_of(tmp_path) / "trials" / "0000" / "metrics.jsonl", tmp_path / "aside"
    log = folder_of(tmp_path) / "logs" / "0000.log"
    metrics.rename(aside)
    os.mkfifo(metrics)  # as a file system that does not answer: opening it waits for ever
    wait_until(lambda: "Current thread" in log.read_text() or "Thread 0x" in log.read_text(), sweeper)
    aside.rename(metrics)
    output, _ = sweeper.communicate(timeout=300)
    assert sweeper.returncode == 0, output
    assert "died (no progress for" in output and "all trials are done: 1 complete" in output, output
    assert "after_step.py" in log.read_text()  # where it hung
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_a_frozen_nursery_is_noticed():
    engine = LocalEngine(1, 0, patience_s=1.0)
    try:
        while engine.owed:  # until it is ready
            engine.wait()
        frozen = engine.process
        os.kill(frozen.pid, signal.SIGSTOP)
        until = time.monotonic() + 20
        while engine.process is frozen and time.monotonic() < until:
            engine.wait()
        assert engine.process is not frozen and frozen.returncode == -signal.SIGKILL
    finally:
        engine.close()


def test_a_trial_that_hangs_before_its_first_word_is_silent(tmp_path):
    spec = replace(spec_of(tmp_path), log=str(tmp_path / "log"))
    os.mkfifo(spec.log)  # which nobody reads: opening it waits for ever
    engine = LocalEngine(1, 0)
    try:
        engine.start(spec)
        until = time.monotonic() + 60
        while engine.silent_s(spec.number) < 0.2 and time.monotonic() < until:
            engine.wait()
        assert engine.silent_s(spec.number) >= 0.2 and not Channel(Path(spec.control)).begun()
        engine.kill(spec.number)
        while not (ended := engine.ended()) and time.monotonic() < until:
            engine.wait()
        assert [each.number for each in ended] == [spec.number]
    finally:
        engine.close()


def test_what_is_damaged_in_a_control_folder_counts_as_not_there(tmp_path):
    channel = Channel(tmp_path)
    for content in (b"", b"{", b"[1]", b"\xff\xfe", b'{"of_another": 1}'):
        for name in ("report.json", "outcome.json", "answer.json", "stop.json", "started"):
            (tmp_path / name).write_bytes(content)
        assert (channel.report(), channel.outcome(), channel.final(), channel.asked_to_stop(), channel.start_delay_s()) == (None,) * 5


# Clocks --------------------------------------------------------------------------------------------------------------


def test_a_jump_of_the_wall_clock_is_no_silence_and_no_time_spent(tmp_path):
    channel = Channel(tmp_path)
    channel.prepare()
    channel.begin(0.0)
    assert channel.silent_s() < 1
    for hours in (-1, 1):
        then = time.time() + hours * HOUR
        for name in ("alive", "started"):
            os.utime(tmp_path / name, (then, then))
        assert channel.silent_s() < 1 and channel.running_s() < 1
    time.sleep(0.2)
    assert channel.silent_s() >= 0.2
    channel.show_life()
    assert channel.silent_s() < 0.1


FAKETIME = next(Path("/usr/lib").glob("**/libfaketime.so.1"), None)


@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime (apt install faketime)")
def test_a_sweep_takes_no_notice_of_a_wall_clock_that_jumps(tmp_path, monkeypatch):
    """An hour ahead during the first trial, and an hour behind during the second; the clock that does not jump goes on."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    for name, value in {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": clock, "FAKETIME_NO_CACHE": 1, "DONT_FAKE_MONOTONIC": 1}.items():
        monkeypatch.setenv(name, str(value))
    sweeper = started(tmp_path, *ONE[:-1], "sweep.n_trials=2", "scale.steps=6", "sweep.heartbeat=20", "sweep.trial_limit_s=600", "budget.hours=0.5")
    monkeypatch.delenv("LD_PRELOAD")
    for number, shift in enumerate(("+1h", "-1h")):
        metrics = folder_of(tmp_path) / "trials" / f"000{number}" / "metrics.jsonl"
        wait_until(metrics.is_file, sweeper)
        clock.write_text(shift)
    output, _ = sweeper.communicate(timeout=300)
    assert sweeper.returncode == 0 and "died" not in output, output
    table, summary = trials(tmp_path), yaml.safe_load((folder_of(tmp_path) / "summary.yaml").read_text())
    assert table["state"].to_list() == ["complete"] * 2 and 0 < summary["spent"]["hours"] < 0.5
    hours = (table["ended"] - table["began"]).dt.total_seconds() / 3600
    assert hours[0] > 0.9 and hours[1] < -1.5  # so the clock did jump, twice
    assert all(0 < seconds < 600 for seconds in table["seconds"])


# Disks ---------------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_known_by_whoever_reports_it():
    try:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise RuntimeError("the checkpoint could not be written") from error
    except RuntimeError as error:
        assert finds_no_room(error)
    assert finds_no_room(ValueError("I/O error: No space left on device (os error 28)"))
    assert not finds_no_room(OSError(errno.EIO, "broken")) and not finds_no_room(ValueError("no room"))


class FullDisk(FleetEngine):
    """Trials die of the disk until `room_at`."""

    room_at = 0.0

    def start(self, spec):
        super().start(spec)
        if self.clock < self.room_at:
            self.events = [event for event in self.events if event[1] != spec.number]
            del self.curve[spec.number], self.began[spec.number]
            self.over.append(Ended(spec.number, None, NO_ROOM))

    def wait(self):
        if not self.events:
            self.clock += 1.0
        super().wait()


@pytest.mark.parametrize("room_after_s", [60.0, 1e9])
def test_trials_wait_for_room_and_are_never_lost(room_after_s, tmp_path):
    config = SweepConfig(n_trials=4, n_jobs=2, pruner="none", sampler="random", retries=0)
    engine = FullDisk(2, [[0.5, 0.6]], HOUR, 0, 1.0)
    engine.room_at = room_after_s
    sweeper = fleet_sweeper(tmp_path, engine, config, Log)
    why = sweeper.run()
    sweeper.claims.close()
    if room_after_s == 60.0:
        assert why is None and states(sweeper) == ["complete"] * 4
        return
    assert why.startswith(NO_ROOM) and states(sweeper) == ["running"] * 2 and engine.clock < 1000
    later = fleet_sweeper(tmp_path, FullDisk(2, [[0.5, 0.6]], HOUR, 0, 1.0), config, Log)
    assert later.run() is None and states(later) == ["complete"] * 4


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few megabytes, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("this user may mount no file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_trial_on_a_full_disk_is_complete_when_there_is_room(small_disk, tmp_path):
    folder = folder_of(tmp_path)
    folder.mkdir(parents=True)
    (folder / "trials").symlink_to(small_disk)  # the trials' disk alone is full
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"0" * (1 << 16))
    sweeper = started(tmp_path, *ONE, "sweep.retries=0")
    log = folder / "logs" / "0000.log"
    until = time.monotonic() + 200
    while sweeper.poll() is None and time.monotonic() < until and not (log.is_file() and log.read_text().count("trial 0:") > 1):
        time.sleep(0.1)
    ballast.unlink()
    output, _ = sweeper.communicate(timeout=300)
    assert sweeper.returncode == 0 and "waits (no room on the disk" in output, output
    assert trials(tmp_path)["state"].to_list() == ["complete"]


# What is left --------------------------------------------------------------------------------------------------------

SECRET = "hf_SECRETSECRETSECRET"
SUGGEST = '''
def suggest(config, trial):
    trial.suggest_float("+trainer.weight_decay", 0.01, 0.1)
    if trial.params["rollout.min_p"] == "null":
        trial.suggest_categorical("length", ["fixed", "staged"])

def twice(config, trial):
    trial.suggest_float("lr.peak", 1e-4, 1e-3)

def broken(config, trial):
    trial.suggest_float("x")
'''


def test_a_sweep_of_mixed_types_and_further_parameters_tells_no_secret(command_here, tmp_path, monkeypatch):
    (tmp_path / "spaces.py").write_text(SUGGEST)
    mine = tmp_path / "mine" / "experiment"
    mine.mkdir(parents=True)
    shutil.copy(CONF / "experiment" / "mix_easy_hard.yaml", mine / "of_mine.yaml")
    arguments = (
        "-m", "--config-dir", "mine", "+experiment=of_mine", *TINY, "scale.steps=1", "rollout.min_p=null,0.1", "lr.peak=1e-4",
        "hydra/sweeper/sampler=random", "sweep.sampler.seed=4", "sweep.n_trials=2", "sweep.pruner=none", f"trainer.hub_token={SECRET}",
        "sweep.storage=sqlite:///study.db",
    )

    monkeypatch.syspath_prepend(tmp_path)
    for function, fault in (("twice", "it suggests lr.peak, whose value is fixed (lr.peak=1e-4)"), ("broken", "it raises TypeError")):
        refused = command_here(*arguments, f"sweep.custom_search_space=spaces.{function}")
        assert refused.returncode == 2 and fault in refused.stderr and refused.stderr.count("\n") == 1, refused.stderr
        assert not (tmp_path / "outputs" / "sweeps").exists()
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    result = command(*arguments, "sweep.custom_search_space=spaces.suggest", cwd=tmp_path, **environment)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    table = trials(tmp_path, "of_mine")
    assert set(table["param/rollout.min_p"]) == {"null", "0.1"} and set(table["state"]) == {"complete"}
    folder = tmp_path / "outputs" / "sweeps" / "of_mine"
    for row in table.to_dict("records"):
        config = yaml.safe_load((folder / "trials" / f"{row['number']:04d}" / "config.yaml").read_text())
        assert config["trainer"]["weight_decay"] == row["param/+trainer.weight_decay"]
        assert config["length"]["schedule"] == (row["param/length"] if row["param/rollout.min_p"] == "null" else "fixed")
    (best,) = yaml.safe_load((folder / "best.yaml").read_text())
    assert f"--config-dir={tmp_path}/mine" in best["command"] and "+trainer.weight_decay=" in best["command"]
    of_the_sweep = [path for path in folder.rglob("*") if path.is_file() and "trials" not in path.relative_to(folder).parts[:1]]
    told = [path for path in of_the_sweep if SECRET.encode() in path.read_bytes()]
    assert told == [] and len(of_the_sweep) > 8 and SECRET not in result.stdout
