r"""What a grading worker does: one answer, one gold answer, one verdict.

By form (`judge_by_form`): see `src.grading.rules`. By math-verify alone (`judge`): a completion is read as TRL's
`accuracy_reward` reads it: the answer is boxed, or a LaTeX formula announced as the answer, and the last one counts.

A gold answer is bare LaTeX in most data sets: `3\sqrt{2}`, `\left( 3, \frac{\pi}{2} \right)`, `10`. math-verify looks
for formulas within delimiters, and from a bare `3\sqrt{2}` it would take the 3; so each gold answer is put into a box
before it is parsed. One that gives no mathematical value is unreadable: only its exact letters would match it.
"""

import faulthandler
import gc
import logging
import multiprocessing
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
    from multiprocessing.connection import Connection

    from math_verify import LatexExtractionConfig

WORKER_BYTES = 1 << 30  # memory for a worker's computations: without a limit `((9!)!)!` fills a machine in seconds

PART_BY_ITSELF = 0.9  # of an answer's time: then Python code gives up, and what it has in its caches stays
ORPHAN_SECONDS = 1.0  # beyond an answer's time, a judge whose worker is gone ends by itself

WARMING = r"\frac{x}{2}+\sqrt{x^2}-\sin x"  # compared once before any answer's time runs, since the first formula takes the longest

Work = tuple[str | None, str]
"""A text and the gold answer to judge it by; without a text, the gold answer is judged by itself."""


def prepare_worker() -> None:
    """Import math-verify before any answer's time runs, and limit the process and those that it forks."""
    import math_verify  # noqa: F401

    parse_in_two_stages()
    supply_missing_attribute()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limit is off
    warnings.simplefilter("ignore")  # SymPy warns of what math-verify does with it
    if sys.platform == "linux":
        limit_memory()
    judge_by_form(box(WARMING), WARMING + "+1")
    gc.collect()
    gc.freeze()  # a garbage collection in a fork would copy all of it


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


class _Judge:
    """A forked copy of the worker, in which answers are judged: to replace it takes a fork, where a worker has imports to do.

    It is killed at the end of an answer's time, whatever it does; so one that is stuck in C code costs no more than that.
    """

    def __init__(self) -> None:
        self.pipe, end = multiprocessing.Pipe()
        self._process = os.fork()
        if self._process == 0:
            try:
                _close_all_but(end.fileno())  # what this process holds open, the worker's own end would not close
                _serve(end)
            finally:
                os._exit(0)
        end.close()

    def end(self) -> None:
        self.pipe.close()
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)


_judge: _Judge | None = None


def judge_all(work: Sequence[Work], rules: str, seconds_per_answer: float) -> list[Verdict]:
    """Judge one after the other, each for at most `seconds_per_answer`."""
    return [_judge_in_time(item, rules, seconds_per_answer) for item in work]


def _judge_in_time(item: Work, rules: str, seconds: float) -> Verdict:
    """A judge that dies is followed by another one, once: it may have been killed while it had nothing to do."""
    global _judge
    for _ in range(2):
        _judge = _judge or _Judge()
        try:
            _judge.pipe.send((item, rules, seconds))
            verdict: Verdict | Exception | None = _judge.pipe.recv() if _judge.pipe.poll(seconds) else None
        except (EOFError, OSError):
            _judge.end()
            _judge = None
            continue
        if isinstance(verdict, Exception):
            raise verdict
        if verdict:
            return verdict
        _judge.end()  # its time is over
        _judge = None
        break
    return Verdict(False, "", "timeout")


def _serve(pipe: "Connection[Any, Any]") -> None:
    """Judge what comes through the pipe until its other end is closed."""
    signal.signal(signal.SIGALRM, _give_up)
    while True:
        try:
            (text, gold), rules, seconds = pipe.recv()
        except EOFError:
            return
        judge_gold, judge = RULES[rules]
        verdict: Verdict | Exception
        try:
            faulthandler.dump_traceback_later(seconds + ORPHAN_SECONDS, exit=True, file=_nowhere())
            signal.setitimer(signal.ITIMER_REAL, PART_BY_ITSELF * seconds)
            try:
                verdict = judge_gold(gold) if text is None else judge(text, gold)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except (TooLong, MemoryError):
            verdict = Verdict(False, "", "timeout")
        except Exception as error:  # noqa: BLE001 (the worker raises it)
            verdict = error
        faulthandler.cancel_dump_traceback_later()
        pipe.send(verdict)


def _close_all_but(kept: int) -> None:
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


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
