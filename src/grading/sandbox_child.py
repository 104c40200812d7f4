"""What runs in a sandboxed process: give up rights one after the other, then run the program that stdin holds.

Called by path, with the standard library alone. Arguments: seconds of processor time, bytes of memory, bytes of a file, the
folder that may be written to. stdin holds a word and then the program. stdout gets a line that names what the kernel
enforces, and the word if the program came to its end; the program's own output goes nowhere.
"""

import ctypes
import os
import resource
import struct
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446  # system calls, the same on all architectures
# linux/landlock.h: write a file, remove, and make entries of all kinds.
WRITES = 0b1111111110010


def main() -> None:
    seconds, memory, file_bytes, folder = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    word, program = sys.stdin.readline(), sys.stdin.read()
    enforced = ["time", "memory", "file size"]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 or libc.unshare(CLONE_NEWNET) == 0:
        enforced.append("network")
    if only_write_to(folder, libc):
        enforced.append("files")
    limits = {
        resource.RLIMIT_CPU: seconds, resource.RLIMIT_AS: memory, resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: 32, resource.RLIMIT_NPROC: 0, resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    print(",".join(enforced), flush=True)
    answer, nowhere = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})  # noqa: S102 - what the sandbox is for
    os.write(answer, word.encode())  # an exit before the end, of whatever code, does not get here


def only_write_to(folder: str, libc: ctypes.CDLL) -> bool:
    """Have the kernel refuse every change of a file outside `folder` (Landlock, Linux 5.13); whether it does."""
    ruleset = libc.syscall(LANDLOCK_CREATE, ctypes.c_char_p(struct.pack("Q", WRITES)), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    rights = struct.pack("=Qi", WRITES, os.open(folder, os.O_PATH))
    libc.syscall(LANDLOCK_ADD, ruleset, 1, ctypes.c_char_p(rights), 0)
    null = struct.pack("=Qi", 0b10, os.open(os.devnull, os.O_PATH))
    libc.syscall(LANDLOCK_ADD, ruleset, 1, ctypes.c_char_p(null), 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return libc.syscall(LANDLOCK_RESTRICT, ruleset, 0) == 0


if __name__ == "__main__":
    main()
