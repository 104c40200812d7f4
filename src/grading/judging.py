r"""What a grading worker does: one answer, one gold answer, one verdict.

By form (`judge_by_form`): see `src.grading.rules`. By math-verify alone (`judge`): a completion is read as TRL's `accuracy_reward` reads it: the answer is boxed, or a LaTeX formula announced as the
answer, and the last one counts.

A gold answer is bare LaTeX in most data sets: `3\sqrt{2}`, `\left( 3, \frac{\pi}{2} \right)`, `10`. math-verify looks
for formulas within delimiters, and from a bare `3\sqrt{2}` it would take the 3; so each gold answer is put into a box
before it is parsed. One that gives no mathematical value is unreadable: only its exact letters would match it.
"""

import faulthandler
import logging
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TextIO

from src.common.types import Verdict
from src.grading.equality import SympyAlgebra, agree
from src.grading.expressions import supply_missing_attribute
from src.grading.extraction import box, find_answer, last_expression
from src.grading.golds import gold_fault

if TYPE_CHECKING:
    from math_verify import LatexExtractionConfig

WORKER_BYTES = 1 << 30  # memory for a worker's computations: without a limit `((9!)!)!` fills a machine in seconds

SECONDS_TO_DEATH = 0.3  # beyond an answer's time
NOT_BEGUN = 255  # in the place of a task's item, in a `Progress`

Work = tuple[str | None, str]
"""A text and the gold answer to judge it by; without a text, the gold answer is judged by itself."""

Progress = Any  # a shared array of bytes: at the place of a task, which of its items is being judged
_progress: Progress = None


def prepare_worker(progress: Progress) -> None:
    """Import math-verify before any answer's time runs, and limit the process.

    At SIGALRM the answer in hand is given up and the process goes on. SECONDS_TO_DEATH later a thread of `faulthandler` ends the
    process. No Python code has to run for that, so it also ends a computation that is stuck inside C code, and one whose parent
    process is gone.
    """
    import math_verify  # noqa: F401

    global _progress
    _progress = progress
    parse_in_two_stages()
    supply_missing_attribute()
    signal.signal(signal.SIGALRM, _give_up)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limit is off
    warnings.simplefilter("ignore")  # SymPy warns of what math-verify does with it
    if sys.platform == "linux":
        limit_memory()


def limit_memory() -> None:
    """Let this process take `WORKER_BYTES` more than it has; beyond that, a computation fails and counts as wrong."""
    with open("/proc/self/statm") as statm:
        limit = int(statm.read().split()[0]) * resource.getpagesize() + WORKER_BYTES
    hard_limit = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard_limit != resource.RLIM_INFINITY:
        limit = min(limit, hard_limit)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard_limit))


def parse_in_two_stages() -> None:
    """Have latex2sympy parse with ANTLR's SLL prediction first, and with full LL only where that reports an error.

    Two-stage parsing is ANTLR's own advice: whatever SLL accepts, LL parses into the same tree
    (https://www.antlr.org/api/Java/org/antlr/v4/runtime/atn/PredictionMode.html). Here it takes a fifth of the time. The
    second stage starts from the text again, since a lexer does not repeat its errors.
    """
    from antlr4.atn.PredictionMode import PredictionMode
    from latex2sympy2_extended.latex2sympy2 import _Latex2Sympy

    create_ll_parser = _Latex2Sympy.create_parser

    def create_parser(self: Any, latex: str) -> Any:
        parser = create_ll_parser(self, latex)
        parser._interp.predictionMode = PredictionMode.SLL
        parse_sll = parser.math

        def parse() -> Any:
            try:
                return parse_sll()
            except Exception:  # noqa: BLE001 (latex2sympy raises no narrower one for errors of syntax)
                return create_ll_parser(self, latex).math()

        parser.math = parse
        return parser

    _Latex2Sympy.create_parser = create_parser


class TooLong(BaseException):
    """An answer's time is over. Not an Exception, which SymPy and math-verify catch by the dozen."""


def _give_up(*_: object) -> None:
    raise TooLong


def judge_all(work: Sequence[Work], rules: str, seconds_per_answer: float, place: int) -> list[Verdict]:
    """Judge one after the other, each for at most `seconds_per_answer`; the process dies if one is stuck for longer.

    At `place` in the progress stands which one.
    """
    verdicts = []
    for _progress[place], item in enumerate(work):
        verdicts.append(_judge_in_time(item, rules, seconds_per_answer))
    return verdicts


