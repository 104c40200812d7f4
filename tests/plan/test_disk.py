"""Room on the disk: what checkpoints take, what is kept of them, and what does not fit is refused before the start."""

import shutil
from collections import namedtuple

import pandas as pd
import pytest
from conftest import TOY, configured

from src.common.errors import UserError
from src.experiment.preparing import check_machine
from src.experiment.run import run
from src.model.architecture import architecture
from src.model.load import load_model
from src.plan.disk import check_disk, checkpoint_bytes, disk_bytes, size_of
from src.plan.plan import make_plan, rows
from src.plan.workload import workload
from src.record.record import read_summary
from src.sweep.composer import seeds_of
from src.sweep.config import parse_sweep
from src.sweep.plan import check_sweep_disk, disk_gb

ONE_H200 = ("+experiment=mix_easy_hard", "scale=h200")
USAGE = namedtuple("usage", "total used free")


def planned(*overrides):
    config = configured(*overrides)
    return config, workload(config, architecture(config.model))


def test_a_checkpoint_by_hand():
    _, w = planned(*ONE_H200)
    n = w.architecture.parameters
    assert checkpoint_bytes(w) == {"weights": 4 * n, "state": 8 * n}  # float32, and AdamW's two moments
    _, w = planned("+experiment=mix_easy_hard", "scale=open_rs")
    assert checkpoint_bytes(w) == {"weights": 2 * n, "state": 14 * n}  # DeepSpeed: 12 a parameter, and the weights again
    _, w = planned("+experiment=mix_easy_hard", "scale=open_rs", "hardware.sharding=fsdp2")
    assert checkpoint_bytes(w) == {"weights": 4 * n, "state": 12 * n}
    _, w = planned(*ONE_H200, "model.lora={rank: 16, alpha: 32}", "model.dtype=bfloat16")
    assert checkpoint_bytes(w) == {"weights": 4 * w.trained_parameters, "state": 8 * w.trained_parameters}


def test_a_checkpoint_is_as_large_as_planned(toy_run):
    _, w = planned("+experiment=mix_easy_hard", *TOY)
    folder, planned_bytes = toy_run / "checkpoints" / "checkpoint-4", checkpoint_bytes(w)
    assert (folder / "model.safetensors").stat().st_size == pytest.approx(planned_bytes["weights"], rel=0.05)
    assert (folder / "optimizer.pt").stat().st_size == pytest.approx(planned_bytes["state"], rel=0.05)
    assert size_of(folder) == pytest.approx(sum(planned_bytes.values()), rel=0.1)


def test_adapters_are_as_large_as_planned(tmp_path):
    overrides = ("+experiment=mix_easy_hard", *TOY, "model.lora={rank: 8, alpha: 16}", "scale.steps=2")
    config, w = planned(*overrides, f"run_dir={tmp_path}/run", f"output_root={tmp_path}", "record.checkpoint=weights")
    run(config)
    (folder,) = (tmp_path / "run" / "checkpoints").glob("checkpoint-*")
    found = (folder / "adapter_model.safetensors").stat().st_size
    assert found == pytest.approx(checkpoint_bytes(w)["weights"], rel=0.1)


def test_as_many_lie_there_as_are_kept_and_the_best_and_the_one_that_is_written():
    config, w = planned(*ONE_H200)
    whole = 12 * w.architecture.parameters
    assert disk_bytes(config, w)["at once"] == 4 * whole and disk_bytes(config, w)["kept"] == 3 * whole
    config, w = planned(*ONE_H200, "record.checkpoint=weights")
    assert disk_bytes(config, w)["at once"] == 4 * whole and disk_bytes(config, w)["kept"] == whole / 3
    config, w = planned(*ONE_H200, "scale.steps=50")  # one checkpoint in all
    assert disk_bytes(config, w)["at once"] == disk_bytes(config, w)["kept"] == whole
    plan = make_plan(configured(*ONE_H200))
    assert "a checkpoint 21.3 GB (weights 7.1), at once 85.3 GB, kept 64.0 GB" in rows(configured(*ONE_H200), plan)["disk"]


