"""What is done to a run on purpose: pipes that break, folders that two want, files that are damaged, disks that are full."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TOY, command, configured
from test_run import metrics

from src.common.errors import RunFailed, UserError
from src.common.types import Stop
from src.config.continuing import config_to_continue
from src.experiment.preparing import check_problems_of, go_back
from src.experiment.run import run
from src.plan.plan import show_plan
from src.record.checkpoints import Checkpoints
from src.record.read import read_run
from src.record.record import Record, read_summary


def begun(tmp_path, *arguments, steps=2, **options):
    """A run in a process of its own, once it has written the lines of so many steps."""
    process = subprocess.Popen(
        [sys.executable, "-m", "src.run", "+experiment=mix_easy_hard", *TOY, "scale.steps=40",
         "evaluation.validation.every_steps=20", "record.checkpoint_every_steps=1",
         f"output_root={tmp_path}", f"run_dir={tmp_path}/run", *arguments],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )
    path = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (path.is_file() and path.read_text().count("\n") >= steps):
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_run_refuses_a_second_command_in_one_line_and_ends_in_order_though_its_reader_died(number, command_here, tmp_path, monkeypatch):
    monkeypatch.setattr("src.record.record.LOCK_PATIENCE_S", 0.1)
    process = begun(tmp_path)
    second = command_here(f"resume={tmp_path}/run")
    assert second.returncode == 2 and "another process is at work" in second.stderr and second.stderr.count("\n") == 1
    process.stdout.close()  # as tee, which gets the same Ctrl-C
    process.send_signal(number)
    assert process.wait(120) == 130, process.stderr.read()
    summary = read_summary(tmp_path / "run")
    assert (summary["status"], summary["reason"]) == ("interrupted", signal.Signals(number).name)
    assert (tmp_path / "run" / "checkpoints" / f"checkpoint-{summary['steps']}").is_dir()
    assert "Traceback" not in process.stderr.read()
    steps = [line["step"] for line in metrics(tmp_path / "run")]
    assert steps == list(range(1, len(steps) + 1))


# Damaged runs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The run of `toy_run`, interrupted after its third step, with checkpoints of the second, its best, and the third."""
    root = tmp_path_factory.mktemp("stopped")
    config = configured("+experiment=mix_easy_hard", *TOY, "record.checkpoint_every_steps=1", f"output_root={root}", f"run_dir={root}/run")
    run(config, watches=[lambda line, measured: Stop("interrupted", "a test") if line["step"] == 3 else None])
    assert Checkpoints(root / "run" / "checkpoints", 2).steps() == [2, 3]
    return root / "run"


def flip(path, at=0.5):
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit(path, line, text):
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[: line - 1], text, *lines[line:]]) + "\n")


def without_checksums(folder):
    for path in folder.rglob("checksums.json"):
        path.unlink()


def newest(folder):
    return folder / "checkpoints" / "checkpoint-3"


def best(folder):
    return folder / "checkpoints" / "checkpoint-2"


def whole_step(folder) -> int:
    """The step that a continued run would go on from; 0 for its beginning."""
    config_to_continue(folder, None)
    record = Record.reopen(folder)
    try:
        go_back(record, kept=2)
        return Checkpoints(folder / "checkpoints", 2).progress().step
    finally:
        record.close()