def _judge_in_time(item: Work, rules: str, seconds: float) -> Verdict:
    text, gold = item
    judge_gold, judge = RULES[rules]
    try:
        faulthandler.dump_traceback_later(seconds + SECONDS_TO_DEATH, exit=True, file=_nowhere())
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            return judge_gold(gold) if text is None else judge(text, gold)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
    except (TooLong, MemoryError):
        return Verdict(False, "", "timeout")


@cache
def _nowhere() -> TextIO:
    return open(os.devnull, "w")


def judge_by_form(text: str, gold: str) -> Verdict:
    """The verdict on a completion by the form of its answer, without a time limit."""
    answer = find_answer(text, "last_expression")  # with the reader "boxed" no text without a box comes here
    content = (_as_text(parse_answer(text)) or last_expression(text)) if answer is None else answer.content
    if not content:
        return Verdict(False, "", "no answer")
    if agree(gold, content, SympyAlgebra()):
        return Verdict(True, content, "equal")
    return Verdict(False, content, "different" if gold_fault(gold) is None else "unreadable gold")


def judge_gold_by_form(gold: str) -> Verdict:
    """Whether a gold answer is read as what it says, and is right by its own standard; `found` says what is wrong."""
    fault = gold_fault(gold)
    if fault is not None:
        return Verdict(False, fault, "unreadable gold")
    return judge_by_form(box(gold), gold)


def judge(text: str, gold: str) -> Verdict:
    """The verdict of math-verify alone on a completion, without a time limit."""
    from math_verify import verify

    gold_parsed, answer_parsed = parse_gold(gold), parse_answer(text)
    found = _as_text(answer_parsed)
    if verify(gold_parsed, answer_parsed, timeout_seconds=None):
        return Verdict(True, found, "equal")
    if not _has_value(gold_parsed):
        return Verdict(False, found, "unreadable gold")
    return Verdict(False, found, "different" if answer_parsed else "no answer")


def judge_gold(gold: str) -> Verdict:
    r"""Whether a gold answer is right by its own standard, in the spelling that math-verify read from it.

    The spelling matters for the likes of `\frac14`: as a gold answer math-verify repairs it, in a completion it asks for
    `\frac{1}{4}`.
    """
    gold_parsed = parse_gold(gold)
    if not _has_value(gold_parsed):
        return Verdict(False, _as_text(gold_parsed), "unreadable gold")
    return judge(box(_as_text(gold_parsed)), gold)


RULES: dict[str, tuple[Callable[[str], Verdict], Callable[[str, str], Verdict]]] = {
    "by_form": (judge_gold_by_form, judge_by_form),
    "math_verify": (judge_gold, judge),
}
"""By the name of the rules: what judges a gold answer by itself, and what judges a completion."""


@cache
def _configs() -> tuple["LatexExtractionConfig", "LatexExtractionConfig"]:
    """How to read a gold answer and a completion: boxes first, and malformed LaTeX repaired in gold answers only."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig

    gold = LatexExtractionConfig(boxed_match_priority=0, try_extract_without_anchor=False)
    answer = LatexExtractionConfig(  # as in trl/rewards/accuracy_rewards.py, trl 1.16.0
        normalization_config=NormalizationConfig(units=True), boxed_match_priority=0, try_extract_without_anchor=False
    )
    return gold, answer


@lru_cache(maxsize=4096)
def parse_gold(gold: str) -> list[Any]:
    """Values and text that math-verify reads from a gold answer in a box; delimiters around all of it are dropped."""
    from math_verify import parse

    gold = gold.strip()
    for opening, closing in (("$$", "$$"), ("$", "$"), (r"\[", r"\]"), (r"\(", r"\)")):
        inner = gold.removeprefix(opening).removesuffix(closing)
        if len(inner) == len(gold) - len(opening) - len(closing) and opening not in inner:
            gold = inner.strip()
    return parse(box(gold), [_configs()[0]], extraction_mode="first_match", parsing_timeout=None)


def parse_answer(text: str) -> list[Any]:
    """Values and text that math-verify reads from a completion; empty if it finds no answer."""
    from math_verify import parse

    return parse(text, [_configs()[1]], extraction_mode="first_match", parsing_timeout=None)


def _has_value(parsed: list[Any]) -> bool:
    return any(not isinstance(item, str) for item in parsed)


def _as_text(parsed: list[Any]) -> str:
    return next((item for item in reversed(parsed) if isinstance(item, str)), "")
