"""A Python process that may do next to nothing: bubblewrap around it, libseccomp between it and the kernel, limits within.

It has user, processes, network, IPC and mounts of its own, no capability, and no descriptor but those it is given; it sees no
file but the interpreter's and the C library's, and can make or change none. A folder of its own in memory would be one more
limit to set: bubblewrap limits its bytes, but not its files, and empty files take gigabytes from the kernel in seconds.

A start takes some 15 ms of processor time. Each program has one of its own. The tests of a thread's answers share one, a
`Host`, in which each answer's are a process that is forked and then has the rules of a program.
"""

import errno
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import Self

CPU_SECONDS, MEMORY_BYTES, THREADS = 5, 512 << 20, 16
HOST_ENDED = 255  # in the place of an exit code: the sandbox has ended in which the tests ran
CHILD = Path(__file__).with_name("sandbox_child.py")
PYTHON = (str(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")), "-I", "-S")
READABLE = (sys.base_prefix, "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
DENIED = """
    socket
    chmod fchmod fchmodat chown fchown lchown fchownat utime utimes utimensat futimesat setxattr lsetxattr fsetxattr
    memfd_create shmget msgget semget mq_open
    ptrace process_vm_readv process_vm_writev kcmp
    unshare setns mount umount2 pivot_root chroot
    bpf perf_event_open userfaultfd keyctl add_key request_key open_by_handle_at fanotify_init syslog
""".split()
"""System calls that fail, a line for each kind: sockets, also of the kinds that a network namespace does not hold, such as to
the host of a virtual machine; changes to the file behind a descriptor, which is the machine's own /dev/null; memory that no
limit counts; other processes; namespaces; ways into the kernel, and its log. For a program also those that start a process."""
CLONE_THREAD = 0x10000  # of linux/sched.h: clone starts a thread of the same process
NEWER = range(424, 600)
"""System calls that came after Linux 5.0, by their numbers, the same on all architectures: there are none, as on such a
kernel. Among them are clone3, io_uring, fchmodat2, other ways to the processes and mounts above, and what is to come."""


@contextmanager
def sandboxed(
    *arguments: str, descriptors: tuple[int, ...] = (), starts_processes: bool = False, **streams: int
) -> Iterator[subprocess.Popen]:
    """A process that runs sandbox_child.py with these arguments, killed at the end with all that is in it. Where there can
    be no sandbox (`fault`) it has the limits that it sets itself, and no others."""
    child = [str(CPU_SECONDS), str(MEMORY_BYTES), str(0 if fault() else THREADS), *arguments]
    with tempfile.TemporaryDirectory(prefix="program-") as folder:
        if fault():
            command, rules = [*PYTHON, str(CHILD), *child], None
        else:
            rules = _rules_file(starts_processes)
            command = [*_bubblewrap(rules), *PYTHON, "/child", *child]
            descriptors = (*descriptors, rules)
        try:
            process = subprocess.Popen(
                command, cwd=folder, env={}, stderr=subprocess.DEVNULL, pass_fds=descriptors, start_new_session=True, **streams
            )
        finally:
            if rules is not None:
                os.close(rules)
        with process:
            try:
                yield process
            finally:
                process.kill()


class Host:
    """A sandbox in which the tests of one answer after the other run; it starts on first need, and anew after `close`."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._control: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what is running in it."""
        self._open.close()
        self._control = None

    def begin(self, task: bytes, source: int, sink: int) -> None:
        """Have the tests of a task run, which ask the program by two descriptors. Raises OSError where the sandbox has ended."""
        control = self._control or self._start()
        with _sealed(task) as file:
            socket.send_fds(control, [b"t"], [file, source, sink])

    def ended(self, seconds: float) -> int:
        """The exit code of the tests, or 128 more than the number of a signal; HOST_ENDED. Raises TimeoutError."""
        assert self._control is not None
        self._control.settimeout(seconds)
        return (self._control.recv(1) or bytes([HOST_ENDED]))[0]

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with _sealed(b"" if fault() else _rules()) as rules, theirs:
            given = (theirs.fileno(), rules)
            host = sandboxed("tests", *map(str, given), descriptors=given, starts_processes=True, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL)  # fmt: skip
            self._open.enter_context(ours)
            self._open.enter_context(host)
        self._control = ours
        return ours


@contextmanager
def _sealed(content: bytes) -> Iterator[int]:
    """A descriptor of a file in memory with this content, which nobody can change."""
    descriptor = os.memfd_create("task", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        yield descriptor
    finally:
        os.close(descriptor)


def _bubblewrap(rules: int) -> list[str]:
    readable = [word for path in READABLE for word in ("--ro-bind-try", path, path)]
    return [
        shutil.which("bwrap") or "bwrap", "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534",
        "--cap-drop", "ALL", "--die-with-parent", "--seccomp", str(rules), *readable, "--ro-bind", str(_compiled()), "/child",
        "--remount-ro", "/", "--chdir", "/", "--",
    ]


def _compiled() -> Path:
    """What Python keeps of sandbox_child.py, which spares each process to compile it; itself where there is none."""
    kept = Path(cache_from_source(str(CHILD)))
    return kept if kept.exists() else CHILD


def _rules_file(starts_processes: bool = False) -> int:
    """A descriptor to read the rules from, which bubblewrap reads to their end."""
    read, write = os.pipe()
    os.write(write, _rules(starts_processes))
    os.close(write)
    return read


@cache
def _rules(starts_processes: bool = False) -> bytes:
    """The system calls that fail, as a program for the kernel."""
    import pyseccomp  # raises RuntimeError where there is no libseccomp

    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for call in DENIED:
        rules.add_rule(pyseccomp.ERRNO(errno.EPERM), call)
    for call in () if starts_processes else ("fork", "vfork"):
        rules.add_rule(pyseccomp.ERRNO(errno.EPERM), call)
    if not starts_processes:
        rules.add_rule(pyseccomp.ERRNO(errno.EPERM), "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, CLONE_THREAD, 0))
    for call in NEWER:
        rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), call)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


@cache
def fault() -> str:
    """Why a process cannot be put into a sandbox on this machine; "" where it can."""
    if not shutil.which("bwrap"):
        return "bubblewrap is not installed"
    try:
        rules = _rules_file()
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return f"libseccomp: {error}"
    done = subprocess.run(
        [*_bubblewrap(rules), *PYTHON, "-c", "pass"], env={}, pass_fds=[rules], capture_output=True, text=True, errors="replace"
    )
    os.close(rules)
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1] if done.returncode else ""
