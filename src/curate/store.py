"""Steps on disk: each writes its result whole into a folder of its own, with counts and reasons, or leaves nothing.

A folder holds `kept.parquet`, `dropped.parquet` (every dropped row with its reason) and `step.json`. It counts as finished
for one key, a hash of the step's settings and of what it read; the same key again takes it as it is.
"""

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.common.files import file_hash, write_json

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 2_000  # held in memory before they are written
EXAMPLES_PER_REASON = 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """A problem on its way to the mix."""

    id: str  # the same for every copy of the question
    question: str
    answer: str
    level: str
    pass_rate: float | None  # share of tries that were right, 0 to 1
    tries: int | None  # how many tries that rests on, where it is known
    rate_low: float | None  # 95 % interval of the pass rate
    rate_high: float | None
    source: str  # its name in the configuration
    place: str  # file and line, or row


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that went no further, and why."""

    reason: str
    source: str
    place: str
    question: str
    detail: str  # what the rule saw
    other: str  # place of the problem that it is a copy of
    other_question: str
    share: float | None  # of n-grams in common with that


@dataclass(frozen=True)
class Finished:
    """What a finished step says of itself."""

    name: str
    folder: Path
    rows: int
    kept: int
    dropped: dict[str, int]  # by reason
    sha256: str  # of kept.parquet
    seconds: float
    notes: list[str]
    examples: dict[str, list[dict[str, str]]]
    published: int | None = None  # what the publication counts after this step

    def candidates(self) -> Iterator[Candidate]:
        """The problems that were kept, read as they are needed."""
        return read_candidates(self.folder / "kept.parquet")


class Writer:
    """Takes a step's rows; they reach the disk a few thousand at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept, self.dropped = RowWriter(folder / "kept.parquet", Candidate), RowWriter(folder / "dropped.parquet", Dropped)
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, list[dict[str, str]]] = {}
        self.notes: list[str] = []

    def keep(self, candidate: Candidate) -> None:
        self.kept.add(candidate)

    def drop(
        self, candidate: Candidate, reason: str, detail: str = "", other: Candidate | None = None,
        share: float | None = None,
    ) -> None:
        """Set a row aside, beside the one that it is a copy of where there is one."""
        where, question = (f"{other.source}: {other.place}", other.question) if other else ("", "")
        self.set_aside(
            Dropped(reason, candidate.source, candidate.place, candidate.question, detail, where, question, share)
        )

    def set_aside(self, row: Dropped) -> None:
        self.dropped.add(row)
        self.reasons[row.reason] += 1
        shown = self.examples.setdefault(row.reason, [])
        if len(shown) < EXAMPLES_PER_REASON:
            shown.append({"place": row.place, "question": row.question[:200], "detail": row.detail[:200]})

    def close(self) -> None:
        self.kept.close()
        self.dropped.close()


class RowWriter:
    """A Parquet file that grows by row groups."""

    def __init__(self, path: Path, kind: type) -> None:
        import pyarrow.parquet as pq

        self.names, self.schema = [field.name for field in fields(kind)], _schema(kind)
        self.writer = pq.ParquetWriter(path, self.schema)
        self.rows: list[Any] = []
        self.count = 0

    def add(self, row: Any) -> None:
        self.rows.append(row)
        self.count += 1
        if len(self.rows) >= ROWS_AT_ONCE:
            self._flush()

    def close(self) -> None:
        self._flush()
        self.writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        columns = {name: [getattr(row, name) for row in self.rows] for name in self.names}
        self.writer.write_table(pa.table(columns, schema=self.schema))
        self.rows = []


def _schema(kind: type) -> "pa.Schema":
    import pyarrow as pa

    types: dict[Any, pa.DataType] = {str: pa.string(), float | None: pa.float64(), int | None: pa.int64()}
    return pa.schema([(field.name, types[field.type]) for field in fields(kind)])


def read_candidates(path: Path) -> Iterator[Candidate]:
    """The rows of a kept.parquet, a few thousand in memory at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
            yield from (Candidate(**record) for record in batch.to_pylist())


def partial_folder(folder: Path) -> Path:
    """An empty folder beside a step's, to write into; what a killed process left there goes."""
    discard(folder)
    partial = _partial(folder)
    partial.mkdir(parents=True)
    return partial


def discard(folder: Path) -> None:
    """Remove what an unfinished step has written."""
    shutil.rmtree(_partial(folder), ignore_errors=True)


def _partial(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.partial")


def finish(partial: Path, folder: Path, key: str, writer: Writer, rows: int, started: float) -> None:
    """Put a step's folder in its place, complete."""
    writer.close()
    write_json(
        partial / "step.json",
        {
            "key": key,
            "rows": rows,
            "kept": writer.kept.count,
            "dropped": dict(writer.reasons.most_common()),
            "files": {path.name: file_hash(path) for path in sorted(partial.glob("*.parquet"))},
            "seconds": round(time.perf_counter() - started, 2),
            "notes": writer.notes,
            "examples": writer.examples,
        },
    )
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def finished(folder: Path, key: str, published: int | None = None) -> Finished | None:
    """The finished step in a folder; None if there is none for this key, or one of its files was changed since."""
    try:
        content = json.loads((folder / "step.json").read_text(encoding="utf-8"))
        files = content.pop("files")
        whole = all(file_hash(folder / name) == sha256 for name, sha256 in files.items())
    except (OSError, ValueError, KeyError):  # what cannot be read is done again, and fails there if it must
        return None
    if not whole or key != content.pop("key"):
        return None
    name = folder.name.partition("_")[2]
    return Finished(name, folder, **content, sha256=files["kept.parquet"], published=published)


def key_of(*parts: Any) -> str:
    """A hash of plain values; the order of keys counts, since that of sources and roles does."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()
