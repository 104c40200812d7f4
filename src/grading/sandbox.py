"""A Python process that may do next to nothing: bubblewrap around it, libseccomp between it and the kernel, limits within.

It has user, processes, network, IPC and mounts of its own, no capability, and no descriptor but those it is given; it sees no
file but the interpreter's and the C library's, and can make or change none. A folder of its own in memory would be one more
limit to set: bubblewrap limits its bytes, but not its files, and empty files take gigabytes from the kernel in seconds.
"""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

CPU_SECONDS, MEMORY_BYTES = 5, 512 << 20
CHILD = Path(__file__).with_name("sandbox_child.py")
PYTHON = (str(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")), "-I", "-S")
READABLE = (sys.base_prefix, "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
DENIED = """
    fork vfork clone
    socket
    chmod fchmod fchmodat chown fchown lchown fchownat utime utimes utimensat futimesat setxattr lsetxattr fsetxattr
    memfd_create shmget msgget semget mq_open
    ptrace process_vm_readv process_vm_writev kcmp
    unshare setns mount umount2 pivot_root chroot
    bpf perf_event_open userfaultfd keyctl add_key request_key open_by_handle_at fanotify_init syslog
""".split()
"""System calls that fail, a line for each kind: other processes, and threads; sockets, also of the kinds that a network
namespace does not hold, such as to the host of a virtual machine; changes to the file behind a descriptor, which is the
machine's own /dev/null; memory that no limit counts; other processes; namespaces; ways into the kernel, and its log."""
NEWER = range(424, 600)
"""System calls that came after Linux 5.0, by their numbers, the same on all architectures: there are none, as on such a
kernel. Among them are clone3, io_uring, fchmodat2, other ways to the processes and mounts above, and what is to come."""


@contextmanager
def sandboxed(*arguments: str, descriptors: tuple[int, ...] = (), **streams: int) -> Iterator[subprocess.Popen]:
    """A process that runs sandbox_child.py with these arguments, killed at the end with all that is in it. Where there can
    be no sandbox (`fault`) it has the limits that it sets itself, and no others."""
    child = [str(CPU_SECONDS), str(MEMORY_BYTES), *arguments]
    with tempfile.TemporaryDirectory(prefix="program-") as folder:
        if fault():
            command, rules = [*PYTHON, str(CHILD), *child], None
        else:
            rules = _rules_file()
            command = [*_bubblewrap(rules), *PYTHON, "/child.py", *child]
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


def _bubblewrap(rules: int) -> list[str]:
    readable = [word for path in READABLE for word in ("--ro-bind-try", path, path)]
    return [
        shutil.which("bwrap") or "bwrap", "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534",
        "--cap-drop", "ALL", "--die-with-parent", "--seccomp", str(rules), *readable, "--ro-bind", str(CHILD), "/child.py",
        "--remount-ro", "/", "--chdir", "/", "--",
    ]


def _rules_file() -> int:
    """A descriptor to read the rules from, which bubblewrap reads to their end."""
    read, write = os.pipe()
    os.write(write, _rules())
    os.close(write)
    return read


@cache
def _rules() -> bytes:
    """The system calls that fail, as a program for the kernel."""
    import pyseccomp  # raises RuntimeError where there is no libseccomp

    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for call in DENIED:
        rules.add_rule(pyseccomp.ERRNO(errno.EPERM), call)
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
