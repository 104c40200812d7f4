"""What flows through a run, in the order in which it flows.

problems -> completions -> verdicts -> rewards. Plain frozen records; nothing here imports torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LEVELS = ("easy", "hard")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem with a known answer."""

    id: str
    question: str
    answer: str  # gold answer as text: LaTeX or a plain number
    level: str  # one of LEVELS
    pass_rate: float | None  # share of tries a reference model solved, 0 to 1; None where nobody measured it
    source: str  # name of the data set it came from
    columns: Mapping[str, Any] = field(default_factory=dict, compare=False)  # the rest of its row, for rewards of one's own


@dataclass(frozen=True, slots=True)
class Suite:
    """A set of problems to measure on, and how often each is sampled."""

    name: str
    problems: tuple[Problem, ...]
    samples: int
    grading: str = "math"  # or "code": answers are programs, and gold answers their tests


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the grader says of one completion."""

    correct: bool
    found: str  # the answer the grader read from the completion, as text; "" if there was none
    reason: str  # "equal", "different", "no answer", "timeout" or "unreadable gold"


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer to one problem."""

    text: str  # what the model wrote, special tokens removed
    tokens: int  # length in tokens, the end-of-sequence token included
    truncated: bool  # it reached the length limit without an end-of-sequence token
    verdict: Verdict
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run in order after the step in hand, with this status and reason."""

    status: str  # "interrupted", "pruned" or "out_of_budget"
    reason: str
