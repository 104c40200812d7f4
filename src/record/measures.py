"""The tables of an evaluation, reduced to what the report works with: one value for each problem."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.record.left_out import Unreadable
from src.statistics import Votes, effective_samples, majority_at_k, pass_at_k

COLUMNS = ("problem_id", "level", "sample", "correct", "tokens", "truncated", "format", "language", "answer", "reason")
NEWER = ("right_unboxed", "weight")  # that tables of earlier versions lack; of the latter, all that were not drawn in rounds


@dataclass(frozen=True, slots=True)
class Measure:
    """A suite measured on some weights, by problem in the order of `problems`."""

    suite: str
    when: str  # before, after or best
    problems: tuple[str, ...]
    accuracy_P: np.ndarray
    tokens_P: np.ndarray
    levels_P: np.ndarray
    samples: int  # of the problem that has fewest
    truncated_share: float
    votes_P: tuple[Votes, ...]  # of as many samples of each
    path: Path
    effective_samples: int  # of a problem, if all had as many, that leave the same noise
    anywhere: float | None = None  # accuracy where what is right but not boxed counts too; None in older tables

    @property
    def accuracy(self) -> float:
        return float(self.accuracy_P.mean())

    @property
    def tokens(self) -> float:
        return float(self.tokens_P.mean())

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
        table = parquet.read_table(path, columns=[c for c in (*COLUMNS, *NEWER) if c in parquet.read_schema(path).names])
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
    kinds |= {column: kind for column, kind in {"right_unboxed": share, "weight": number}.items() if column in table.column_names}
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
    samples, in_rounds = int(counts.min()), "weight" in table.column_names
    if counts.min() != counts.max() and not in_rounds:
        raise Unreadable(f"half-written: evaluation/{path.name} has fewer samples of some problems than of others")
    weights, total = (_column(table, "weight"), 1) if in_rounds else (np.ones(len(place)), samples)

    def mean_P(values: np.ndarray) -> np.ndarray:
        return np.bincount(place, weights * values) / total

    if not np.allclose(mean_P(np.ones(len(place))), 1, atol=1e-6):
        raise Unreadable(f"half-written: the weights of a problem in evaluation/{path.name} do not add up to 1")
    correct = _column(table, "correct")
    accuracy_P = np.clip(mean_P(correct), 0, 1)
    anywhere = None
    if "right_unboxed" in table.column_names:
        anywhere = float(mean_P(np.maximum(correct, _column(table, "right_unboxed"))).mean())
    voting = _first_of_each(place, _column(table, "sample"), samples) if in_rounds else np.arange(len(place))
    return Measure(
        suite,
        when,
        tuple(ids.tolist()),
        accuracy_P,
        mean_P(_column(table, "tokens")),
        table["level"].to_numpy(zero_copy_only=False).astype(str)[first],
        samples,
        float(mean_P(_column(table, "truncated")).mean()),
        tuple(_votes(place[voting], table["answer"].take(voting).to_pylist(), correct[voting], len(ids))),
        path,
        effective_samples(accuracy_P, np.bincount(place, weights**2)) if in_rounds else samples,
        anywhere,
    )


def _column(table: Any, name: str) -> np.ndarray:
    return table[name].to_numpy(zero_copy_only=False).astype(float)


def _first_of_each(place: np.ndarray, number: np.ndarray, samples: int) -> np.ndarray:
    """Rows of each problem's samples with the lowest numbers: how many more it got depends on how they came out."""
    order = np.lexsort((number, place))
    starts = np.r_[0, np.flatnonzero(np.diff(place[order])) + 1]
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return np.sort(order[rank < samples])


def _votes(place: np.ndarray, answers: list[str], correct: np.ndarray, problems: int) -> list[Votes]:
    """How the samples of each problem voted. Wrong answers are told apart only where there is a right one to outvote."""
    solved_P = np.bincount(place, correct, problems).astype(int)
    by_problem: dict[int, Counter[str]] = {}
    for row in np.flatnonzero((solved_P[place] > 0) & (correct == 0)).tolist():
        if answers[row]:
            by_problem.setdefault(int(place[row]), Counter())[answers[row]] += 1
    return [
        Votes(int(solved), tuple(sorted(by_problem[problem].values(), reverse=True)) if problem in by_problem else ())
        for problem, solved in enumerate(solved_P)
    ]


def read_samples(measure: Measure, problem_ids: Iterable[str], *, text: bool) -> dict[str, list[dict[str, Any]]]:
    """The answers to some problems with their verdicts, by problem; with the `text` of the completions, which may be large."""
    from pyarrow import parquet

    rows = parquet.read_table(
        measure.path,
        columns=["problem_id", "sample", "correct", "tokens", "truncated", "answer", "reason", *(["text"] if text else [])],
        filters=[("problem_id", "in", list(problem_ids))],
    ).to_pylist()
    samples: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        samples.setdefault(row.pop("problem_id"), []).append(row)
    return samples


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
