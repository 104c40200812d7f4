"""Grading: formulas are compared in worker processes, with a hard time limit for each answer.

What is correct is decided by form (see `src.grading.rules`), or, with the rules "math_verify", by math-verify alone. This
module decides where and how often that work is done. Formulas are compared in processes that can be killed, since
math-verify's own time limit rests on a signal and so holds on the main thread only; and equal work is done once: completions
with the same boxed answer to the same gold answer share a verdict. What needs no formulas, such as two numbers in digits, is
compared here.
"""

import re
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from typing import TYPE_CHECKING, Self

from src.common.types import Verdict
from src.grading.equality import NoAlgebra, Undecided, equal
from src.grading.extraction import NO_ANSWER, box, find_answer, read_answer
from src.grading.judging import Work, judge_all, prepare_worker
from src.grading.reading import Unreadable, read

if TYPE_CHECKING:
    from pebble import ProcessPool

_LIBRARIES = ("math-verify", "latex2sympy2-extended", "sympy")
VERSIONS = {
    "by_form": ", ".join(f"{name} {version(name)}" for name in _LIBRARIES) + "; by form, rules 3",
    "math_verify": ", ".join(f"{name} {version(name)}" for name in _LIBRARIES) + "; boxed first, rules 1, percent signs",
}
VERSION = VERSIONS["by_form"]
"""Names the grader and its rules: a verdict that was kept under another version has to be worked out again."""

KEPT_VERDICTS = 200_000  # remembered at most, the least recently used go first; some 100 MB when full
LONGEST_KEPT = 400  # characters: a longer text is a whole completion, and will hardly come again
ANSWERS_PER_TASK = 16
OUTSIDE_LIMIT_SECONDS = 30.0  # after this much more, a worker that did not end by itself is killed from outside
RESTARTS = 2  # of all workers, within one call

_PLAIN_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,14}")


