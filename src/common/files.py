"""Files that are written whole or not at all, are on the disk before they have their name, and carry checksums."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

CHECKSUMS = "checksums.json"  # of a folder: its files' names and the SHA-256 of what they may hold
UNFINISHED = ".part"  # the ending of a file that write_whole has begun

NO_ROOM = "no room on the disk"
PACKAGE = Path(__file__).parents[1]
# How libraries say it that raise no OSError: Python and Arrow, safetensors (Rust), torch's writer of zip files.
_SAY_NO_ROOM = ("No space left on device", "StorageFull", "os error 28", "PytorchStreamWriter failed", "unexpected pos")


def of_project(name: str) -> Path:
    """What the project brings besides code, such as `conf`: it lies beside `src` in a checkout, and in the package of a wheel."""
    inside = PACKAGE / name
    return inside if inside.exists() else PACKAGE.parent / name


def finds_no_room(error: BaseException | None) -> bool:
    """Whether an exception, or one that it came from, is a full disk's or a full quota's; not all libraries keep the number."""
    seen: list[BaseException] = []  # a chain may come back to itself
    while error is not None and error not in seen:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(words in str(error) for words in _SAY_NO_ROOM):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


def write_whole(path: Path, write: Callable[[Path], Any], before: Callable[[Path], Any] = lambda path: None) -> None:
    """Call `write` on a temporary file beside `path`, then rename: readers see the old file or the new one, after a power
    cut too. `before` is called with the whole file before it gets its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
    os.close(handle)
    try:
        write(Path(name))
        os.chmod(name, 0o644)  # mkstemp makes it private; a record is to be read by others
        sync(Path(name))
        before(Path(name))
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_text(path: Path, text: str, before: Callable[[Path], Any] = lambda path: None) -> None:
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), before)


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unfinished(folder: Path) -> Iterator[Path]:
    """Files in and below a folder that `write_whole` had begun when it was killed, or that are being written."""
    return folder.rglob(f".*{UNFINISHED}")


# Checksums -----------------------------------------------------------------------------------------------------------


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(folder: Path) -> None:
    """Sync every file of a folder that is about to get its name, and write down what they hold."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    for path in files:
        sync(path)
    write_json(folder / CHECKSUMS, {str(path.relative_to(folder)): [file_hash(path)] for path in files})


def checksums(folder: Path) -> dict[str, list[str]]:
    """By name, what the files of a folder may hold; nothing where that was not written down or cannot be read."""
    try:
        content = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(name): sums for name, sums in content.items() if isinstance(sums, list)} if isinstance(content, dict) else {}


def changed(folder: Path, sums: Mapping[str, list[str]]) -> str | None:
    """The first of the files in `sums` that is gone or holds something else than was written, and which of both; else None."""
    for name, known in sums.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if file_hash(folder / name) not in known:
            return f"{name} is not what was written"
    return None
