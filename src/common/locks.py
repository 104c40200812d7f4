"""Locks that the kernel drops when their holder dies, whatever it dies of. They need a file system that all can see."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self


class FileLock:
    """An exclusive lock on a file, held from `acquire` on until `release` or the end of this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def acquire(self, timeout_s: float) -> bool:
        """Whether the lock was obtained within `timeout_s` seconds."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        until = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(handle)
                    return False
                time.sleep(0.005)
            else:
                self._handle = handle
                return True

    @property
    def lost(self) -> bool:
        """Whether the file that is held has no name any more: it was deleted, or another took its place."""
        return self._handle is not None and os.fstat(self._handle).st_nlink == 0

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        self.acquire(float("inf"))
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    lock = FileLock(path)
    if not path.exists():
        return False
    free = lock.acquire(0)
    lock.release()
    return not free


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of a file for the length of a block."""
    with FileLock(path):
        yield