GOES_ON_FROM = {
    "untouched": (lambda f: None, 3),
    "untouched, of before the checksums": (without_checksums, 3),
    "no optimiser": (lambda f: (newest(f) / "optimizer.pt").unlink(), 2),
    "no scheduler": (lambda f: (newest(f) / "scheduler.pt").unlink(), 2),
    "no weights": (lambda f: (newest(f) / "model.safetensors").unlink(), 2),
    "a bit of the weights": (lambda f: flip(newest(f) / "model.safetensors"), 2),
    "a bit of the optimiser": (lambda f: flip(newest(f) / "optimizer.pt"), 2),
    "a bit of the random state": (lambda f: flip(newest(f) / "rng_state.pth"), 2),
    "weights cut": (lambda f: cut(newest(f) / "model.safetensors"), 2),
    "optimiser cut": (lambda f: cut(newest(f) / "optimizer.pt"), 2),
    "no trainer state": (lambda f: (newest(f) / "trainer_state.json").unlink(), 2),
    "garbage as trainer state": (lambda f: (newest(f) / "trainer_state.json").write_text("{"), 2),
    "empty state": (lambda f: (newest(f) / "lab_state.json").write_text(""), 2),
    "another key in the state": (lambda f: (newest(f) / "lab_state.json").write_text('{"step": 3, "x": 1}'), 2),
    "old: no optimiser": (lambda f: (without_checksums(f), (newest(f) / "optimizer.pt").unlink()), 2),
    "old: optimiser cut": (lambda f: (without_checksums(f), cut(newest(f) / "optimizer.pt")), 2),
    "old: a bit of the optimiser": (lambda f: (without_checksums(f), flip(newest(f) / "optimizer.pt")), 2),
    "old: weights cut": (lambda f: (without_checksums(f), cut(newest(f) / "model.safetensors")), 2),
    "old: empty state": (lambda f: (without_checksums(f), (newest(f) / "lab_state.json").write_text("")), 2),
    "old: another key": (lambda f: (without_checksums(f), (newest(f) / "lab_state.json").write_text('{"step": 3, "x": 1}')), 2),
    "the best gone": (lambda f: shutil.rmtree(best(f)), 0),
    "both damaged": (lambda f: [cut(each / "optimizer.pt") for each in (newest(f), best(f))], 0),
    "stray folders": (
        lambda f: [(f / "checkpoints" / name).mkdir() for name in ("checkpoint-foo", "checkpoint-4.bak", "checkpoint-9")], 3,
    ),
    "a stray file": (lambda f: (f / "checkpoints" / "checkpoint-7").write_text(""), 3),
    "a stray table": (lambda f: (f / "completions" / "step_x.parquet").write_text(""), 3),
    "left by a kill": (lambda f: [(f / "checkpoints" / name).mkdir() for name in ("partial", "deleted")], 3),
    "the last line damaged": (lambda f: edit(f / "metrics.jsonl", 3, "garbage"), 2),
    "the last line changed": (lambda f: flip(f / "metrics.jsonl", 0.9), 2),
    "the last line torn": (lambda f: cut(f / "metrics.jsonl"), None),
    "no metrics": (lambda f: (f / "metrics.jsonl").unlink(), None),
    "garbage in the middle": (lambda f: edit(f / "metrics.jsonl", 2, "garbage"), None),
    "a number as line": (lambda f: edit(f / "metrics.jsonl", 1, "7"), None),
    "a bit of the first line": (lambda f: flip(f / "metrics.jsonl", 0.1), None),
    "binary metrics": (lambda f: (f / "metrics.jsonl").write_bytes(bytes(range(256)) * 9), None),
    "summary cut": (lambda f: cut(f / "summary.json"), None),
    "summary empty": (lambda f: (f / "summary.json").write_text(""), None),
    "summary a list": (lambda f: (f / "summary.json").write_text("[]"), None),
    "summary without keys": (lambda f: (f / "summary.json").write_text("{}"), None),
    "summary binary": (lambda f: (f / "summary.json").write_bytes(b"\xff\xfe\0"), None),
    "no config": (lambda f: (f / "config.yaml").unlink(), None),
    "a bit of the config": (lambda f: flip(f / "config.yaml"), None),
    "old: config with a tag": (lambda f: (without_checksums(f), (f / "config.yaml").write_text("a: !!python/name:os.system\n")), None),
    "old: config with a tab": (lambda f: (without_checksums(f), (f / "config.yaml").write_text("a:\n\tb: 1\n")), None),
    "old: config deep": (lambda f: (without_checksums(f), (f / "config.yaml").write_text("{a: " * 3000 + "}" * 3000)), None),
    "old: config with itself": (lambda f: (without_checksums(f), (f / "config.yaml").write_text("a: &x\n  b: *x\n")), None),
}


