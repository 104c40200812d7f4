"""Step 4, difficulty: each problem's pass rate with its interval, measured with any model or taken from a column."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from src.common.base import Config
from src.common.types import Problem
from src.curate.asking import AskConfig, Asker
from src.curate.cache import Cache
from src.curate.store import Candidate, Finished, Writer, key_of
from src.data.loaders import NO_PASS_RATE
from src.grading.completions import graded

if TYPE_CHECKING:
    from src.grading.grader import Grader

PROBLEMS_AT_ONCE = 128  # asked together; what a kill costs at most


class ByColumn(Config):
    """The pass rates that came with the data (columns.pass_rate of each source)."""

    by: Literal["column"]
    tries: int | None = Field(default=None, ge=1)  # behind each rate, for its interval; null = unknown


class ByModel(AskConfig):
    """Pass rates measured here."""

    by: Literal["model"]
    samples: int = Field(ge=1)  # a problem


DifficultyConfig = Annotated[ByColumn | ByModel, Field(discriminator="by")]


def label_difficulty(
    config: ByColumn | ByModel, previous: Finished, grader: "Grader", writer: Writer, done: Callable[[int], None]
) -> None:
    """Give each problem its pass rate; one without any is set aside."""
    if isinstance(config, ByColumn):
        for candidate in previous.candidates():
            _take(candidate, candidate.pass_rate, config.tries, writer)
            done(1)
        return
    asker, rows = Asker(config), previous.candidates()
    with Cache(Path(config.cache)) as cache:
        while part := list(itertools.islice(rows, PROBLEMS_AT_ONCE)):
            for candidate, correct in zip(part, _correct(config, asker, cache, part, grader), strict=True):
                _take(candidate, correct / config.samples, config.samples, writer)
            done(len(part))


def _take(candidate: Candidate, rate: float | None, tries: int | None, writer: Writer) -> None:
    if rate is None:
        writer.drop(candidate, NO_PASS_RATE)
        return
    low, high = wilson(round(rate * tries), tries) if tries else (None, None)
    writer.keep(replace(candidate, pass_rate=rate, tries=tries, rate_low=low, rate_high=high))


def _correct(
    config: ByModel, asker: Asker, cache: Cache, part: Sequence[Candidate], grader: "Grader"
) -> list[int]:
    """How many samples of each problem are right; those that the cache does not have are asked together."""
    keys = [key_of("pass rate", asker.identity, config.samples, grader.version, c.question, c.answer) for c in part]
    known = cache.get(keys)
    missing = {key: candidate for key, candidate in zip(keys, part, strict=True) if key not in known}
    if missing:
        measured = _measure(asker, list(missing.values()), config.samples, grader)
        new = dict(zip(missing, measured, strict=True))
        cache.put(new)
        known |= new
    return [known[key] for key in keys]


def _measure(asker: Asker, candidates: Sequence[Candidate], samples: int, grader: "Grader") -> list[int]:
    token_ids = asker.ask([candidate.question for candidate in candidates], samples)
    problems = [Problem(c.id, c.question, c.answer, c.level, None, c.source) for c in candidates for _ in range(samples)]
    flat = [ids for completions in token_ids for ids in completions]
    completions = graded(problems, flat, asker.tokenizer, asker.engine.ends, grader)
    right = [completion.verdict.correct for completion in completions]
    return [sum(right[start : start + samples]) for start in range(0, len(right), samples)]


@lru_cache(maxsize=10_000)
def wilson(correct: int, tries: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), which has width also where all or none are right.

    >>> tuple(round(end, 3) for end in wilson(0, 16))
    (0.0, 0.194)
    """
    from scipy.stats import binomtest

    interval = binomtest(correct, tries).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
