"""The journal that a study is kept in: a line of JSON for each operation, each with a sum of itself and the line before it.

So a line that is changed, lost or moved is noticed; but one lost at the end is as if a kill had come before it.
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

SUM = ',"sum":"'  # begins the end of a line; journals of earlier versions have none
REMEDY = "put a whole copy in its place, or give a new sweep.study_name"
CREATE_STUDY, CREATE_TRIAL = 0, 4  # optuna.storages.journal._storage.JournalOperation; after each what is done to such a one


class Journal(JournalFileBackend):
    """Optuna's, which knows no sums and remembers where each line begins that it ever read; only the next is ever asked for."""

    def __init__(self, path: str, lock: "JournalLock") -> None:
        super().__init__(path, lock_obj=lock)
        self._begin()

    def _begin(self) -> None:
        self._number = self._offset = 0  # of lines and bytes read
        self._made = {"study_id": 0, "trial_id": 0}  # in them
        self._last = b""

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
                self._check(log, line)
                self._number, self._offset, self._last = self._number + 1, self._offset + len(line), line
                if self._number > log_number_from:
                    yield log

    def _check(self, log: dict[str, Any] | None, line: bytes) -> None:
        if log is None:
            raise self._damaged("is no operation on a study")
        if "sum" in log and not line.endswith(_end(self._last, line.rpartition(SUM.encode())[0])):
            raise self._damaged("or the one before it was changed, or what stood between them is lost")
        operation = log["op_code"]
        self._made["study_id"] += operation == CREATE_STUDY
        self._made["trial_id"] += operation == CREATE_TRIAL
        made = "study_id" if operation <= CREATE_TRIAL else "trial_id"
        if operation != CREATE_STUDY and not 0 <= log.get(made, 0) < self._made[made]:
            raise self._damaged(f"speaks of a {made.removesuffix('_id')} that none before it has made")

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
                own = json.dumps(log, separators=(",", ":")).encode()[:-1]
                before = own + _end(before, own)
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


def _end(before: bytes, own: bytes) -> bytes:
    """The end of a line that follows the line `before`."""
    return f'{SUM}{hashlib.sha256(before + own).hexdigest()[:16]}"}}\n'.encode()


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
