"""Step 1, read: rows of any source become problems; what has no gold answer that grades itself correct is set aside."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import ne
from typing import TYPE_CHECKING

from pydantic import Field

from src.common.base import Config
from src.curate.store import Candidate, Dropped, Writer
from src.data.loaders import Drop, PoolConfig, mended_note, question_id
from src.data.problems import gold_faults
from src.grading.spelling import halved, is_doubled

if TYPE_CHECKING:
    from src.grading.grader import Grader

ROWS_GRADED_AT_ONCE = 4_000


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
        if note := pool.remark(rows):
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
    for row in pool.stream():
        if isinstance(row, Drop):
            yield Dropped(row.reason, name, row.place, row.question, row.detail, "", "", None)
            continue
        problem = row.problem
        source = f"{name}/{problem.source}" if problem.source else name
        yield Candidate(
            question_id(problem.question), problem.question, problem.answer, problem.level, problem.pass_rate,
            None, None, None, source, row.place,
        )
