"""Programs as answers: each is run in a sandbox, and its tests, which are the gold answer, in another one beside it.

No expected value is ever in the program's process, and what comes from there are values of Python's own types that are
compared beside the tests: a program cannot read, reach or write its verdict (see `src.grading.sandbox_child`). `LIMITS` are
tried once on each machine; where one does not hold, programs are refused unless `grading.code.trusted`.
"""

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from src.common.base import Config
from src.common.errors import RunFailed, UserError
from src.common.types import Problem, Verdict
from src.grading.sandbox import MEMORY_BYTES, fault, sandboxed
from src.grading.sandbox_child import EQUAL, LOST, NOT_STARTED, pack

WALL_SECONDS = 10.0
LIMITS = {
    "memory": f"bytearray({MEMORY_BYTES})",
    "reading files": "open('/etc/passwd')",
    "writing files": "open('file', 'w')",
    "network": "import socket; socket.socket()",
    "number of processes": "import os; os.fork()",
    "other processes": f"import os; os.kill({os.getpid()}, 0)",
}
"""What a program may not do, and a program that does it. Processor time and wall-clock time are limited everywhere."""
KILLED = {128 + signal.SIGKILL, 128 + signal.SIGXCPU, -signal.SIGKILL, -signal.SIGXCPU}  # by bubblewrap's word, or the kernel's
_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)
_DEFINED = re.compile(r"^def (\w+)\(", re.MULTILINE)


class CodeConfig(Config):
    """How answers that are programs are run."""

    trusted: bool = False
    """Run them also on a machine that does not enforce all of LIMITS."""


def grade_programs(texts: Sequence[str], problems: Sequence[Problem], workers: int) -> list[Verdict]:
    """The verdict on each completion: whether its program passes the tests, which are the problem's answer."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        return list(pool.map(_grade, texts, problems))


def _grade(text: str, problem: Problem) -> Verdict:
    code = program_in(text)
    if not code.strip():
        return Verdict(False, "", "no answer")
    reason = run(task(code, problem))
    return Verdict(reason == "equal", code[:200], reason)


def program_in(text: str) -> str:
    """The last fenced block of a completion, or all that comes after its reasoning."""
    blocks = _BLOCK.findall(text)
    return blocks[-1] if blocks else text.rpartition("</think>")[2]


def task(code: str, problem: Problem) -> dict[str, str]:
    """What is run, as HumanEval has it: the code, behind the question's own lines where it does not repeat them; its tests;
    and the last function that the question declares, on which `check` is called."""
    entry = ([""] + _DEFINED.findall(problem.question))[-1]
    start = problem.question if entry and f"def {entry}(" not in code else ""
    return {"program": start + code, "tests": problem.answer, "question": problem.question, "entry": entry}


def run(task: dict[str, str]) -> str:
    """Run a program by its tests: "equal" if they pass, "different" if they fail, "timeout" if it takes too long.

    Raises RunFailed where the machine fails, and not the program.
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with sandboxed("program", **pipes) as program:
        ends = program.stdout.fileno(), program.stdin.fileno()
        pipes["stdout"] = subprocess.DEVNULL
        with sandboxed("tests", *map(str, ends), descriptors=ends, **pipes) as tests:
            program.stdin.close(), program.stdout.close()  # so that it ends when its tests do
            try:
                tests.communicate(pack(task).encode() + b"\n", timeout=WALL_SECONDS)
                code = program.wait(1.0) if tests.returncode == LOST else tests.returncode
            except subprocess.TimeoutExpired:
                return "timeout"
    if tests.returncode in (1, NOT_STARTED):
        raise RunFailed("a sandbox for a program did not start; is this machine out of memory, processes or namespaces?")
    return "equal" if code == EQUAL and tests.returncode == EQUAL else "timeout" if code in KILLED else "different"


@cache
def not_enforced() -> tuple[str, ...]:
    """Which of LIMITS a program can break on this machine, by trying."""
    task = {"tests": "", "question": "", "entry": ""}
    return tuple(limit for limit, program in LIMITS.items() if run(task | {"program": program}) == "equal")


def remark(suite: str, trusted: bool) -> str:
    """What a report has to say of a suite's programs graded here. Raises UserError where they may not be run here."""
    enforced = [limit for limit in ("time", *LIMITS) if limit not in not_enforced()]
    said = f"suite {suite}: programs are run with limits on {', '.join(enforced)}"
    if not not_enforced():
        return said
    lacking = f"not enforced on this machine: {', '.join(not_enforced())} ({fault()})"
    if not trusted:
        raise UserError(
            f"suite {suite}: its answers are programs, and limits are {lacking}; install bubblewrap and libseccomp and "
            "allow user namespaces, or set grading.code.trusted=true"
        )
    return f"{said}; {lacking}"
