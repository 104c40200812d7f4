"""The screen can end nobody's run: characters that a terminal lacks, readers that die, full disks, closed streams."""

import signal
import subprocess
import sys

import pytest

SAY = """
import sys
from src.common.screen import Screen
from src.common.streams import protect
protect()
screen = Screen()
for number in range(2000):
    screen.note(f"57 → 43 of −1 × 2 … naïve, line {number}")
    screen.warn(f"cause {number}: [/graphql] ü")
print("printed →")
print("error: →", file=sys.stderr)
figures = {"accuracy": 0.5, "ci_low": 0.4, "ci_high": 0.6, "problems": 1, "samples": 1, "mean_tokens": 9, "truncated_share": 0,
           "by_level": {"easy": {}}, "gain": {"mean": 0, "ci_low": 0, "ci_high": 0}}
screen.verdict({"[/red] suite": {"before": figures, "after": figures}})
open(sys.argv[1], "w").write("the end was reached")
"""


def say(tmp_path, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", SAY, tmp_path / "end"], stderr=subprocess.PIPE, **options)


def reached_the_end(process, tmp_path) -> bool:
    return process.wait(60) == 0 and (tmp_path / "end").is_file()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_without_some_characters_shows_others(tmp_path, encoding, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    process = say(tmp_path, stdout=subprocess.PIPE)
    shown, errors = process.communicate(timeout=60)
    assert reached_the_end(process, tmp_path)
    expected = "57 → 43 of −1 × 2 … naïve" if encoding == "utf-8" else "57 -> 43 of -1"
    assert expected in shown.decode(encoding) and "[/red] suite" in shown.decode(encoding)
    assert b"error: " in errors and b"Traceback" not in errors


def test_a_reader_that_dies_ends_nothing(tmp_path):
    process = say(tmp_path, stdout=subprocess.PIPE)
    process.stdout.close()  # tee is gone
    assert reached_the_end(process, tmp_path) and b"Traceback" not in process.stderr.read()


def test_a_full_disk_under_the_log_ends_nothing(tmp_path):
    with open("/dev/full", "wb") as full:
        process = say(tmp_path, stdout=full)
        assert reached_the_end(process, tmp_path) and process.stderr.read() == "error: →\n".encode()


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_end_nothing(tmp_path, closed):
    shell = ["bash", "-c", f'exec "$0" -c "$1" "$2" {closed}', sys.executable, SAY, tmp_path / "end"]
    assert subprocess.run(shell, capture_output=True, timeout=60).returncode == 0
    assert (tmp_path / "end").is_file()


def test_a_signal_amid_a_line_ends_nothing(tmp_path):
    script = f"""
import signal, threading, time, os, sys
from src.common.screen import Screen
screen = Screen()
signal.signal(signal.SIGUSR1, lambda *_: screen.note("interrupted: finishing the step in hand " * 50))
for number in range(30000):
    if number % 50 == 0:
        os.kill(os.getpid(), signal.SIGUSR1)
    screen.note("step " * 20)
open({str(tmp_path / "end")!r}, "w").write("there")
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.wait(60) == 0, process.stderr.read()
    assert signal.SIGUSR1 and (tmp_path / "end").is_file()
