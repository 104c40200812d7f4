"""The journal that a study is kept in: a line of JSON for each operation, each with the sum of the line before it.

So a line that is damaged, lost or moved in the middle is noticed; one lost at the end is as if a kill had come before it.
"""

import hashlib
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from src.common.errors import UserError
from src.common.locks import FileLock

AFTER = "after"  # of a line: the sum of the line before it; journals of earlier versions have none
REMEDY = "put a whole copy in its place, or give a new sweep.study_name"
CREATE_TRIAL, DISCARD_TRIALS = 4, 10  # optuna.storages.journal._storage.JournalOperation; between them what is done to a trial


class Journal(JournalFileBackend):
    """Optuna's, which knows no sums and remembers where each line begins that it ever read; only the next is ever asked for."""

    def __init__(self, path: str, lock: "JournalLock") -> None:
        super().__init__(path, lock_obj=lock)
        self._begin()

    def _begin(self) -> None:
        self._number = self._offset = self._trials = 0  # of lines and bytes read, of trials made in them
        self._sum = _sum(b"")

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any]]:
        """Raises UserError at a line that is none of a journal, or not where it was written."""
        if log_number_from != self._number:
            self._begin()
        with open(self._file_path, "rb") as file:
            file.seek(self._offset)
            # A line without its end is being written, or was when its writer was killed.
            while (line := file.readline()).endswith(b"\n"):
                if (log := _log(line)) is None and not file.read(1):
                    return  # a loss of power leaves such an end
                self._check(log)
                self._number, self._offset, self._sum = self._number + 1, self._offset + len(line), _sum(line)
                if self._number > log_number_from:
                    yield log

    def _check(self, log: dict[str, Any] | None) -> None:
        if log is None:
            raise self._damaged("is no operation on a study")
        if log.pop(AFTER, self._sum) != self._sum:
            raise self._damaged("does not follow the line before it: what stood between them is lost, or was changed")
        self._trials += log["op_code"] == CREATE_TRIAL
        if CREATE_TRIAL < log["op_code"] < DISCARD_TRIALS and not 0 <= log.get("trial_id", -1) < self._trials:
            raise self._damaged("speaks of a trial that none before it has made")

    def _damaged(self, how: str) -> UserError:
        return UserError(damaged(self._file_path, f"line {self._number + 1} {how}"))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write whole lines or nothing: to a piece that a full disk has cut the next line would be glued.

        Raises OSError, also if the journal is gone: a new one in its place would lack what came before.
        """
        self._lock.acquire()
        try:
            before, lines = _last_line(self._file_path), b""
            for log in logs:
                before = json.dumps(log | {AFTER: _sum(before)}, separators=(",", ":")).encode() + b"\n"
                lines += before
            _append(self._file_path, lines)
        finally:
            self._lock.release()


def _last_line(path: str) -> bytes:
    with open(path, "rb") as file:
        end, size = file.seek(0, os.SEEK_END), 1 << 12
        while True:
            file.seek(max(0, end - size))
            tail = file.read()
            begin = tail.rfind(b"\n", 0, -1) + 1
            if begin or size >= end:
                return tail[begin:]
            size *= 2


def _append(path: str, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    before, left = os.lseek(handle, 0, os.SEEK_END), memoryview(content)
    try:
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, before)
        raise
    finally:
        os.close(handle)


def _sum(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:16]


def _log(line: bytes) -> dict[str, Any] | None:
    """The operation that a line is; None if it is none."""
    try:
        log = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return log if isinstance(log, dict) and isinstance(log.get("op_code"), int) and "worker_id" in log else None


def damaged(path: Path | str, how: str) -> str:
    return f"sweep: {path} is damaged: {how}; {REMEDY}"


class JournalLock:
    """For Optuna's journal, whose own locks outlive a killed holder by half a minute; this one goes with it."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        return self._lock.acquire(float("inf"))

    def release(self) -> None:
        self._lock.release()


def mend(path: Path, lock: JournalLock) -> None:
    """Cut off what a kill or a loss of power left at the end of a journal; the next line would be glued to it."""
    if not path.exists():
        return
    lock.acquire()
    try:
        with path.open("r+b") as file:
            content_end = file.seek(0, os.SEEK_END)
            if content_end == 0:
                return
            file.seek(max(0, content_end - (1 << 24)))
            tail = file.read()
            whole = tail[: tail.rfind(b"\n") + 1]
            if last := whole.splitlines(keepends=True)[-1:]:
                whole = whole if _log(last[0]) else whole[: -len(last[0])]
            if len(whole) < len(tail):
                file.truncate(content_end - len(tail) + len(whole))
    finally:
        lock.release()
