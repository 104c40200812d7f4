"""Step 1, read: rows of any source become problems; what has no gold answer that grades itself correct is set aside."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import ne
from typing import TYPE_CHECKING

from pydantic import Field

from src.common.base import Config
from src.common.errors import UserError
from src.curate.store import Candidate, Dropped, Writer, file_hash
from src.data.choices import with_choices
from src.data.columns import check_columns, fields_of
from src.data.loaders import FilePool, HubPool, MicroPool, PoolConfig, load_micro, mended_note, question_id
from src.data.problems import gold_faults, published_note
from src.data.rows import Malformed, RawTable, Row, check_file, open_hub, stream_file, stream_hub
from src.grading.spelling import halved, is_doubled

if TYPE_CHECKING:
    import datasets

    from src.grading.grader import Grader

MALFORMED = "malformed row"
ROWS_GRADED_AT_ONCE = 4_000
ROWS_CHECKED = 1_000  # the first ones of a source, among which every column must occur


class ReadConfig(Config):
    """Where the raw problems are."""

    sources: dict[str, PoolConfig] = Field(min_length=1)  # by a name of your own
    grading_workers: int = Field(default=2, ge=1)  # processes that grade the gold answers


def read(config: ReadConfig, grader: "Grader", writer: Writer, done: Callable[[int], None]) -> int:
    """Read all sources; returns how many rows they have. Raises UserError for a source that cannot be read at all."""
    total = 0
    for name, pool in config.sources.items():
        rows = doubled = 0
        for part in _parts(_candidates(name, pool)):
            mended = [_mended(row) for row in part]
            rows, doubled = rows + len(part), doubled + sum(map(ne, part, mended))
            _sift(mended, grader, writer)
            done(len(part))
        if note := published_note(pool, rows):
            writer.notes.append(f"{name} has {note}")
        if doubled:
            writer.notes.append(mended_note(name, doubled))
        total += rows
    return total


def _sift(part: list[Candidate | Dropped], grader: "Grader", writer: Writer) -> None:
    candidates = [row for row in part if isinstance(row, Candidate)]
    faults = iter(gold_faults([candidate.answer for candidate in candidates], grader))
    for row in part:
        if isinstance(row, Dropped):
            writer.set_aside(row)
        elif fault := next(faults):
            writer.drop(row, fault, detail=row.answer)
        else:
            writer.keep(row)


def _parts(rows: Iterator[Candidate | Dropped]) -> Iterator[list[Candidate | Dropped]]:
    while part := list(itertools.islice(rows, ROWS_GRADED_AT_ONCE)):
        yield part


def _mended(candidate: Candidate | Dropped) -> Candidate | Dropped:
    """The row without doubled backslashes in its gold answer; each row by itself, since no column is read as a whole."""
    if isinstance(candidate, Dropped) or not is_doubled(candidate.answer):
        return candidate
    return replace(candidate, answer=halved(candidate.answer))


def _candidates(name: str, pool: PoolConfig) -> Iterator[Candidate | Dropped]:
    if isinstance(pool, MicroPool):
        loaded = load_micro(pool, name)
        for problem, place in zip(loaded.problems, loaded.places, strict=True):
            yield _candidate(name, place, problem.question, problem.answer, problem.level, problem.pass_rate)
        return
    source, rows = _rows(pool)
    first = list(itertools.islice(rows, ROWS_CHECKED))
    if not first:
        raise UserError(f"{source} holds no rows")
    whole = [row for row in first if isinstance(row, Row)]
    if whole:
        part = f" (in its first {ROWS_CHECKED:,} rows)" if len(first) == ROWS_CHECKED else ""
        check_columns(RawTable(f"{source}{part}", whole), pool.columns)
    for row in itertools.chain(first, rows):
        yield _from_row(name, source, row, pool)


def _rows(pool: FilePool | HubPool) -> tuple[str, Iterator[Row | Malformed]]:
    if isinstance(pool, FilePool):
        return pool.path, stream_file(pool.path)
    return pool.dataset, stream_hub(_opened(pool))


def check_pool(where: str, pool: PoolConfig) -> None:
    """Raise UserError for a file or data set that is not there; `where` is the place in the curation."""
    if isinstance(pool, FilePool):
        check_file(pool.path)
    if isinstance(pool, HubPool):
        _opened(pool, f"a local file will do: {where}={{loader: file, path: FILE, ...}}")


def _opened(pool: HubPool, alternative: str = "it was there when the curation began") -> "datasets.Dataset":
    return open_hub(pool.dataset, pool.config, pool.split, pool.revision, alternative, pool.files)


def _from_row(name: str, source: str, row: Row | Malformed, pool: FilePool | HubPool) -> Candidate | Dropped:
    place = f"{source}, {row.place}"
    if isinstance(row, Malformed):
        return Dropped(MALFORMED, name, place, "", row.fault, "", "", None)
    try:
        fields = fields_of(source, row, pool.columns)
        if pool.choices:
            fields = with_choices(fields, row.record, pool.choices, source)
    except UserError as error:
        return Dropped(MALFORMED, name, place, "", str(error).removeprefix(f"{place}: "), "", "", None)
    if reason := pool.unfit(fields):
        return Dropped(reason, name, place, fields.question, "", "", "", None)
    origin = f"{name}/{fields.source}" if fields.source else name
    return _candidate(origin, place, fields.question, fields.answer, fields.level or pool.level, fields.pass_rate)


def _candidate(source: str, place: str, question: str, answer: str, level: str, rate: float | None) -> Candidate:
    return Candidate(question_id(question), question, answer, level, rate, None, None, None, source, place)


def content_of(pool: PoolConfig) -> list:
    """What identifies a pool's content: its settings, and the hash of its file or of its copy of the hub's data set."""
    if isinstance(pool, FilePool):
        return [pool.model_dump(mode="json"), file_hash(check_file(pool.path))]
    fingerprint = _opened(pool)._fingerprint if isinstance(pool, HubPool) else ""
    return [pool.model_dump(mode="json"), fingerprint]
