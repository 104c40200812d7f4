"""The end of a run: what to do with it, and of one that cannot go on its status, how to continue it, and the traceback in a file."""

import shutil
import traceback
from pathlib import Path
from typing import Any

from src.common.errors import RunFailed, UserError, in_words
from src.common.files import write_text
from src.common.secrets import redacted
from src.hardware.ranks import is_first, rank, reason_elsewhere
from src.record.record import Record

TRACEBACK = "traceback.txt"  # in the run's folder


def resume_command(folder: Path) -> str:
    return f"python -m src.run resume={folder}"


def what_next(folder: Path) -> list[str]:
    """Commands for a finished run."""
    return [f"grpo-lab try {folder} 'a question of your own'", f"grpo-lab report {folder}", f"grpo-lab export {folder} my-model"]


def failed(record: Record, error: Exception, cost: dict[str, Any]) -> Exception:
    """Save the status of a failed run as far as that is possible; what is to be raised then: an error of one line."""
    known = isinstance(error, UserError | RunFailed)
    said = redacted(str(error) if known else in_words(error))
    if is_first():
        shutil.rmtree(record.folder / "checkpoints" / "partial", ignore_errors=True)  # makes room, if that was missing
    saved = last_save(record, status="failed", reason=reason_elsewhere() or said, cost=cost)
    if known:
        return error
    lines = [said, f"continue with: {resume_command(record.folder)}"]
    path = record.folder / (TRACEBACK if is_first() else f"rank_{rank()}_{TRACEBACK}")
    if not record.lost and _keep_traceback(path, error):
        lines.append(f"the traceback is in {path}")
    return RunFailed("; ".join([*lines, *([] if saved else ["its status could not be saved"])]))


def last_save(record: Record, **entries: Any) -> bool:
    """Save what can still be saved, and whether it was."""
    record.summary |= entries
    try:
        record.save()
    except (OSError, RunFailed):  # no room, or no folder any more
        return False
    return True


def _keep_traceback(path: Path, error: Exception) -> bool:
    try:
        write_text(path, redacted("".join(traceback.format_exception(error))))
    except OSError:
        return False
    return True
