"""A suite's samples drawn in rounds, until its interval is as narrow as asked.

Each round draws of every problem at least once, and more of those whose outcome still varies. A problem's estimate is the mean of
its rounds, each weighing what was planned of it. The mean of all its samples would be biased, since how many there are depends
on how they came out: where two that agree end it, and two that differ are followed by six more, a problem that is solved with
chance 0.9 would be taken to be solved in 95 %. Within a round the number is settled beforehand.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.common.types import Problem, Suite
from src.evaluation.config import UntilConfig
from src.evaluation.summary import per_problem, side_of
from src.statistics import contrast

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 2  # samples of a problem in the first round: one says nothing of whether its outcome varies
MOST = 4  # times what is planned of a round that a problem may get of it


@dataclass(frozen=True, slots=True)
class Round:
    """Samples of a problem that are planned, and the number of the first one."""

    planned: int
    first: int


Draw = Callable[[Mapping[Problem, range]], "pd.DataFrame"]  # samples of these numbers, as rows


def rounds(samples: int, until: UntilConfig) -> list[Round]:
    """The rounds of a suite: at most as many samples as it has. Where all will be drawn, numbers have no gaps."""
    size, stride = until.samples_per_round or FEWEST, MOST if until.half_width else 1
    return [Round(min(size, samples - start), stride * start) for start in range(0, samples, size)]


def drawn_in_rounds(suite: Suite, until: UntilConfig, draw: Draw, before: "pd.DataFrame | None") -> "pd.DataFrame":
    """The rows of as many rounds as it takes, with their `round` and their `weight` in the estimate of their problem."""
    import pandas as pd

    drawn: list[pd.DataFrame] = []
    planned = rounds(suite.samples, until)
    for number, each in enumerate(planned):
        counts = counts_of(each, suite.problems, varying(drawn) if until.half_width else None)
        rows = draw({problem: range(each.first, each.first + count) for problem, count in counts.items()})
        drawn.append(rows.assign(round=number, weight=each.planned / rows.groupby("problem_id")["sample"].transform("size")))
        found = pd.concat(drawn, ignore_index=True)
        found["weight"] /= sum(done.planned for done in planned[: number + 1])
        if until.half_width and half_width(found, before) <= until.half_width:
            break
    return found


def counts_of(each: Round, problems: Sequence[Problem], varied: set[str] | None) -> dict[Problem, int]:
    """Samples of each problem in a round: one of those that came out alike so far, and what that leaves to those that did not,
    evenly; what is planned of each where nothing is known, or nothing varied."""
    if not varied:
        return dict.fromkeys(problems, each.planned)
    share = min(1 + (each.planned - 1) * len(problems) // len(varied), MOST * each.planned)
    return {problem: share if problem.id in varied else 1 for problem in problems}


def varying(drawn: Sequence["pd.DataFrame"]) -> set[str] | None:
    """Problems that were solved in some samples and not in others; None where none was drawn."""
    import pandas as pd

    if not drawn:
        return None
    kinds = pd.concat(drawn).groupby("problem_id")["correct"].nunique()
    return set(kinds.index[kinds > 1])


def half_width(rows: "pd.DataFrame", before: "pd.DataFrame | None") -> float:
    """Of the 95 % interval of the gain, paired by problem, or of the accuracy where there is no before; as the page has it, which
    has width too where all came out alike."""
    sides = [side_of(rows), *([] if before is None else [side_of(before).times(-1)])]
    if before is not None and set(per_problem(before).index) != set(per_problem(rows).index):
        raise ValueError("the before is of other problems")
    interval = contrast(sides).interval
    return (interval.high - interval.low) / 2