class Grader:
    """Grades completions; a context manager. Its methods may be called from any thread.

    The worker processes start on first need and end with `close` or with this process, also if that is killed; Ctrl-C
    is left to this process. They are spawned, since a child forked beside torch's threads may deadlock. Spawning runs
    the imports of the main module again, so a main module should import heavy libraries inside its functions.
    """

    workers: int
    """Answers that may be graded at once."""

    version: str
    """Names the libraries and rules that decide; see VERSION."""

    timeouts: int
    """Answers that were given up because they took too long, or brought down the worker that judged them."""

    def __init__(self, workers: int = 2, seconds_per_answer: float = 5.0, rules: str = "by_form") -> None:
        """`workers` processes, at least 1; `seconds_per_answer` by the wall clock, above 0; `rules` as in GradingConfig."""
        if workers < 1 or seconds_per_answer <= 0:
            raise ValueError("a grader needs at least 1 worker, and more than 0 seconds for an answer")
        self.timeouts = 0
        self.version = VERSIONS[rules]
        self._rules = rules
        self.workers = workers
        self._seconds = seconds_per_answer
        self._kept: OrderedDict[Work, Verdict] = OrderedDict()
        self._pool: ProcessPool | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes and drop what they are doing. Verdicts are kept, and grading may go on later."""
        with self._lock:
            self._stop_pool()

    def grade(self, texts: Sequence[str], golds: Sequence[str], reader: str = "boxed") -> list[Verdict]:
        """The verdict on each completion by the gold answer at the same place, in the same order.

        `reader`: where an answer may stand, one of `extraction.READERS`.
        """
        by_form = self._rules == "by_form"
        return self._fill_in(
            [verdict_or_work(text, gold, by_form, reader) for text, gold in zip(texts, golds, strict=True)]
        )

    def check_gold(self, golds: Sequence[str]) -> list[Verdict]:
        """The verdict on each gold answer by itself; reason "unreadable gold" if it cannot be judged by."""
        verdicts = self._fill_in(
            [Verdict(True, gold, "equal") if _PLAIN_INTEGER.fullmatch(gold) else (None, gold) for gold in golds]
        )
        with self._lock:
            for gold, verdict in zip(golds, verdicts, strict=True):
                if verdict.correct and verdict.found == gold:  # what was judged is this very gold answer in a box
                    self._keep((box(gold), gold), verdict)
        return verdicts

    def _fill_in(self, items: Sequence[Verdict | Work]) -> list[Verdict]:
        """Put verdicts in the place of work, remembered ones or new ones."""
        work = dict.fromkeys(item for item in items if not isinstance(item, Verdict))
        with self._lock:
            known = {item: self._kept[item] for item in work if item in self._kept}
            for item in known:
                self._kept.move_to_end(item)
        missing = [item for item in work if item not in known]
        if missing:
            known |= self._judge(missing)
        return [item if isinstance(item, Verdict) else known[item] for item in items]

    def _keep(self, item: Work, verdict: Verdict) -> None:
        if len(item[0] or "") <= LONGEST_KEPT:
            self._kept[item] = verdict
            if len(self._kept) > KEPT_VERDICTS:
                self._kept.popitem(last=False)

    def _judge(self, work: Sequence[Work]) -> dict[Work, Verdict]:
        """Have the workers judge. What went down with a worker is judged again one by one, to find the culprit."""
        verdicts: dict[Work, Verdict] = {}
        tasks = _tasks(work)
        for _ in range(RESTARTS + 1):
            try:
                while tasks:
                    tasks = self._run(tasks, verdicts)
                break
            except BrokenProcessPool as error:
                broken, tasks = error, _tasks([item for item in work if item not in verdicts])
        else:
            raise RuntimeError("the grading workers do not start, or die between answers") from broken
        with self._lock:
            self.timeouts += sum(verdict.reason == "timeout" for verdict in verdicts.values())
            for item, verdict in verdicts.items():
                self._keep(item, verdict)
        return verdicts

    def _run(self, tasks: Sequence[Sequence[Work]], verdicts: dict[Work, Verdict]) -> list[Sequence[Work]]:
        """Run the tasks once, adding to `verdicts`; returns what has to run again, in single steps."""
        from pebble import ProcessExpired

        pool = self._running_pool()
        limits = [len(task) * self._seconds + OUTSIDE_LIMIT_SECONDS for task in tasks]
        futures = [
            pool.schedule(judge_all, args=(task, self._rules, self._seconds), timeout=limit)
            for task, limit in zip(tasks, limits, strict=True)
        ]
        again: list[Sequence[Work]] = []
        for task, future in zip(tasks, futures, strict=True):
            try:
                verdicts.update(zip(task, _result(pool, future, futures, max(limits)), strict=True))
            except (TimeoutError, ProcessExpired):
                if len(task) > 1:
                    again += [[item] for item in task]
                else:
                    verdicts[task[0]] = Verdict(False, "", "timeout")
        return again

    def _running_pool(self) -> "ProcessPool":
        """The pool of workers, started if there is none, or if it broke when an idle worker was killed.

        Workers inherit the blocked SIGINT, as do the pool's threads, which start the replacements of killed workers:
        so Ctrl-C reaches no worker, not even one that is still starting.
        """
        from multiprocessing import get_context, resource_tracker

        from pebble import ProcessPool

        with self._lock:
            if self._pool is None or not self._pool.active:
                self._stop_pool()
                resource_tracker.ensure_running()  # its start, else part of the first spawn, would unblock SIGINT
                before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
                try:
                    self._pool = ProcessPool(self.workers, initializer=prepare_worker, context=get_context("spawn"))
                    self._pool.schedule(int)  # the first task starts the workers
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return self._pool

    def _stop_pool(self) -> None:
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None


def _result(
    pool: "ProcessPool", future: "Future[list[Verdict]]", futures: "Sequence[Future[list[Verdict]]]", patience_s: float
) -> list[Verdict]:
    """What the future gives in the end; a pool that broke leaves the futures open that it had not begun.

    So do workers that are frozen, of which no limit knows: where none of the futures ends within `patience_s`, the pool is broken.
    """
    ended, since = -1, time.monotonic()
    while True:
        try:
            return future.result(timeout=1.0)
        except TimeoutError:
            if future.done():
                return future.result()
            if not pool.active:
                raise BrokenProcessPool("all workers died") from None
            if (now_ended := sum(other.done() for other in futures)) > ended:
                ended, since = now_ended, time.monotonic()
            elif time.monotonic() - since > patience_s:
                pool.stop()
                raise BrokenProcessPool("the workers do not answer") from None


def verdict_or_work(text: str, gold: str, by_form: bool = True, reader: str = "boxed") -> Verdict | Work:
    """The verdict where it needs no formulas; otherwise what a worker has to look at."""
    answer = find_answer(text, reader) if by_form or reader != "boxed" else read_answer(text)
    if answer is None:
        return text, gold
    if answer is NO_ANSWER:
        return Verdict(False, "", "no answer")
    correct = _without_formulas(answer.content, gold, by_form)
    return (answer.text, gold) if correct is None else Verdict(correct, answer.content, "equal" if correct else "different")


def _without_formulas(content: str, gold: str, by_form: bool) -> bool | None:
    """Whether an answer is right; None where only a worker can tell."""
    if _PLAIN_INTEGER.fullmatch(content) and _PLAIN_INTEGER.fullmatch(gold):
        return content == gold
    if not by_form:
        return None
    try:
        return equal(read(gold), read(content), NoAlgebra())
    except (Undecided, Unreadable):
        return None


def _tasks(work: Sequence[Work]) -> list[Sequence[Work]]:
    """Group work by gold answer, so that one worker parses it once for all."""
    by_gold: dict[str, list[Work]] = {}
    for item in work:
        by_gold.setdefault(item[1], []).append(item)
    return [
        group[start : start + ANSWERS_PER_TASK]
        for group in by_gold.values()
        for start in range(0, len(group), ANSWERS_PER_TASK)
    ]
