"""The tables of an evaluation, reduced to what the report works with: one value for each problem."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.record.left_out import Unreadable
from src.statistics import Votes, majority_at_k, pass_at_k

COLUMNS = ("problem_id", "level", "sample", "correct", "tokens", "truncated", "format", "language", "answer", "reason")


@dataclass(frozen=True, slots=True)
class Measure:
    """A suite measured on some weights, by problem in the order of `problems`."""

    suite: str
    when: str  # before, after or best
    problems: tuple[str, ...]
    accuracy_P: np.ndarray
    tokens_P: np.ndarray
    levels_P: np.ndarray
    samples: int
    truncated_share: float
    votes_P: tuple[Votes, ...]
    path: Path

    @property
    def accuracy(self) -> float:
        return float(self.accuracy_P.mean())

    @property
    def tokens(self) -> float:
        return float(self.tokens_P.mean())

    @property
    def ks(self) -> list[int]:
        """1, 2, 4, … and all samples."""
        return sorted({self.samples, *(2**n for n in range(self.samples.bit_length()) if 2**n <= self.samples)})

    def pass_at_P(self, k: int) -> np.ndarray:
        """By problem, the chance that one of k samples is correct."""
        table = np.array([pass_at_k(correct, self.samples, k) for correct in range(self.samples + 1)])
        return table[[votes.correct for votes in self.votes_P]]

    def majority_at_P(self, k: int) -> np.ndarray:
        """By problem, the chance that the answer given most often in k samples is correct."""
        return np.array([majority_at_k(votes, self.samples, k) for votes in self.votes_P])


def read_measure(folder: Path, suite: str, when: str) -> Measure:
    """A table of the evaluation, reduced to one value for each problem."""
    import pyarrow
    from pyarrow import parquet

    path = folder / "evaluation" / f"{suite}_{when}.parquet"
    if not path.is_file():
        raise Unreadable(f"missing evaluation: it has no evaluation/{path.name}")
    try:
        table = parquet.read_table(path, columns=[c for c in COLUMNS if c in parquet.read_schema(path).names])
    except (pyarrow.ArrowException, OSError) as error:
        raise Unreadable(f"malformed: evaluation/{path.name} is not a Parquet table") from error
    if missing := [column for column in COLUMNS if column not in table.column_names]:
        raise Unreadable(f"from an older version: evaluation/{path.name} has no column {', '.join(missing)}")
    if not table.num_rows:
        raise Unreadable(f"missing evaluation: evaluation/{path.name} has no rows")
    _check_kinds(table, path)
    return _reduced(table, suite, when, path)


def _check_kinds(table: Any, path: Path) -> None:
    """Raise Unreadable where a column is of another kind, holds nothing in places, or a sample stands there twice."""
    from pyarrow import types

    def number(kind: Any) -> bool:
        return types.is_integer(kind) or types.is_floating(kind)

    def share(kind: Any) -> bool:
        return types.is_boolean(kind) or number(kind)

    def text(kind: Any) -> bool:
        return types.is_string(kind) or types.is_large_string(kind)

    kinds = {"problem_id": text, "level": text, "sample": number, "tokens": number, "correct": share, "truncated": share, "format": share}
    for column, fits in kinds.items():
        if not fits(table.schema.field(column).type):
            raise Unreadable(f"malformed: column {column} of evaluation/{path.name} holds {table.schema.field(column).type}")
        if table[column].null_count:
            raise Unreadable(f"malformed: column {column} of evaluation/{path.name} has empty cells")
    if table.select(["problem_id", "sample"]).group_by(["problem_id", "sample"]).aggregate([]).num_rows != table.num_rows:
        raise Unreadable(f"malformed: evaluation/{path.name} has samples that stand there twice")


def _reduced(table: Any, suite: str, when: str, path: Path) -> Measure:
    ids, first, place, counts = np.unique(
        table["problem_id"].to_numpy(zero_copy_only=False).astype(str),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    if counts.min() != counts.max():
        raise Unreadable(f"half-written: evaluation/{path.name} has fewer samples of some problems than of others")
    samples = int(counts[0])
    correct = table["correct"].to_numpy(zero_copy_only=False).astype(float)
    solved_P = np.bincount(place, correct)
    tokens_P = np.bincount(place, table["tokens"].to_numpy(zero_copy_only=False)) / samples
    return Measure(
        suite,
        when,
        tuple(ids.tolist()),
        solved_P / samples,
        tokens_P,
        table["level"].to_numpy(zero_copy_only=False).astype(str)[first],
        samples,
        _mean(table, "truncated"),
        tuple(_votes(place, table["answer"].to_pylist(), correct, solved_P.astype(int))),
        path,
    )


def _votes(place: np.ndarray, answers: list[str], correct: np.ndarray, solved_P: np.ndarray) -> list[Votes]:
    """How the samples of each problem voted. Wrong answers are told apart only where there is a right one to outvote."""
    by_problem: dict[int, Counter[str]] = {}
    for row in np.flatnonzero((solved_P[place] > 0) & (correct == 0)).tolist():
        if answers[row]:
            by_problem.setdefault(int(place[row]), Counter())[answers[row]] += 1
    return [
        Votes(int(solved), tuple(sorted(by_problem[problem].values(), reverse=True)) if problem in by_problem else ())
        for problem, solved in enumerate(solved_P)
    ]


def _mean(table: Any, column: str) -> float:
    return float(table[column].to_numpy(zero_copy_only=False).astype(float).mean())


def read_texts(measure: Measure, problem_ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """The completions to some problems with their verdicts, by problem."""
    from pyarrow import parquet

    rows = parquet.read_table(
        measure.path,
        columns=["problem_id", "sample", "correct", "tokens", "truncated", "answer", "reason", "text"],
        filters=[("problem_id", "in", list(problem_ids))],
    ).to_pylist()
    texts: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        texts.setdefault(row.pop("problem_id"), []).append(row)
    return texts


def read_questions(folder: Path) -> dict[str, tuple[str, str]]:
    """Question and gold answer of each evaluated problem, where the record holds them; else nothing. Raises Unreadable."""
    import pyarrow
    from pyarrow import parquet

    path = folder / "evaluation" / "problems.parquet"
    if not path.is_file():
        return {}
    try:
        rows = parquet.read_table(path, columns=["id", "question", "answer"]).to_pylist()
        return {row["id"]: (row["question"], row["answer"]) for row in rows}
    except (pyarrow.ArrowException, OSError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise Unreadable("malformed: evaluation/problems.parquet is no table of problems") from error
