"""The record: whole files, continued without a trace, and an account that adds up."""

import json

import pytest
from conftest import configured

from src.common.errors import UserError
from src.common.files import write_whole
from src.experiment.preparing import check_same_sharding
from src.record.checkpoints import Checkpoints, Progress
from src.record.ledger import Ledger
from src.record.record import Record, look_up, new_folder


@pytest.fixture
def record(tmp_path):
    return Record.open(tmp_path / "run", "seed: 1\n", {"experiment": "x"})


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def half(temporary):
        temporary.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError):
        write_whole(path, half)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_torn_line_and_later_steps_are_dropped_when_a_run_goes_on(record):
    for step in (1, 2, 3):
        record.step({"step": step})
    with (record.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # killed in the middle
    assert [line["step"] for line in record.steps()] == [1, 2, 3]
    record.rewind(2)
    assert (record.folder / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_folder_is_not_used_twice(record):
    with pytest.raises(UserError, match="exists"):
        Record.open(record.folder, "", {})


def test_two_runs_in_one_second_get_two_folders(tmp_path):
    first = new_folder(str(tmp_path), "x")
    first.mkdir(parents=True)
    assert new_folder(str(tmp_path), "x") != first


def test_looking_up_a_figure(record):
    record.save(evaluation={"v": {"best": {"accuracy": 0.5}}})
    assert look_up(record.summary, "evaluation.v.best.accuracy") == 0.5
    with pytest.raises(UserError, match="tokens is missing"):
        look_up(record.summary, "evaluation.v.best.tokens")


def make_checkpoint(checkpoints, progress):
    (checkpoints.partial / f"checkpoint-{progress.step}").mkdir(parents=True)
    checkpoints.commit(progress)


def test_the_newest_and_the_best_checkpoints_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path, kept=2)
    progress = Progress()
    for step, accuracy in ((10, 0.5), (20, 0.9), (30, 0.9), (40, 0.1), (50, 0.2)):
        progress.step, progress.validation[str(step)] = step, accuracy
        make_checkpoint(checkpoints, progress)
    assert checkpoints.steps() == [20, 40, 50]  # 20 is the earliest of the best
    assert checkpoints.progress() == progress


def test_a_half_written_checkpoint_does_not_count(tmp_path):
    checkpoints = Checkpoints(tmp_path, kept=2)
    make_checkpoint(checkpoints, Progress(step=5))
    (checkpoints.partial / "checkpoint-6").mkdir(parents=True)
    assert checkpoints.newest().name == "checkpoint-5"


def test_a_checkpoint_goes_on_under_the_sharding_it_was_written_with(tmp_path):
    def hardware(sharding, processes):
        return configured("scale=open_rs").hardware.model_copy(update={"sharding": sharding, "processes": processes})

    folder = tmp_path / "checkpoints" / "checkpoint-5"
    check_same_sharding(tmp_path, hardware("zero2", 2))  # nothing is written yet
    part = folder / "global_step5"  # as DeepSpeed's save_checkpoint names them
    part.mkdir(parents=True)
    check_same_sharding(tmp_path, hardware("none", 2))
    with pytest.raises(UserError, match="set hardware.sharding=none"):
        check_same_sharding(tmp_path, hardware("zero2", 2))
    for number in range(3):
        (part / f"bf16_zero_pp_rank_{number}_mp_rank_00_optim_states.pt").touch()
    check_same_sharding(tmp_path, hardware("zero2", 3))
    with pytest.raises(UserError, match="hardware.processes=3"):
        check_same_sharding(tmp_path, hardware("zero2", 2))
    part.rename(tmp_path / "elsewhere")
    (folder / "optimizer.bin").touch()  # as accelerate writes it under FSDP2
    check_same_sharding(tmp_path, hardware("fsdp2", 2))
    with pytest.raises(UserError, match="set hardware.sharding=fsdp2"):
        check_same_sharding(tmp_path, hardware("none", 2))


def test_every_second_is_charged_once():
    import time

    ledger = Ledger()
    with ledger.phase("training"):
        time.sleep(0.02)
        with ledger.phase("rollout"):
            time.sleep(0.05)
    seconds = ledger.read()
    assert seconds["rollout"] >= 0.05 and 0.02 <= seconds["training"] < 0.05
    assert sum(seconds.values()) == pytest.approx(ledger.total(), abs=0.01)


def test_the_account_goes_on_where_an_earlier_session_stopped():
    earlier, later = Ledger(), Ledger()
    earlier.completion_tokens = 7
    state = json.loads(json.dumps(earlier.state_dict()))
    state["seconds"]["rollout"] = 100.0
    later.continue_from(state, lost_seconds=5.0)
    assert later.completion_tokens == 7
    assert later.read()["rollout"] == 100.0 and later.read()["lost"] == 5.0