@pytest.mark.parametrize(("damage", "step"), GOES_ON_FROM.values(), ids=GOES_ON_FROM)
def test_a_damaged_run_goes_on_from_what_is_whole_or_says_why_not(stopped, tmp_path, damage, step):
    folder = shutil.copytree(stopped, tmp_path / "run")
    damage(folder)
    if step is None:
        with pytest.raises(UserError) as raised:
            whole_step(folder)
        assert "\n" not in str(raised.value)
    else:
        assert whole_step(folder) == step
        assert {path.name for path in (folder / "checkpoints").iterdir()}.isdisjoint({"partial", "deleted"})


@pytest.mark.parametrize("content", [None, b"", b"PAR1cut"], ids=["gone", "empty", "cut"])
def test_a_damaged_table_of_problems_is_one_line(stopped, tmp_path, content):
    path = shutil.copytree(stopped, tmp_path / "run") / "problems.parquet"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match="problems.parquet is missing or damaged"):
        check_problems_of(path.parent, "problems", [])


def test_a_run_without_its_newest_optimiser_ends_in_the_same_numbers(stopped, toy_run, tmp_path, capsys):
    folder = shutil.copytree(stopped, tmp_path / "run")
    (newest(folder) / "optimizer.pt").unlink()
    summary = run(config_to_continue(folder, None))
    assert summary["status"] == "complete" and metrics(folder) == metrics(toy_run)
    assert "damaged checkpoints, put aside and not used: checkpoint-3: optimizer.pt is missing" in capsys.readouterr().out.replace("\n", " ")
    assert read_run(folder).suites  # its checksums hold


# One at a time, and nothing lost -------------------------------------------------------------------------------------


def test_two_cannot_continue_one_run(stopped, tmp_path, monkeypatch):
    monkeypatch.setattr("src.record.record.LOCK_PATIENCE_S", 0.1)
    folder = shutil.copytree(stopped, tmp_path / "run")
    first = Record.reopen(folder)
    before = (folder / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match="another process is at work"):
        Record.reopen(folder)
    assert (folder / "metrics.jsonl").read_bytes() == before
    first.close()
    Record.reopen(folder).close()


@pytest.mark.parametrize("left", [(), ("config.yaml",), ("config.yaml", "checksums.json", "plan.json", "problems.parquet", "evaluation")])
def test_a_run_that_was_killed_before_its_summary_begins_again(stopped, tmp_path, left):
    folder = shutil.copytree(stopped, tmp_path / "run")
    for path in folder.iterdir():
        if path.name not in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / ".config.yaml.abcd1234.part").write_text("torn")
    if left:
        config = config_to_continue(folder, None)
        assert (config.resume, config.run_dir) == (None, str(folder))
    Record.open(folder, "seed: 1\n", {}).close()
    assert not list(folder.glob(".*"))
    (folder / "mine.txt").write_text("")
    with pytest.raises(UserError, match="exists"):
        Record.open(folder, "", {})


def test_a_folder_that_is_deleted_while_a_run_goes_on_ends_it(tmp_path):
    config = configured("+experiment=mix_easy_hard", *TOY, f"output_root={tmp_path}", f"run_dir={tmp_path}/run")
    with pytest.raises(RunFailed, match="was deleted while it ran"):
        run(config, watches=[lambda line, measured: shutil.rmtree(tmp_path / "run")])
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_table_that_is_deleted_leaves_no_complete_run(stopped, tmp_path):
    record = Record.reopen(shutil.copytree(stopped, tmp_path / "run"))
    (record.folder / "problems.parquet").unlink()
    with pytest.raises(RunFailed, match="problems.parquet was deleted"):
        record.complete()
    assert read_summary(record.folder)["status"] == "running"


def test_any_other_error_is_one_line_and_its_traceback_is_in_the_folder(tmp_path):
    def broken(line, measured):
        raise KeyError("hub_token=SECRETX\nsecond line")

    config = configured("+experiment=mix_easy_hard", *TOY, f"output_root={tmp_path}", f"run_dir={tmp_path}/run")
    with pytest.raises(RunFailed) as raised:
        run(config, watches=[broken])
    said, kept = str(raised.value), (tmp_path / "run" / "traceback.txt").read_text()
    assert "\n" not in said and f"resume={tmp_path}/run" in said and "traceback.txt" in said and "unexpected KeyError" in said
    assert "in broken" in kept and "SECRETX" not in kept + said + (tmp_path / "run" / "summary.json").read_text()
    assert read_summary(tmp_path / "run")["status"] == "failed"


