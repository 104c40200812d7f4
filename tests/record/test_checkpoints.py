"""Checkpoints: what one holds, which ones stay, and that a kill leaves no half one."""

import shutil

import pytest
from conftest import TOY, configured

from src.common.errors import RunFailed
from src.experiment.run import run
from src.plan.out_of_memory import measuring_memory_in_words, memory_in_words
from src.plan.plan import make_plan
from src.record.checkpoints import Checkpoints, Progress


def commit(checkpoints, step, **progress):
    partial = checkpoints.partial / f"checkpoint-{step}"
    partial.mkdir(parents=True)
    (partial / "weights").write_text(str(step))
    checkpoints.commit(Progress(step=step, **progress))


def test_the_newest_and_the_best_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path, kept=2)
    accuracies = {}
    for step, accuracy in ((1, 0.2), (2, 0.9), (3, 0.9), (4, 0.1), (5, 0.3)):
        accuracies[str(step)] = accuracy
        commit(checkpoints, step, validation=dict(accuracies))
    assert checkpoints.steps() == [2, 4, 5]
    assert checkpoints.progress().best_step == 2


def test_a_kill_while_one_is_deleted_leaves_no_half_one(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, kept=1)
    commit(checkpoints, 1)

    class Killed(BaseException):
        pass

    def half(path, ignore_errors=False):
        if path.name == "deleted" and path.exists():
            (path / "weights").unlink()
            raise Killed

    monkeypatch.setattr("src.record.checkpoints.shutil.rmtree", half)
    with pytest.raises(Killed):
        commit(checkpoints, 2)
    monkeypatch.undo()
    assert all((checkpoints.at(step) / "weights").is_file() for step in checkpoints.steps())
    shutil.rmtree(checkpoints.partial, ignore_errors=True)
    commit(checkpoints, 3)
    assert checkpoints.steps() == [3] and not (tmp_path / "deleted").exists()


def test_a_checkpoint_holds_all_that_a_run_goes_on_from(toy_run):
    folder = toy_run / "checkpoints" / "checkpoint-4"
    # Weights, optimiser, schedule of the learning rate, random state, the trainer's place in the data.
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"):
        assert (folder / name).is_file(), name
    assert list(folder.glob("rng_state*.pth"))
    progress = Checkpoints(toy_run / "checkpoints", 2).progress()
    assert progress.step == 4
    assert progress.ledger["seconds"]["training"] > 0 and progress.ledger["completion_tokens"] > 0
    assert set(progress.validation) == {"2", "4"}


OUT_OF_MEMORY = (
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_is_one_line_with_the_plan_and_what_would_fit(error):
    config = configured("+experiment=mix_easy_hard", "scale=h200")
    with pytest.raises(RunFailed) as raised, memory_in_words(config, make_plan(config)):
        raise error
    said = str(raised.value)
    assert "\n" not in said and "layer inputs 4.2" in said and "hardware.device_batch_size=3" in said


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_while_measuring_names_the_batch_of_measuring(error):
    config = configured("evaluation.sampling.batch_size=400")
    with pytest.raises(RunFailed) as raised, memory_in_words(config, None), measuring_memory_in_words(config):
        raise error
    assert "evaluation.sampling.batch_size=100" in str(raised.value) and "device_batch_size" not in str(raised.value)


def test_torchs_own_class_is_recognised():
    import torch

    config = configured()
    with pytest.raises(RunFailed, match="out of memory"), memory_in_words(config, None):
        raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ("No available memory for the cache blocks. Try increasing `gpu_memory_utilization`", "0.4"),
        ("To serve at least one request with the model's max seq len (131072), (3.50 GiB KV cache is needed, which is "
         "larger than the available KV cache memory (1.00 GiB).", "0.4"),
        ("Free memory on device cuda:0 (10.0/141.0 GiB) on startup is less than desired GPU memory utilization", "0.2"),
    ],
)
def test_vllm_without_room_names_the_share(said, share):
    config = configured("+experiment=mix_easy_hard", "scale=h200")
    plan = make_plan(config)
    with pytest.raises(RunFailed, match=f"rollout.gpu_memory_share={share} "), memory_in_words(config, plan):
        raise ValueError(said)


def test_other_errors_pass_through():
    with pytest.raises(ValueError, match="something else"), memory_in_words(configured(), None):
        raise ValueError("something else")


def test_a_run_that_runs_out_of_memory_says_so_in_its_record(tmp_path, monkeypatch):
    from src.record.record import read_summary

    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("src.experiment.after_step.train", full)
    config = configured("+experiment=mix_easy_hard", *TOY, f"output_root={tmp_path}", f"run_dir={tmp_path}/run")
    with pytest.raises(RunFailed):
        run(config)
    summary = read_summary(tmp_path / "run")
    assert summary["status"] == "failed" and "out of memory" in summary["reason"]
