"""Several training processes: the same batches as one, one record, any number of them goes on, and none is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
from conftest import TOY, command, configured

from src.common.errors import RunFailed, UserError
from src.common.pace import Pace
from src.common.types import Stop
from src.experiment.preparing import check_same_sharding
from src.experiment.run import run
from src.hardware import launch, ranks
from src.hardware.launch import needs_launch
from src.record.record import read_summary

STEPS, LEARNING_STEPS = 8, 16
PATIENCE_S = 900  # with any one process; the tests share two cores with whatever else runs
TOY_OF_MANY = (
    "+experiment=mix_easy_hard", *TOY, f"scale.steps={STEPS}", "record.completions_every_steps=1",
    "record.checkpoint_every_steps=4", "evaluation.validation.every_steps=8", "~evaluation.suites.chains",
)
LEARNING = (  # enough of it that the gain is no accident
    *TOY_OF_MANY, f"scale.steps={LEARNING_STEPS}", f"evaluation.validation.every_steps={LEARNING_STEPS}",
    "algorithm.prompts_per_step=8", "lr=constant", "lr.peak=2e-4",
    "hardware.device_batch_size=24", "evaluation.validation.problems_per_level=24",
)
TWO = "hardware.processes=2"


def problems_by_step(folder):
    """The problems of each global batch, in their order."""
    tables = sorted((folder / "completions").glob("step_*.parquet"))
    return [pd.read_parquet(table)["problem_id"].tolist() for table in tables]


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def optimiser_steps(folder):
    import torch

    state = torch.load(folder / "checkpoints" / f"checkpoint-{STEPS}" / "optimizer.pt", weights_only=True)["state"]
    return {int(entry["step"]) for entry in state.values()}


def start(folder, *arguments, work=TOY_OF_MANY):
    return subprocess.Popen(
        [sys.executable, "-m", "src.run", *work, TWO, f"output_root={folder}", f"run_dir={folder}/run", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )


def wait_for_steps(process, folder, number):
    """The processes that a run has started, once it has done so many steps."""
    path = folder / "run" / "metrics.jsonl"
    deadline = time.monotonic() + PATIENCE_S
    while not (path.is_file() and path.read_text().count("\n") >= number):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    return psutil.Process(process.pid).children(recursive=True)


def ranks_of(started):
    """The training processes among them, by rank."""
    environments = [(process, process.environ()) for process in started if "src.run" in process.cmdline()]
    return {int(environment["RANK"]): process for process, environment in environments if "RANK" in environment}


def assert_gone(started, seconds=60):
    _, alive = psutil.wait_procs(started, timeout=seconds)
    assert not alive


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    run(configured(*LEARNING, f"output_root={folder}", f"run_dir={folder}/run"))
    return folder / "run"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    result = command(*LEARNING, TWO, f"output_root={folder}", f"run_dir={folder}/run", cwd=folder, patience_s=PATIENCE_S)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder / "run"


def test_two_processes_train_on_the_batches_of_one(one, two):
    assert problems_by_step(one) == problems_by_step(two)
    assert [len(problems) for problems in problems_by_step(two)] == [48] * LEARNING_STEPS


def test_the_record_is_written_once_and_counts_all_processes(two):
    assert [line["step"] for line in lines(two)] == list(range(1, LEARNING_STEPS + 1))
    for number, line in enumerate(lines(two), 1):
        samples = pd.read_parquet(two / "completions" / f"step_{number:05d}.parquet")
        assert line["accuracy"] == pytest.approx(samples["correct"].mean())
        assert line["completion_tokens/mean"] == pytest.approx(samples["tokens"].mean())
    tokens = sum(pd.read_parquet(table)["tokens"].sum() for table in (two / "completions").iterdir())
    assert lines(two)[-1]["completion_tokens"] == tokens == read_summary(two)["cost"]["completion_tokens"]
    assert [path.name for path in two.parent.iterdir() if not path.name.startswith(".")] == ["run"]


def test_two_processes_learn_as_one_does(one, two):
    gains = [read_summary(folder)["evaluation"]["validation"]["after"]["gain"] for folder in (one, two)]
    assert all(gain["ci_low"] > 0 for gain in gains)
    assert max(gain["ci_low"] for gain in gains) <= min(gain["ci_high"] for gain in gains)
    before = [read_summary(folder)["evaluation"]["validation"]["before"]["accuracy"] for folder in (one, two)]
    assert before[0] == before[1]


def test_two_processes_share_out_the_weights_and_one_goes_on_with_them(one, tmp_path):
    """FSDP2 on the batches of one process: learns as it does, and its checkpoints are whole."""
    import torch

    process = start(tmp_path, "hardware.sharding=fsdp2", work=LEARNING)
    started = wait_for_steps(process, tmp_path, LEARNING_STEPS - 4)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert_gone(started)
    assert process.returncode == 130, errors[-3000:]
    folder = tmp_path / "run"
    for sharding in ("none", "zero2"):  # from this checkpoint neither goes on
        with pytest.raises(UserError, match="set hardware.sharding=fsdp2"):
            check_same_sharding(folder, configured(*LEARNING, TWO).hardware.model_copy(update={"sharding": sharding}))

    result = command(f"resume={folder}", "hardware.processes=1", cwd=tmp_path, patience_s=PATIENCE_S)
    assert result.returncode == 0, result.stderr[-3000:]
    assert problems_by_step(folder) == problems_by_step(one)
    assert [line["learning_rate"] for line in lines(folder)] == [line["learning_rate"] for line in lines(one)]
    shared, alone = (read_summary(path)["evaluation"]["validation"] for path in (folder, one))
    assert shared["before"]["accuracy"] == alone["before"]["accuracy"]
    assert shared["after"]["gain"]["ci_low"] > 0
    assert shared["after"]["gain"]["ci_high"] >= alone["after"]["gain"]["ci_low"]
    checkpoint = folder / "checkpoints" / f"checkpoint-{LEARNING_STEPS}"
    state = torch.load(checkpoint / "optimizer.bin", weights_only=True)["state"]
    whole = torch.load(checkpoint / "pytorch_model_fsdp.bin", weights_only=True)
    assert {int(entry["step"]) for entry in state.values()} == {LEARNING_STEPS}
    assert all(state[name]["exp_avg"].shape == whole[name].shape for name in state) and len(state) > 20


def test_the_reference_model_is_never_whole_under_fsdp2(tmp_path):
    """Each of its layers is gathered by itself; it gives the same numbers."""
    import torch
    from accelerate.utils import FullyShardedDataParallelPlugin
    from torch.distributed.fsdp import FSDPModule
    from trl.trainer import grpo_trainer, rloo_trainer

    from src.model.load import load_model
    from src.training import fsdp

    model = load_model(configured().model).eval()
    ids = torch.arange(10, 30)[None]
    with torch.no_grad():
        expected = model(input_ids=ids).logits
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, reshard_after_forward=True)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    kept = grpo_trainer.prepare_fsdp
    try:
        fsdp.shard_reference_by_layer()
        assert grpo_trainer.prepare_fsdp is rloo_trainer.prepare_fsdp  # whichever of TRL's trainers holds the reference
        accelerator = SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin), device=torch.device("cpu"))
        sharded = grpo_trainer.prepare_fsdp(model, accelerator)
        pieces = [name for name, module in sharded.named_modules() if isinstance(module, FSDPModule)]
        with torch.no_grad():
            assert torch.equal(sharded(input_ids=ids).logits, expected)
    finally:
        grpo_trainer.prepare_fsdp = rloo_trainer.prepare_fsdp = kept
        torch.distributed.destroy_process_group()
    assert pieces == ["", *(f"model.layers.{layer}" for layer in range(model.config.num_hidden_layers))]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run(configured(*TOY_OF_MANY, f"output_root={folder}", f"run_dir={folder}/run"))
    return folder / "run"


def test_a_run_of_two_goes_on_with_one(undisturbed, tmp_path):
    process = start(tmp_path)
    started = wait_for_steps(process, tmp_path, 3)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert_gone(started)
    assert (process.returncode, errors) == (130, "")
    assert "resume=" in output
    assert read_summary(tmp_path / "run")["status"] == "interrupted"
    stopped_at = read_summary(tmp_path / "run")["steps"]
    assert (tmp_path / "run" / "checkpoints" / f"checkpoint-{stopped_at}").is_dir() and stopped_at < STEPS

    result = command(f"resume={tmp_path}/run", "hardware.processes=1", cwd=tmp_path, patience_s=PATIENCE_S)
    assert result.returncode == 0, result.stderr[-3000:]
    went_on_like(undisturbed, tmp_path / "run")


def test_a_run_of_one_goes_on_with_two_that_torchrun_started_all_from_the_same_whole_checkpoint(undisturbed, tmp_path):
    """Under torchrun no second set of processes is started."""
    def at_six(line, measured):
        return Stop("interrupted", "enough") if line["step"] == 6 else None

    every_two = "record.checkpoint_every_steps=2"
    run(configured(*TOY_OF_MANY, every_two, f"output_root={tmp_path}", f"run_dir={tmp_path}/run"), watches=[at_six])
    checkpoints = tmp_path / "run" / "checkpoints"
    (checkpoints / "checkpoint-6" / "lab_state.json").write_text("{")  # which no process can go on from
    result = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "src.run",
         f"resume={tmp_path}/run", TWO],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("record: ") == 1
    assert "checkpoint-6: lab_state.json is not what was written" in " ".join(result.stdout.split())
    assert (checkpoints / "checkpoint-6.damaged").is_dir()
    went_on_like(undisturbed, tmp_path / "run")
    losses, expected = ([line["loss"] for line in lines(folder)] for folder in (tmp_path / "run", undisturbed))
    assert losses[:4] == expected[:4] and losses[4:] != expected[4:]  # other samples of the same problems


def went_on_like(undisturbed, folder):
    assert read_summary(folder)["status"] == "complete"
    assert [line["step"] for line in lines(folder)] == list(range(1, STEPS + 1))
    assert problems_by_step(folder) == problems_by_step(undisturbed)
    assert [line["learning_rate"] for line in lines(folder)] == [line["learning_rate"] for line in lines(undisturbed)]
    assert optimiser_steps(folder) == optimiser_steps(undisturbed) == {STEPS}


def test_a_process_that_dies_ends_all_with_one_error(tmp_path):
    process = start(tmp_path)
    started = wait_for_steps(process, tmp_path, 2)
    ranks_of(started)[1].kill()
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert_gone(started)
    assert process.returncode == 1
    assert errors.strip().splitlines()[-1] == "error: training process 1 was ended by SIGKILL"
    assert read_summary(tmp_path / "run")["status"] == "failed"


def test_nobody_is_left_when_the_first_process_is_killed(tmp_path):
    process = start(tmp_path)
    started = wait_for_steps(process, tmp_path, 1)
    assert sorted(ranks_of(started)) == [0, 1]
    process.kill()
    assert_gone(started)


def test_what_the_user_got_wrong_is_said_once(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("no run's file")
    process = start(tmp_path)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert errors.startswith("error: run_dir:") and errors.count("\n") == 1


def test_a_failure_that_all_share_is_said_once(tmp_path):
    process = start(tmp_path, "lr.peak=1e30", "trainer.max_grad_norm=1e30")
    _, errors = process.communicate(timeout=PATIENCE_S)
    summary = read_summary(tmp_path / "run")
    assert (process.returncode, summary["status"]) == (1, "failed")
    assert errors.strip() == f"error: {summary['reason']}" and "not finite" in summary["reason"]


def test_a_launcher_with_another_number_of_processes_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert not needs_launch(configured(*TOY, TWO).hardware)
    with pytest.raises(UserError, match="2 asked for, 3 running"):
        ranks.check_world(2)


def test_slurm_tells_each_task_its_place(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1234567")
    assert needs_launch(configured(*TOY, TWO).hardware)  # in a batch script, where srun has not started anything
    for name, value in {"STEP_NUM_TASKS": 6, "PROCID": 4, "LOCALID": 1, "STEP_TASKS_PER_NODE": "3(x2)",
                        "STEP_NODELIST": "node7"}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    with monkeypatch.context() as context:
        context.setattr(os, "environ", dict(os.environ))
        ranks.adopt_slurm()
        assert (ranks.rank(), ranks.world_size(), ranks.in_set()) == (4, 6, True)
        assert (os.environ["LOCAL_RANK"], os.environ["LOCAL_WORLD_SIZE"]) == ("1", "3")
        assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("node7", "24567")


def test_only_hardware_may_change_when_a_run_goes_on(one, tmp_path):
    from src.common.files import write_json
    from src.config.continuing import config_to_continue

    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text((one / "config.yaml").read_text())
    write_json(folder / "summary.json", {"status": "interrupted"})
    assert config_to_continue(folder, None, {"hardware": {"processes": 2}}).hardware.processes == 2
    with pytest.raises(UserError, match="cannot be split into passes"):
        config_to_continue(folder, None, {"hardware": {"processes": 5}})


def test_a_set_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setenv(ranks.SET_FOLDER, str(tmp_path))
    monkeypatch.setattr(ranks, "PACE", Pace())
    ranks.PACE.least_s = 0.5
    ranks.error_file(tmp_path, 0).touch()
    waiting = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    try:
        ranks.tell_pace()
        seen = launch.PaceSeen(ranks.pace_file(tmp_path))
        assert seen.hung_s() is None  # before anything was done
        for work in (ranks.PACE.advance, ranks.PACE.rest):
            work()
            assert seen.hung_s() is None
        time.sleep(0.7)
        assert seen.hung_s() is None  # it rests
        ranks.PACE.advance()
        with pytest.raises(RunFailed, match="no progress for 1 s: a training process hangs"):
            launch.watch(waiting, tmp_path)
    finally:
        for process in waiting:
            process.kill()
