"""Programs as answers: each is run with its tests in a fresh process that may do next to nothing.

The process has limits on processor time, wall-clock time, memory and the size of a file, an empty environment and a
folder of its own, which goes afterwards. Where the kernel allows it, it has no network (a network namespace of its own)
and can change no file elsewhere (Landlock). `enforced` says which of these hold on this machine. It can still read what
this user can read: run suites of programs on a machine that holds no secrets.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from src.common.types import Problem, Verdict

CHILD = Path(__file__).with_name("sandbox_child.py")
CPU_SECONDS, WALL_SECONDS = 5, 10.0
MEMORY_BYTES, FILE_BYTES = 512 << 20, 1 << 20
LIMITS = ("time", "memory", "file size", "network", "files")
_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)
_DEFINED = re.compile(r"^def (\w+)\(", re.MULTILINE)


def grade_programs(texts: Sequence[str], problems: Sequence[Problem], workers: int) -> list[Verdict]:
    """The verdict on each completion: whether its program passes the tests, which are the problem's answer."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        return list(pool.map(_grade, texts, problems))


def _grade(text: str, problem: Problem) -> Verdict:
    code = program_in(text)
    if not code.strip():
        return Verdict(False, "", "no answer")
    reason = run_sandboxed(with_tests(code, problem))
    return Verdict(reason == "equal", code[:200], reason)


def program_in(text: str) -> str:
    """The last fenced block of a completion, or all that comes after its reasoning."""
    blocks = _BLOCK.findall(text)
    return blocks[-1] if blocks else text.rpartition("</think>")[2]


def with_tests(code: str, problem: Problem) -> str:
    """The whole program, as HumanEval has it: the question's own lines where the code does not repeat them, the code, its
    tests, and the call of `check` on the last function that the question declares."""
    names = _DEFINED.findall(problem.question)
    entry = names[-1] if names else ""
    start = "" if f"def {entry}(" in code else problem.question
    call = f"\ncheck({entry})\n" if "def check(" in problem.answer else "\n"
    return f"{start}{code}\n\n{problem.answer}\n{call}"


def run_sandboxed(program: str) -> str:
    """Run a program: "equal" if it ends well, "different" if it fails, "timeout" if it takes too long."""
    return _run(program)[0]


def _run(program: str) -> tuple[str, str]:
    word = secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="sandbox-") as folder:
        command = [sys.executable, "-I", "-S", str(CHILD), *map(str, (CPU_SECONDS, MEMORY_BYTES, FILE_BYTES, folder))]
        process = subprocess.Popen(
            command, cwd=folder, env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, start_new_session=True,
        )
        try:
            said, _ = process.communicate(f"{word}\n{program}", timeout=WALL_SECONDS)
        except subprocess.TimeoutExpired:
            return "timeout", ""
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # and whatever it started
            except ProcessLookupError:
                pass
            process.wait()
    limits, _, end = said.partition("\n")
    if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return "timeout", limits
    return ("equal" if end == f"{word}\n" else "different"), limits


@cache
def enforced() -> tuple[str, ...]:
    """Which of LIMITS the kernel enforces on this machine."""
    return tuple(_run("pass")[1].strip().split(","))


def remark() -> str:
    """What a report has to say of programs graded here."""
    missing = [limit for limit in LIMITS if limit not in enforced()]
    lacking = f"; not enforced on this machine: {', '.join(missing)}" if missing else ""
    return f"programs are run with limits on {', '.join(enforced())}{lacking}"
