"""What is done to a run on purpose: pipes that break, folders that two want, files that are damaged, disks that are full."""

import signal
import subprocess
import sys
import time

import pytest
from conftest import TOY

from src.record.record import read_summary


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
def test_a_run_whose_reader_died_still_ends_in_order(number, tmp_path):
    process = begun(tmp_path)
    process.stdout.close()  # as tee, which gets the same Ctrl-C
    process.send_signal(number)
    assert process.wait(120) == 130, process.stderr.read()
    summary = read_summary(tmp_path / "run")
    assert (summary["status"], summary["reason"]) == ("interrupted", signal.Signals(number).name)
    assert (tmp_path / "run" / "checkpoints" / f"checkpoint-{summary['steps']}").is_dir()
    assert "Traceback" not in process.stderr.read()
