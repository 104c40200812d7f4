"""Trials of several training processes each (gloo), and the process that forks trials."""

import os
import subprocess
import sys

import psutil
import pytest
from conftest import ROOT
from test_sweep import ACCURACY, processes_of, started, trials, wait_until
from test_sweep_faults import folder_of, steps_of

from src.record.record import read_summary

PATIENCE_S = 500
TWO = (
    "hardware.processes=2", "hardware.device_batch_size=6", "scale.steps=6", "sweep.sampler=grid", "lr.peak=1e-4,2e-4", "sweep.n_jobs=2",
)


def ranks_of(trial):
    """A trial's training processes by their rank, with the port of their rendezvous."""
    found = {}
    for process in trial.children():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if "src.sweep.engines.rank" in process.cmdline():
            found[int(environment["RANK"])] = (process, environment["MASTER_PORT"])
    return found


def trial_of(sweeper, number):
    """The process of a trial, known by its log."""
    name = f"{number:04d}.log"
    return next(trial for trial in processes_of(sweeper) if os.readlink(f"/proc/{trial.pid}/fd/1").endswith(name))


def begun(folder, *arguments):
    return started(folder, *TWO, *arguments)


def lines_of(folder, number):
    path = folder_of(folder) / "trials" / f"{number:04d}" / "metrics.jsonl"
    return path.read_text().count("\n") if path.is_file() else 0


def test_trials_of_two_processes_go_through_kills_and_signals(tmp_path):
    sweeper = begun(tmp_path, "sweep.pruner=none", "sweep.retries=2")
    wait_until(lambda: all(lines_of(tmp_path, number) for number in (0, 1)), sweeper, PATIENCE_S)
    sets = [ranks_of(trial_of(sweeper, number)) for number in (0, 1)]
    assert [sorted(each) for each in sets] == [[0, 1], [0, 1]]
    ports = [{port for _, port in each.values()} for each in sets]
    assert all(len(each) == 1 for each in ports) and ports[0] != ports[1]
    sets[0][1][0].kill()
    for process in (trial_of(sweeper, 1), *(process for process, _ in sets[1].values())):  # as a scheduler sends it, to all
        process.terminate()
    output, _ = sweeper.communicate(timeout=PATIENCE_S)
    assert sweeper.returncode == 0, output
    assert "trial 0 died (training process 1 was ended by SIGKILL; taken up again from step" in output, output
    assert "trial 1 died (interrupted (SIGTERM); taken up again from step" in output, output
    table = trials(tmp_path)
    assert table["state"].to_list() == ["complete"] * 2 and table["deaths"].to_list() == [1, 1]
    for number in (0, 1):
        summary = read_summary(folder_of(tmp_path) / "trials" / f"{number:04d}")
        assert (summary["status"], lines_of(tmp_path, number)) == ("complete", 6)
        assert summary["objective"] == table.set_index("number")[ACCURACY][number]
    psutil.wait_procs([process for each in sets for process, _ in each.values()], timeout=30)
    assert not any(process.is_running() for each in sets for process, _ in each.values())


def test_a_frozen_process_of_a_trial_is_noticed_and_a_pruned_trial_ends_all(tmp_path):
    sweeper = begun(tmp_path, "sweep.n_jobs=1", "sweep.heartbeat=2", "sweep.pruner={name:successive_halving,min_resource:5,bootstrap_count:2}")
    wait_until(lambda: steps_of(tmp_path), sweeper, PATIENCE_S)
    frozen = ranks_of(trial_of(sweeper, 0))
    frozen[1][0].suspend()
    output, _ = sweeper.communicate(timeout=PATIENCE_S)
    assert sweeper.returncode == 0, output
    assert "trial 0 died (no progress for" in output and "a training process hangs" in output, output
    assert trials(tmp_path)["state"].to_list() == ["pruned"] * 2
    assert not any(process.is_running() for process, _ in frozen.values())


def test_each_seed_of_a_trial_has_a_set_of_its_own(tmp_path):
    """The trial's own process, which does nothing meanwhile, does not count as hanging."""
    sweeper = begun(tmp_path, "sweep.n_jobs=1", "sweep.n_trials=1", "sweep.seeds=2", "sweep.heartbeat=1", "scale.steps=2")
    output, _ = sweeper.communicate(timeout=PATIENCE_S)
    assert sweeper.returncode == 0, output
    table = trials(tmp_path)
    assert table[["state", "deaths", "steps"]].to_numpy().tolist() == [["complete", 0, 4]], output


def test_a_killed_trial_takes_its_processes_along(tmp_path):
    sweeper = begun(tmp_path, "sweep.n_jobs=1", "sweep.pruner=none", "sweep.n_trials=1", "scale.steps=30")
    wait_until(lambda: steps_of(tmp_path), sweeper, PATIENCE_S)
    everybody = psutil.Process(sweeper.pid).children(recursive=True)
    sweeper.kill()
    _, alive = psutil.wait_procs(everybody, timeout=60)
    assert not alive and len(everybody) >= 4  # nursery, trial, and two


LOOK = """
import os, sys
from src.sweep.engines.nursery import import_libraries
import_libraries()
import torch
print(torch.cuda.is_initialized(), "vllm" in sys.modules, "trl" in sys.modules, torch.get_num_threads() and sorted(
    open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")))
"""


@pytest.mark.parametrize("installed", [False, True], ids=["without vLLM", "with vLLM"])
def test_neither_cuda_nor_vllm_begins_before_the_fork(installed, tmp_path):
    """The package named vllm is there to be found; imported, it ends the process."""
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").write_text("raise SystemExit('vLLM was imported')")
    (tmp_path / "vllm-0.31.0.dist-info").mkdir()
    (tmp_path / "vllm-0.31.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.31.0\n")
    path = os.pathsep.join([str(ROOT), *([str(tmp_path)] if installed else [])])
    environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
    found = subprocess.run([sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, timeout=200)
    assert found.stdout.startswith("False False True"), found.stderr