@pytest.mark.parametrize("root", ["/dev/null", "x" * 300, "/proc/none"])
def test_an_output_folder_that_cannot_be_is_one_line(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="output_root: cannot write"):
        show_plan(configured("+experiment=mix_easy_hard", f"output_root={root}"), lambda line: None)
    with pytest.raises(UserError, match="run_dir: cannot write"):
        Record.open(Path(root) / "run", "", {})


TMPFS = ["unshare", "--mount", "--map-root-user"]


@pytest.mark.skipif(subprocess.run([*TMPFS, "true"], capture_output=True).returncode != 0, reason="mounts no file system here")
@pytest.mark.parametrize("file", ["config.yaml", "metrics.jsonl"])
def test_a_full_disk_is_one_line_and_the_run_goes_on_after_making_room(tmp_path, file):
    """Filled by somebody else while the record begins, and after the first step."""
    arguments = ["+experiment=mix_easy_hard", *TOY, f"output_root={tmp_path}/disk/out", f"run_dir={tmp_path}/disk/run"]
    script = f"""
        mkdir disk && mount -t tmpfs -o size=100m tmpfs disk || exit 77
        (until test -e disk/run/{file}; do sleep 0.01; done; cat /dev/zero >disk/filled) 2>/dev/null &
        "$@"; echo "first: $?" >&2
        wait; rm disk/filled
        test -f disk/run/summary.json && {sys.executable} -m src.run resume=disk/run || "$@"
        echo "second: $?" >&2; cat disk/run/metrics.jsonl > metrics.jsonl
    """
    run_it = [sys.executable, "-m", "src.run", *arguments]
    result = subprocess.run([*TMPFS, "bash", "-c", script, "bash", *run_it], cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr
    said, first, second = result.stderr.splitlines()
    assert "no room on the disk" in said and (first, second) == ("first: 1", "second: 0")


# Secrets -------------------------------------------------------------------------------------------------------------

TOKEN, KEY = "hf_SECRETXsecretx0123456789", "wandbSECRETX0123456789abcdef0123456789ab"


def test_no_output_of_a_run_holds_a_secret(command_here, tmp_path):
    """Record, checkpoints, the folder for the hub with its card, W&B's file, the plan, the screen."""
    wandb = [argument for argument in TOY if argument != "tracking=none"]
    arguments = ["+experiment=mix_easy_hard", *wandb, "scale.steps=2", f"output_root={tmp_path}/out", f"trainer.hub_token={TOKEN}",
                 "hub.push=true", "hub.repository=me/model"]
    environment = {"WANDB_MODE": "offline", "WANDB_API_KEY": KEY, "HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    result = command(*arguments, f"run_dir={tmp_path}/out/run", cwd=tmp_path, **environment)
    assert result.returncode == 0, result.stderr
    command_here(*arguments, "plan=true", **environment)
    refused = command_here(*arguments, "trainer.optim=adamw-SECRETX", f"trainer.push_to_hub_token={TOKEN}", **environment)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"config.yaml", "training_args.bin", "README.md", "summary.json"} <= names
    assert any(name.endswith(".wandb") for name in names) and (tmp_path / "out" / "plans").is_dir()
    assert [str(path) for path in files if TOKEN.encode() in path.read_bytes() or KEY.encode() in path.read_bytes()] == []
    assert TOKEN not in result.stdout + result.stderr + refused.stdout + refused.stderr
    assert "hub_token: '***'" in (tmp_path / "out" / "run" / "config.yaml").read_text()


def test_a_run_with_a_token_goes_on_without_it_or_with_it_given_anew(stopped, tmp_path):
    folder = shutil.copytree(stopped, tmp_path / "run")
    without_checksums(folder)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("trainer: {}", "trainer:\n  hub_token: '***'"))
    assert "hub_token" in (folder / "config.yaml").read_text()
    assert "hub_token" not in config_to_continue(folder, None).trainer
    asked = config_to_continue(folder, None).model_copy(update={"trainer": {"hub_token": TOKEN}})
    assert config_to_continue(folder, asked).trainer["hub_token"] == TOKEN
