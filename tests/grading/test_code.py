"""Programs as answers: right and wrong ones, and what they may not do."""

import os
import socket
import time

import pytest

from src.common.types import Problem
from src.grading.code import enforced, grade_programs, program_in, remark, run_sandboxed

QUESTION = 'def add(a: int, b: int) -> int:\n    """The sum of a and b."""\n'
TESTS = "def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(-1, 1) == 0\n"
PROBLEM = Problem("p", QUESTION, TESTS, "hard", None, "test")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Thinking.\n</think>\n```python\ndef add(a, b):\n    return a + b\n```", "equal"),
        ("</think>\n    return a + b\n", "equal"),  # the body alone, as a base model goes on
        ("```python\ndef add(a, b):\n    return a - b\n```", "different"),
        ("```python\ndef other(a, b):\n    return a + b\n```", "different"),
        ("```python\ndef add(a, b)\n```", "different"),
        ("no program</think>", "no answer"),
        ("```python\ndef add(a, b):\n    while True: pass\n```", "timeout"),
        ("```python\nimport sys\nsys.exit(0)\n```", "different"),
    ],
)
def test_verdicts(text, reason, monkeypatch):
    monkeypatch.setattr("src.grading.code.CPU_SECONDS", 1)
    verdict = grade_programs([text], [PROBLEM], workers=1)[0]
    assert (verdict.reason, verdict.correct) == (reason, reason == "equal")


def test_the_last_block_counts():
    assert program_in("```python\nfirst\n```\n```py\nlast\n```") == "last\n"


def test_memory_is_limited():
    assert run_sandboxed("x = bytearray(2 << 30)") == "different"
    assert run_sandboxed("x = bytearray(2 << 20)") == "equal"


def test_no_process_can_be_started_that_outlives_the_program(tmp_path):
    run_sandboxed("import os\nif os.fork() == 0:\n    import time\n    time.sleep(60)\n")
    time.sleep(0.2)
    alive = [name for name in os.listdir("/proc") if name.isdigit() and b"sandbox_child" in _cmdline(name)]
    assert not alive


def _cmdline(process):
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def test_files_elsewhere_cannot_be_written(tmp_path):
    if "files" not in enforced():
        pytest.skip("this kernel has no Landlock")
    target = tmp_path / "written"
    target.write_text("as it was")
    for program in (f"open({str(target)!r}, 'w').write('changed')", f"import os; os.unlink({str(target)!r})"):
        assert run_sandboxed(program) == "different"
    assert target.read_text() == "as it was"
    assert run_sandboxed("open('own', 'w').write('x'); assert open('own').read() == 'x'") == "equal"
    assert run_sandboxed("open('own', 'w').write('x' * (2 << 20))") == "different"


def test_there_is_no_network():
    if "network" not in enforced():
        pytest.skip("this machine allows no network namespace")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=2)"
        assert run_sandboxed(program) == "different"


def test_the_environment_is_empty_and_the_remark_names_what_holds(monkeypatch):
    monkeypatch.setenv("SECRET_WORD", "x")
    assert run_sandboxed("import os\nassert 'SECRET_WORD' not in os.environ") == "equal"
    assert all(limit in remark() for limit in ("time", "memory"))
