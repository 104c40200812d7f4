"""What a sweep meets besides: signals, frozen processes, full disks, damaged folders and storages, clocks that jump."""

import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time

import pandas as pd
import psutil
import pytest
import yaml
from conftest import configured
from test_sweep import ACCURACY, TINY, processes_of, started, swept, trials, wait_until

from src.common.errors import UserError
from src.common.files import NO_ROOM, finds_no_room
from src.common.locks import is_held
from src.record.record import read_summary
from src.sweep.engines.channel import Channel
from src.sweep.engines.local import LocalEngine
from src.sweep.engines.trial import TrialSpec, run_of_another, run_trial
from src.sweep.study import open_storage, without_password

ONE = ("lr.peak=interval(1e-4,1e-3)", "sweep.sampler=random", "sweep.pruner=none", "sweep.n_jobs=1", "sweep.n_trials=1")


def folder_of(root, name="mix_easy_hard"):
    return root / "outputs" / "sweeps" / name


def steps_of(folder, number=0):
    path = folder / "trials" / f"{number:04d}" / "metrics.jsonl"
    return [json.loads(line)["step"] for line in path.read_text().splitlines()] if path.is_file() else []


def spec_of(tmp_path, *changes, heartbeat_s=60, steps=2):
    config = configured(
        "+experiment=mix_easy_hard", *TINY, f"scale.steps={steps}", f"output_root={tmp_path}", f"run_dir={tmp_path}/run", *changes
    )
    return TrialSpec(
        0, "", [config.model_dump(mode="json")], str(tmp_path / "run"), str(tmp_path / "control"), "", [], 0, False,
        heartbeat_s, {}, time.monotonic(),
    )


def ended(spec):
    """The outcome of a trial that is run here."""
    channel = Channel(spec.control and __import__("pathlib").Path(spec.control))
    channel.prepare()
    run_trial(spec)
    return channel.outcome()


# A trial's folder ----------------------------------------------------------------------------------------------------


def test_a_folder_is_never_taken_for_another_configuration(tmp_path):
    first = swept(tmp_path, *ONE)
    assert first.returncode == 0, first.stderr
    folder = folder_of(tmp_path)
    value = trials(tmp_path)[ACCURACY].to_list()
    (folder / "journal.log").unlink()
    # The same trials again are what they were, and are not run again.
    before = (folder / "trials" / "0000" / "metrics.jsonl").stat().st_mtime_ns
    assert swept(tmp_path, *ONE).returncode == 0
    assert trials(tmp_path)[ACCURACY].to_list() == value
    assert (folder / "trials" / "0000" / "metrics.jsonl").stat().st_mtime_ns == before
    for change in (["sweep.storage=sqlite:///x.db"], ["sweep.storage=other.log"]):
        other = swept(tmp_path, *ONE[1:], "lr.peak=interval(2e-3,3e-3)", *change)
        assert other.returncode == 2 and other.stderr.count("\n") == 1, other.stderr
        assert "trials/0000 holds a run of another configuration (it differs in lr)" in other.stderr
    assert trials(tmp_path)[ACCURACY].to_list() == value  # nor are its results overwritten


@pytest.mark.parametrize(("change", "what"), [
    (["seed=7"], "seed"), (["scale.steps=3"], "scale"), (["trainer.beta=0.1"], "trainer"), (["length=staged"], "length"),
    (["tracking.project=x", "hardware.grading_workers=1"], None),
])  # fmt: skip
def test_what_makes_a_configuration_another(change, what, tmp_path, toy_run):
    shutil.copytree(toy_run, tmp_path / "run")
    mine = spec_of(tmp_path)
    content = yaml.safe_load((toy_run / "config.yaml").read_text())
    asked = mine.configs[0] | {key: content[key] for key in content if key not in ("run_dir",)}
    same = TrialSpec(**{**{f: getattr(mine, f) for f in mine.__slots__}, "configs": [asked]})
    assert run_of_another(same) is None
    changed = configured("+experiment=mix_easy_hard", *TINY, *[c.replace("trainer.", "++trainer.") for c in change])
    groups = {c.partition("=")[0].partition(".")[0] for c in change}
    asked |= {group: changed.model_dump(mode="json")[group] for group in groups}
    found = run_of_another(TrialSpec(**{**{f: getattr(mine, f) for f in mine.__slots__}, "configs": [asked]}))
    assert (found is None) if what is None else what in found