def test_a_run_without_room_is_refused_before_it_begins(tmp_path, monkeypatch):
    overrides = ("+experiment=mix_easy_hard", f"output_root={tmp_path}/not/there/yet")
    config, w = planned(*overrides)
    needed = disk_bytes(config, w)["at once"]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: USAGE(0, 0, int(needed) + 1))
    check_machine(config)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: USAGE(0, 0, int(needed) - 1))
    with pytest.raises(UserError, match=r"^no room on the disk: checkpoints need 0\.0 GB more in .*record\.checkpoints_kept=1"):
        check_machine(config)
    there = tmp_path / "run" / "checkpoints" / "checkpoint-2"
    there.mkdir(parents=True)
    (there / "optimizer.pt").write_bytes(b"0" * 1000)
    check_disk(configured(*overrides).model_copy(update={"resume": str(tmp_path / "run")}))  # some of it lies there already


def test_a_finished_run_keeps_the_best_weights_alone_where_that_is_asked(tmp_path):
    """Once it is complete: until then all is there to go on from."""
    overrides = ("+experiment=mix_easy_hard", *TOY, "record.checkpoint=weights", f"output_root={tmp_path}")
    stopped = run(configured(*overrides, f"run_dir={tmp_path}/stopped", "hardware.price_usd_per_gpu_hour=3600", "budget.usd=0.01"))
    assert stopped["status"] == "out_of_budget"
    whole = run(configured(*overrides, f"run_dir={tmp_path}/whole"))
    (kept,) = (tmp_path / "whole" / "checkpoints").glob("checkpoint-*")
    assert kept.name == f"checkpoint-{whole['best_step']}"
    assert not list(kept.glob("optimizer*")) and not list(kept.glob("rng_state*"))
    assert load_model(configured(f"model.path={kept}").model).num_parameters() == 377376
    assert read_summary(tmp_path / "whole")["status"] == "complete"


def test_trials_keep_weights_alone_unless_all_is_asked_for(tmp_path):
    for given, kept in (("null", "weights"), ("all", "all"), ("weights", "weights")):
        (content,) = seeds_of(configured(f"record.checkpoint={given}"), 1, tmp_path)
        assert content["record"]["checkpoint"] == kept


def test_a_sweep_needs_room_for_what_runs_at_once_and_for_what_each_trial_keeps(tmp_path, monkeypatch):
    first, sweep = configured(*ONE_H200), parse_sweep({"n_jobs": 2, "seeds": 3})
    n = 1_777_088_000
    plan = make_plan(configured(*ONE_H200, "record.checkpoint=weights"))
    at_once, kept = 2 * 4 * 12 * n / 1e9, 30 * 4 * n / 1e9
    assert disk_gb([[plan]], sweep, 10) == pytest.approx(at_once + kept)
    climbing = {"n_jobs": 2, "seeds": 3, "fidelity": {"steps": [100, 300]}}
    for keeps, expected in ((False, at_once + kept), (True, at_once + 2 * kept)):  # a lower rung's are removed unless asked for
        assert disk_gb([[plan], [plan]], parse_sweep(climbing | {"keep_pruned_checkpoints": keeps}), 10) == pytest.approx(expected)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: USAGE(0, 0, 10**11))
    with pytest.raises(UserError, match="checkpoints need 383.9 GB more"):
        check_sweep_disk([first], sweep, 10, tmp_path)
    states = ["complete"] * 8 + ["running"] * 2  # two trials of three runs are left, and what one of them has written is there
    pd.DataFrame({"number": range(10), "state": states}).to_parquet(tmp_path / "trials.parquet")
    for number, size in ((0, 10**6), (9, 10**9)):
        (tmp_path / "trials" / f"{number:04d}").mkdir(parents=True)
        with (tmp_path / "trials" / f"{number:04d}" / "weights").open("wb") as file:
            file.truncate(size)
    needed = at_once + kept * 6 / 30 - 1
    with pytest.raises(UserError, match=f"checkpoints need {needed:.1f} GB more"):
        check_sweep_disk([first], sweep, 10, tmp_path)
