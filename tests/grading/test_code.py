"""Programs as answers: right and wrong ones, what they may not do, and that no verdict is in their hands.

Each attempt to get out is made for real, and looked at from outside; none would do harm beyond this run if it went through.
`refused` is around calls that the kernel refuses: such a program comes to its end only if every single one failed.
"""

import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest
from conftest import ROOT

from src.common.errors import RunFailed, UserError
from src.common.types import Problem
from src.data.loaders import FilePool
from src.data.problems import load_suite
from src.grading import code, sandbox
from src.grading.code import grade_programs, not_enforced, program_in, remark
from src.grading.sandbox import Host

QUESTION = 'def add(a: int, b: int) -> int:\n    """The sum of a and b."""\n'
TESTS = "def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(-1, 1) == 0\n"
PROBLEM = Problem("p", QUESTION, TESTS, "hard", None, "test")
TOOLS = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def system(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
def write(data, descriptors=range(32)):
    for descriptor in descriptors:
        try:
            os.write(descriptor, data)
        except OSError:
            pass
def refused(*calls):
    for number, call in enumerate(calls):
        try:
            call()
        except OSError:
            continue
        raise SystemExit(f"call {number} went through")
"""


def ends(program, tests="", question="", entry=""):
    return code.run({"program": program, "tests": tests, "question": question, "entry": entry})


def verdict(program, tests, question="", entry="f"):
    return ends(program, f"def check(candidate):\n    {tests}\n", question, entry)


@pytest.fixture
def enforced():
    """Skips where this machine cannot have a sandbox, and fails where there is one that leaks."""
    if sandbox.fault():
        pytest.skip(f"not enforced on this machine: {', '.join(not_enforced())} ({sandbox.fault()})")
    assert not not_enforced()


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(sandbox, "CPU_SECONDS", 1)
    monkeypatch.setattr(code, "WALL_SECONDS", 3.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Thinking.\n</think>\n```python\ndef add(a, b):\n    return a + b\n```", "equal"),
        ("</think>\n    return a + b\n", "equal"),  # the body alone, as a base model goes on
        ("```python\ndef add(a, b):\n    print('tuple 1 int 5')\n    return a + b\n```", "equal"),
        ("```python\ndef add(a, b):\n    return a - b\n```", "different"),
        ("```python\ndef other(a, b):\n    return a + b\n```", "different"),
        ("```python\ndef add(a, b)\n```", "different"),
        ("no program</think>", "no answer"),
        ("```python\ndef add(a, b):\n    while True: pass\n```", "timeout"),
        ("```python\ndef add(a, b):\n    import time\n    time.sleep(60)\n```", "timeout"),
        ("```python\nimport sys\nsys.exit(0)\n```", "different"),
    ],
)
def test_verdicts(text, reason, short):
    verdict = grade_programs([text], [PROBLEM], workers=1)[0]
    assert (verdict.reason, verdict.correct) == (reason, reason == "equal")


def test_the_last_block_counts():
    assert program_in("```python\nfirst\n```\n```py\nlast\n```") == "last\n"


VALUES = """None, True, 12, -(10 ** 5000), 1.5, float("inf"), -0.0, 2j, "", "a b\\n\\u20ac\\ud800", b"\\x00", [], [1, [2]], (),
(1,), {}, {"a": {1: None}}, {1, 2}, frozenset({3})"""


def test_values_come_and_go_as_they_are():
    tests = f"for value in ({VALUES}): assert repr(candidate(value)) == repr(value)"
    assert verdict("def f(x): return x", tests) == "equal"
    assert verdict("def f(x): return [x]", tests) == "different"
    assert verdict("def f(n): return 'x' * n", "assert len(candidate(1 << 20)) == 1 << 20") == "equal"
    assert verdict("def f(n): return 'x' * n", "assert len(candidate(3 << 20)) == 3 << 20") == "different"  # beyond what is read
    assert verdict("def f(a, *, b): return a - b", "assert candidate(5, b=3) == 2") == "equal"
    counter = "import collections\ndef f(x): return collections.Counter(x)"
    assert verdict(counter, "assert candidate('aa') == {'a': 2}") == "equal"
    assert verdict("def f(x): return (y for y in x)", "assert list(candidate('ab')) == ['a', 'b']") == "equal"


def test_tests_without_a_check_call_the_program_by_its_names():
    tests = "import math\nassert math.isclose(area(2), 4.0)\nassert set(both(1)) == {1, 2}\nassert LIMIT == 3"
    program = "LIMIT = 3\ndef area(a): return a * 2.0\ndef both(a): return a, a + 1"
    assert ends(program, tests) == "equal"
    assert ends(program.replace("3", "4"), tests) == "different"
    problem = Problem("p", "Write a function to find the area.", "assert area(3) == 9", "hard", None, "test")
    assert grade_programs(["```python\ndef area(a):\n    return a * a\n```"], [problem], 1)[0].correct


def test_tests_use_objects_of_the_program():
    program = "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b\n    def sum(self): return self.a + self.b\n"
    program += "def total(pairs): return sum(pair.sum() for pair in pairs)"
    assert ends(program, "p = Pair(1, 2)\np.sum() == 3 and p.a == 1 or 1 / 0\nassert total([p, Pair(3, 4)]) == 10") == "equal"


def test_exceptions_reach_the_tests_by_the_type_that_python_has_for_them():
    tests = "try:\n        candidate(0)\n    except ValueError:\n        return\n    assert False"
    assert verdict("def f(x): raise ValueError('zero')", tests) == "equal"
    assert verdict("class Zero(ValueError): pass\ndef f(x): raise Zero", tests) == "equal"
    assert verdict("def f(x): raise TypeError", tests) == "different"


def test_the_tests_have_what_the_question_declares_beside_the_function_it_asks_for():
    question = "def double(x):\n    return 2 * x\ndef half(x):\n    '''The inverse of double.'''\n"
    tests = "assert double(candidate(6)) == 6"
    assert verdict("def half(x): return x / 2", tests, question, "half") == "equal"
    assert verdict("def double(x): return 6\ndef half(x): return 0", tests, question, "half") == "different"


def test_limits_are_named_and_hold(enforced):
    assert remark("humaneval", trusted=False) == (
        "suite humaneval: programs are run with limits on time, memory, reading files, writing files, network, "
        "number of processes, other processes"
    )
    assert ends("bytearray(2 << 20)") == "equal"


@pytest.fixture
def outside(tmp_path):
    target = tmp_path / "file"
    target.write_text("as it was")
    os.utime(target, (1e9, 1e9))
    return target


def state(path):
    found = path.stat()
    return path.read_text(), found.st_mode, found.st_mtime, found.st_uid, os.listxattr(path), sorted(os.listdir(path.parent))


@pytest.mark.parametrize(
    "calls",
    [
        "lambda: os.truncate(path, 0)",
        "lambda: os.chmod(path, 0o777), lambda: os.utime(path, (0, 0)), lambda: os.chown(path, 1, 1)",
        "lambda: os.setxattr(path, 'user.x', b'1')",
        "lambda: open(path, 'w'), lambda: open(path), lambda: os.stat(path)",
        "lambda: os.unlink(path), lambda: os.rename(path, path + '2'), lambda: os.link(path, path + '2')",
        "lambda: os.symlink(path, path + '2'), lambda: os.mkdir(path + '2'), lambda: os.mkfifo(path + '2')",
        "lambda: os.symlink(path, 'way') or open('way', 'w')",
        "lambda: system('open_by_handle_at', 0, 0, 0)",
    ],
)
def test_files_elsewhere_cannot_be_seen_or_changed(calls, outside, enforced):
    before = state(outside)
    assert ends(f"{TOOLS}\npath = {str(outside)!r}\nrefused({calls})") == "equal"
    assert state(outside) == before


@pytest.mark.parametrize(
    "path", ["/child", sys.base_prefix, "/lib", "/usr/lib", "/", os.__file__, str(Path(sys.base_prefix, "bin"))]
)
def test_what_can_be_read_cannot_be_changed(path, enforced):
    calls = (
        f"lambda: open({path!r}, 'a'), lambda: os.chmod({path!r}, os.stat({path!r}).st_mode), lambda: os.utime({path!r}), "
        f"lambda: os.mkdir({path!r} + '/new'), lambda: os.setxattr({path!r}, 'user.x', b'')"
    )
    assert ends(f"{TOOLS}\nrefused({calls})") == "equal"


@pytest.mark.parametrize("path", ["/etc/passwd", "/root/.netrc", "/home", "/tmp", "/proc", "/sys", "/dev", "/run", str(ROOT)])
def test_nothing_of_the_machine_is_seen(path, enforced):
    if not sys.base_prefix.startswith(path):
        assert ends(f"{TOOLS}\nrefused(lambda: os.stat({path!r}))") == "equal"


def test_the_environment_is_empty(monkeypatch):
    monkeypatch.setenv("SECRET_WORD", "x")
    assert ends("import os\nassert 'SECRET_WORD' not in os.environ") == "equal"


@pytest.mark.parametrize(
    "calls",
    [
        "lambda: os.kill(parent, 0), lambda: os.kill(parent, 9), lambda: os.killpg(parent, 9), lambda: os.kill(-1, 0)",
        "lambda: open(f'/proc/{os.getppid()}/mem'), lambda: open(f'/proc/{parent}/environ'), lambda: os.listdir('/proc')",
        "lambda: system('ptrace', 16, parent, 0, 0), lambda: system('ptrace', 16, 1, 0, 0)",
        "lambda: system('ptrace', 0, 0, 0, 0)",
        "lambda: system('process_vm_readv', 1, 0, 0, 0, 0, 0), lambda: os.pidfd_open(1), lambda: os.sched_getaffinity(parent)",
        "lambda: os.setpriority(os.PRIO_PROCESS, parent, 19), lambda: os.setpriority(os.PRIO_PROCESS, 0, -1)",
    ],
)
def test_other_processes_are_out_of_reach(calls, enforced):
    assert ends(f"{TOOLS}\nparent = {os.getpid()}\nrefused({calls})") == "equal"


def test_killing_the_parent_kills_nothing(enforced):
    assert verdict("import os\ndef f():\n    os.kill(os.getppid(), 9)\n    return 1", "assert candidate() == 1") == "equal"


@pytest.mark.parametrize(
    "calls",
    [
        "lambda: os.fork(), lambda: os.forkpty(), lambda: os.posix_spawn(sys.executable, ['x'], {})",
        "lambda: __import__('subprocess').run([sys.executable, '-c', 'pass']), lambda: system('vfork')",
        "lambda: system('syscall', 435, 0, 0), lambda: system('syscall', 272, 0x10000000)",  # clone3; unshare, a user namespace
    ],
)
def test_no_process_is_started(calls, enforced):
    assert ends(f"{TOOLS}\nrefused({calls})") == "equal"


def test_threads_work_up_to_a_limit(enforced):
    program = """
from concurrent.futures import ThreadPoolExecutor
import threading
def f(n):
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda x: x * x, range(n)))
def g(*_):
    started, over = 0, threading.Event()
    try:
        for _ in range(1000):
            threading.Thread(target=over.wait, daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    over.set()
    return started
"""
    assert verdict(program, "assert candidate(5) == [0, 1, 4, 9, 16]") == "equal"
    assert verdict(program, "assert 4 <= candidate() < 100", entry="g") == "equal"


def test_tests_have_the_limits_of_a_program(enforced):
    calls = "lambda: os.fork(), lambda: socket.socket(), lambda: open('/etc/passwd'), lambda: os.mkdir('one')"
    assert ends("", f"{TOOLS}\nrefused({calls})") == "equal"
    assert ends("", "try: bytearray(1 << 30)\nexcept MemoryError: pass\nelse: raise SystemExit") == "equal"


def test_tests_leave_nothing_to_those_after_them(enforced):
    leaving = "import builtins, os\nbuiltins.abs = lambda x: 0\nos.left = 1\nassert f() == 1"
    looking = "import os\nassert abs(f() - 3) == 2 and not hasattr(os, 'left')"
    with Host() as host:
        task = {"program": "def f(): return 1", "question": "", "entry": ""}
        assert [code._run(task | {"tests": tests}, host) for tests in (leaving, looking, leaving, looking)] == ["equal"] * 4


def test_a_host_is_there_again_after_tests_that_took_too_long(enforced, short):
    task = {"program": "def f(): return 1", "question": "", "entry": ""}
    with Host() as host:
        assert [code._run(task | {"tests": tests}, host) for tests in ("while True: pass", "assert f() == 1")] == ["timeout", "equal"]
        assert code._run(task | {"tests": "import time\ntime.sleep(60)"}, host) == "timeout"
        assert code._run(task | {"tests": "assert f() == 2"}, host) == "different"


def running(name):
    return [process for process in psutil.process_iter(["name"]) if process.info["name"] == name]


def named(name):
    return f"import ctypes, os, time\nctypes.CDLL(None).prctl(15, {name.encode()!r}, 0, 0, 0)\n"


def gone(name):
    end = time.monotonic() + 5
    while running(name) and time.monotonic() < end:
        time.sleep(0.05)
    return not running(name)


@pytest.mark.parametrize(
    "rest",
    ["if not os.fork():\n    os.setsid()\n    time.sleep(25)", "os.setsid()\ntime.sleep(25)", "time.sleep(25)"],
)
def test_nothing_survives_the_verdict(rest, enforced, short):
    name = f"survivor{os.getpid()}"
    ends(named(name) + rest)
    assert gone(name)


def test_nothing_survives_a_grading_process_that_is_killed(enforced, tmp_path):
    name = f"orphan{os.getpid()}"
    program = named(name) + "time.sleep(25)"
    task = {"program": program, "tests": "", "question": "", "entry": ""}
    grading = subprocess.Popen([sys.executable, "-c", f"from src.grading.code import run; run({task!r})"], cwd=ROOT)
    end = time.monotonic() + 20
    while not running(name) and time.monotonic() < end:
        time.sleep(0.05)
    assert running(name)
    grading.kill()
    grading.wait()
    assert gone(name)


@pytest.mark.parametrize("family", ["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"])
def test_there_is_no_socket_of_any_kind(family, enforced):
    kinds = ("SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW")
    calls = ", ".join(f"lambda: socket.socket(socket.{family}, socket.{kind})" for kind in kinds)
    assert ends(f"{TOOLS}\nrefused({calls})") == "equal"


def test_nothing_reaches_a_server_of_this_machine(tmp_path, enforced):
    reached = []
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "x.sock"))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0grpo-lab-{os.getpid()}")
    servers = [unix, abstract, socket.create_server(("127.0.0.1", 0))]
    for server in servers:
        server.listen()
        threading.Thread(target=lambda server=server: reached.append(server.accept()), daemon=True).start()
    addresses = [server.getsockname() for server in servers]
    connect = "socket.socket(socket.AF_INET if type(address) is tuple else socket.AF_UNIX).connect(address)"
    assert ends(f"{TOOLS}\nfor address in {addresses!r}: refused(lambda: {connect})") == "equal"
    time.sleep(0.2)
    assert not reached


@pytest.mark.parametrize(
    "program",
    [
        "bytearray(1 << 30)",
        "kept = []\nwhile True: kept.append(bytearray(1 << 20))",
        "import mmap\nmmap.mmap(-1, 1 << 30)",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
        "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (100, 100))",
        "import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (100, 100))",
        "open('one', 'w')",
        "open('/dev/shm/one', 'w')",
        "import os\nos.mkdir('one')",
        "import tempfile\ntempfile.TemporaryFile()",
        "import os\nwhile True: os.dup(0)",
        "import os\nos.memfd_create('x')",
    ],
)
def test_no_more_is_taken_than_the_limits_allow(program, enforced):
    program = textwrap.indent(program, "    ")
    assert ends(f"try:\n{program}\nexcept (MemoryError, OSError, ValueError): pass\nelse: raise SystemExit") == "equal"


def test_memory_that_no_limit_counts_is_not_to_be_had(enforced):
    for call in ("'shmget', 0, 1 << 20, 0o1600", "'msgget', 0, 0o1600", "'semget', 0, 1, 0o1600", "'mq_open', b'/', 66, 0, 0"):
        assert ends(f"{TOOLS}\nrefused(lambda: system({call}))") == "equal"


def test_no_right_is_gained(enforced):
    calls = (
        "lambda: os.setuid(0), lambda: os.setgroups([0]), lambda: os.chroot('/lib'), lambda: system('unshare', 0x10000000), "
        "lambda: system('mount', b'x', b'/lib', b'tmpfs', 0, 0), lambda: system('umount2', b'/lib', 2), "
        "lambda: system('setns', 0, 0), lambda: system('syscall', 425, 1, 0), "
        "lambda: os.mknod('device', 0o20600, 0x101), lambda: os.open('/dev/tty', 0)"
    )
    assert ends(f"{TOOLS}\nrefused({calls})") == "equal"


FOLDERS = """
import os
def f():
    made = []
    for folder, below, _ in os.walk("/"):
        if folder.count("/") > 3:
            below.clear()
        try:
            made.append(open(folder + "/left", "w"))
        except OSError:
            pass
    return len(made), os.path.isdir("/lib")
"""


def test_there_is_no_folder_to_leave_anything_in(enforced):
    assert verdict(FOLDERS, "assert candidate() == (0, True)") == "equal"


@pytest.mark.parametrize(
    "program",
    [
        "while True: write(b'x' * 65536)",
        "while True: write(b'tuple 1 none None\\n' * 4096)",
        "write(b'x' * (8 << 20))",
        "def f(*_): return 'x' * (3 << 20)",
        "def f(*_): return list(range(1 << 20))",
    ],
)
def test_a_flood_fills_nothing(program, enforced, short):
    me = psutil.Process()
    before, start = me.memory_info().rss, time.monotonic()
    assert verdict(f"{TOOLS}\n{program}", "assert candidate(2, 3) == 5") in ("different", "timeout")
    assert me.memory_info().rss - before < 50 << 20
    assert time.monotonic() - start < 8


def test_nothing_but_the_way_to_the_tests_is_open(enforced):
    calls = "lambda: os.fchmod(0, os.fstat(0).st_mode), lambda: os.utime(2), lambda: os.fchown(1, -1, 0)"
    calls += ", lambda: system('syscall', 452, 2, b'', 0o666, 0x1000)"  # fchmodat2
    assert ends(f"{TOOLS}\nrefused({calls})") == "equal"
    assert ends("import sys\nprint('x', file=sys.stderr)\nprint('x')\nassert sys.stdin.read() == ''") == "equal"
    program = f"{TOOLS}\nrefused(*(lambda fd=fd: os.fstat(fd) for fd in range(5, 32)))"  # three go nowhere, two to the tests
    assert ends(program) == "equal"


SEARCH = """
import gc, re, sys
def f(*_):
    found, frame = [], sys._getframe()
    while frame:
        found += [repr(frame.f_locals), repr(frame.f_globals), repr(frame.f_code.co_consts)]
        frame = frame.f_back
    found += [repr(thing) for thing in gc.get_objects() if type(thing) in (dict, list, tuple)] + [repr(sys.argv)]
    for module in list(sys.modules.values()):
        found += [repr(value) for value in vars(module).values() if type(value) in (str, bytes, dict, list)]
    return next(iter(re.findall("need" + "le-[0-9]+", " ".join(found))), "")
"""


def test_the_expected_answer_is_nowhere_in_the_programs_process():
    assert verdict(SEARCH + "there = 'needle-1'", "assert candidate() == 'needle-1'") == "equal"  # what is there is found
    assert verdict(SEARCH, "assert candidate() == 'needle-1'") == "different"
    assert verdict(SEARCH, "expected = 'needle-1'\n    assert candidate(1) == expected") == "different"


@pytest.mark.parametrize(
    "program",
    [
        "write(b'equal\\n')\nos._exit(0)",
        "import os\nos._exit(40)",
        "import os\ndef f(*_): os._exit(40)",
        "def f(*_): raise SystemExit(40)",
        "def f(*_): raise KeyboardInterrupt",
        "write(b'tuple 1 none None\\n' * 9)",
        "import os, signal\ndef f(*_): os.kill(os.getpid(), signal.SIGTERM)",
        "import sys\nsys._getframe(1).f_locals['self'] = sys._getframe(2).f_globals['EQUAL'] = 0",
        "import builtins\nbuiltins.AssertionError = ValueError",
        "def check(candidate): pass",
        "import sys\nsys.modules['__main__'].DIFFERENT = 40",
        "import atexit, os\natexit.register(os._exit, 40)",
        "class Equal:\n    def __eq__(self, other): return True\ndef f(*_): return Equal()",
        "class Equal(int):\n    def __eq__(self, other): return True\ndef f(*_): return Equal(0)",
        "class Equal(list):\n    def __eq__(self, other): return True\ndef f(*_): return Equal()",
        "class Equal(dict):\n    def __eq__(self, other): return True\ndef f(*_): return Equal()",
        "class Equal:\n    __class__ = int\n    def __eq__(self, other): return True\ndef f(*_): return Equal()",
        "def f(*_): return float('nan')",
    ],
)
def test_no_verdict_is_written_by_the_program(program):
    assert verdict(f"{TOOLS}\n{program}", "assert candidate(2, 3) == 5") == "different"


def test_what_tests_call_is_not_what_the_program_made_of_it():
    program = "import builtins, math\nbuiltins.abs = abs = math.fabs = lambda x: 0\nmath.isclose = isclose = lambda *_: True\n"
    program += "def f(x): return 7.0"
    assert verdict(program, "assert abs(candidate(1) - 7) < 1e-6") == "equal"
    assert verdict(program, "assert abs(candidate(1) - 5) < 1e-6") == "different"
    assert verdict(program, "import math\n    assert math.isclose(candidate(1), 5)") == "different"
    assert ends(program, "from math import fabs\nassert fabs(f(1) - 5) < 1e-6") == "different"


@pytest.mark.parametrize("end", ["os._exit(0)", "os.closerange(0, 32)", "raise SystemExit"])
def test_tests_that_catch_everything_are_not_passed_by_dying(end):
    assert verdict(f"import os\ndef f(): {end}", "try: candidate()\n    except BaseException: pass") == "different"


REPLY = TOOLS + "def f(*_):\n    write({} + b'\\n', (3, 4))\n    os._exit(0)"


@pytest.mark.parametrize(
    "reply",
    [
        *(f"b'tuple {rest}'" for rest in ("1", "1 int 5 x", "9 int 5", "-1", "1 object x", "1 set 1 list 0", "2 str x str x5")),
        *("b''", "b'int 5'", "b'unknown 1 int 5'", "b'\\xff'", "b'tuple 1 ' * 100000", "b'tuple 1 int ' + b'9' * 1000000"),
        "b'tuple 2 str x53797374656d45786974 str x3430'",  # SystemExit, 40
        "b'tuple 2 str x5f5f696d706f72745f5f str x6f73'",  # __import__, os
        "b'tuple 1 set 30000 ' + b' '.join(b'int %d' % (n * ((1 << 61) - 1)) for n in range(30000))",  # all of one hash
    ],
)
def test_a_reply_of_any_form_is_a_wrong_answer_at_most(reply, short):
    assert verdict(REPLY.replace("{}", reply), "assert candidate(2, 3) == 6") in ("different", "timeout")


def test_a_right_answer_by_hand_is_right():  # or the test above would pass whatever is sent
    assert verdict(REPLY.replace("{}", "b'tuple 1 int 6'"), "assert candidate(2, 3) == 6") == "equal"


@pytest.mark.parametrize(
    "program",
    [
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
        "import signal\nfor n in (signal.SIGXCPU, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)\nwhile True: pass",
        "import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass",
        "import re\nre.match('(a+)+$', 'a' * 40 + 'b')",
        "10 ** 10 ** 10",
    ],
)
def test_time_is_limited_whatever_a_program_ignores(program, short):
    start = time.monotonic()
    assert ends(program) == "timeout"
    assert time.monotonic() - start < 8


def test_crashes_are_wrong_answers():
    assert ends("import ctypes\nctypes.string_at(0)") == "different"
    assert ends("import os\nos.abort()") == "different"
    assert ends("def f(): f()\nf()") == "different"


@pytest.fixture
def fresh():
    """What is known of this machine is forgotten, before and after."""
    caches = (not_enforced, sandbox.fault, sandbox._rules)
    for known in caches:
        known.cache_clear()
    yield
    for known in caches:
        known.cache_clear()


def suite(tmp_path, trusted=False):
    path = tmp_path / "code.jsonl"
    path.write_text('{"prompt": "def add(a, b):\\n", "test": "def check(candidate):\\n    assert candidate(1, 1) == 2\\n"}\n')
    pool = FilePool(loader="file", path=str(path), level="hard", columns={"question": "prompt", "answer": "test"})
    return load_suite(pool, "humaneval", None, "code", trusted)


def test_without_a_sandbox_a_suite_of_programs_is_refused_unless_it_is_trusted(tmp_path, monkeypatch, fresh):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as refused:
        suite(tmp_path)
    words = ("suite humaneval: ", "reading files", "network", "other processes", "bubblewrap is not", "grading.code.trusted=true")
    for word in words:
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)
    problems, notes = suite(tmp_path, trusted=True)
    assert "not enforced on this machine: " in notes[0] and "network" in notes[0].partition("not enforced")[2]
    texts = [f"```python\ndef add(a, b):\n    return a {sign} b\n```" for sign in "+-"]
    verdicts = grade_programs(texts, problems * 2, 1)
    assert [verdict.correct for verdict in verdicts] == [True, False]


def test_a_kernel_that_gives_no_namespace_is_named(enforced):
    script = (
        "from src.grading.code import remark\nfrom src.common.errors import UserError\n"
        "try: remark('humaneval', trusted=False)\nexcept UserError as error: print(error)"
    )
    outer = ["bwrap", "--dev-bind", "/", "/", "--unshare-user", "--disable-userns", "--"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [*outer, sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert "limits are not enforced on this machine" in done.stdout and "bwrap: " in done.stdout, done.stderr


def test_a_sandbox_that_does_not_start_is_no_wrong_answer(monkeypatch, enforced):
    monkeypatch.setattr(sandbox, "PYTHON", ("/no/python",))
    with pytest.raises(RunFailed, match="did not start"):
        ends("pass")


def test_many_answers_are_graded_side_by_side(enforced):
    texts = [f"```python\ndef add(a, b):\n    return a + b + {n % 2}\n```" for n in range(16)]
    verdicts = grade_programs(texts, [PROBLEM] * 16, workers=4)
    assert [verdict.correct for verdict in verdicts] == [n % 2 == 0 for n in range(16)]
    assert not [process for process in psutil.Process().children(recursive=True) if process.name() == "bwrap"]
