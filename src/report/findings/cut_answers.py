"""The control that needs no training: the base's answers cut at a token limit (arXiv 2502.04463).

Shapes: N samples of P problems.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.record.measures import Measure

POINTS = 40  # of a curve


@dataclass(frozen=True)
class CutAnswers:
    """A base's samples, to be cut at any limit.

    A correct sample counts only where it had ended by the limit, and no sample takes more tokens than the limit. That
    assumes that the model does not know of the limit and so answers as it did without one; that an answer which would
    have been read from what stands before the cut is lost; and nothing of samples that the evaluation itself cut.
    """

    problem_N: np.ndarray  # the place of each sample's problem in the measures' order
    tokens_N: np.ndarray
    correct_N: np.ndarray
    problems: int
    weight_N: np.ndarray | None = None  # of a sample in its problem, where they were drawn in rounds

    @property
    def longest(self) -> int:
        return int(self.tokens_N.max())

    def at(self, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Accuracy and mean tokens of each problem (P), its samples cut at `limit` tokens."""
        kept_N = self.correct_N & (self.tokens_N <= limit)
        return self._by_problem(kept_N), self._by_problem(np.minimum(self.tokens_N, limit))

    def _by_problem(self, values_N: np.ndarray) -> np.ndarray:
        weight_N = np.ones(len(values_N)) if self.weight_N is None else self.weight_N
        sums_P = np.bincount(self.problem_N, weight_N * values_N, self.problems)
        return sums_P / np.bincount(self.problem_N, weight_N, self.problems)

    def limit_for(self, tokens: float) -> int:
        """The smallest limit under which the answers take at least so many tokens in the mean; the longest answer's
        length where even uncut they do not."""
        limits = range(1, self.longest + 1)
        place = bisect_left(limits, tokens, key=lambda limit: float(self.at(limit)[1].mean()))
        return limits[min(place, len(limits) - 1)]

    def curve(self) -> list[tuple[int, float, float]]:
        """Limit, mean tokens and accuracy, at limits that are evenly spread over the answers."""
        shares = np.linspace(0, 1, POINTS)
        limits = np.unique(np.quantile(self.tokens_N, shares, method="higher").astype(int)).tolist()
        cut = [(limit, *self.at(limit)) for limit in limits]
        return [(limit, float(tokens_P.mean()), float(accuracy_P.mean())) for limit, accuracy_P, tokens_P in cut]


def read_answers(measures: Sequence[Measure]) -> CutAnswers:
    """The samples of measures of the same problems, such as one base measured in each of several runs."""
    from pyarrow import parquet

    problem_N, tokens_N, correct_N, weight_N = [], [], [], []
    for measure in measures:
        names = {"problem_id", "tokens", "correct", "weight"} & set(parquet.read_schema(measure.path).names)
        table = parquet.read_table(measure.path, columns=sorted(names))
        ids = table["problem_id"].to_numpy(zero_copy_only=False).astype(str)
        problem_N.append(np.searchsorted(measure.problems, ids))  # problems are in the order of their ids
        tokens_N.append(table["tokens"].to_numpy(zero_copy_only=False).astype(int))
        correct_N.append(table["correct"].to_numpy(zero_copy_only=False).astype(bool))
        weight_N.append(table["weight"].to_numpy() if "weight" in names else np.full(len(ids), 1 / measure.samples))
    problems = len(measures[0].problems)
    return CutAnswers(
        np.concatenate(problem_N), np.concatenate(tokens_N), np.concatenate(correct_N), problems, np.concatenate(weight_N)
    )
