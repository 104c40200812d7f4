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
from contextlib import ExitStack
from functools import cache
from queue import SimpleQueue

from src.common.base import Config
from src.common.errors import RunFailed, UserError
from src.common.types import Problem, Verdict
from src.grading.sandbox import HOST_ENDED, MEMORY_BYTES, Host, fault, sandboxed
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
    at_once = max(1, min(2 * workers, len(texts)))  # half of the time a sandbox waits for the kernel to make it
    hosts: SimpleQueue[Host] = SimpleQueue()
    with ThreadPoolExecutor(at_once) as pool, ExitStack() as opened:
        for _ in range(at_once):
            hosts.put(opened.enter_context(Host()))
        return list(pool.map(lambda text, problem: _grade(text, problem, hosts), texts, problems))


def _grade(text: str, problem: Problem, hosts: "SimpleQueue[Host]") -> Verdict:
    code = program_in(text)
    if not code.strip():
        return Verdict(False, "", "no answer")
    host = hosts.get()
    try:
        reason = _run(task(code, problem), host)
    finally:
        hosts.put(host)
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
    with Host() as host:
        return _run(task, host)


def _run(task: dict[str, str], host: Host) -> str:
    with sandboxed("program", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        try:
            host.begin(pack(task).encode(), program.stdout.fileno(), program.stdin.fileno())
            program.stdin.close(), program.stdout.close()  # so that it ends when its tests do
            ended = host.ended(WALL_SECONDS)
            code = program.wait(1.0) if ended == LOST else ended
        except (TimeoutError, subprocess.TimeoutExpired):
            host.close()
            return "timeout"
        except OSError:
            ended = NOT_STARTED
    if ended in (1, NOT_STARTED, HOST_ENDED):
        host.close()
        raise RunFailed("a sandbox for a program did not start; is this machine out of memory, processes or namespaces?")
    return "equal" if code == EQUAL and ended == EQUAL else "timeout" if code in KILLED else "different"


@cache
def not_enforced() -> tuple[str, ...]:
    """Which of LIMITS a program can break on this machine, by trying."""
    task = {"tests": "", "question": "", "entry": ""}
    with Host() as host:
        return tuple(limit for limit, program in LIMITS.items() if _run(task | {"program": program}, host) == "equal")


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
