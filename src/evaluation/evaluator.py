"""The `evaluation` group: measure a model on a set of problems, and never measure the same thing twice.

Validation is held out from the training pools and chooses checkpoints. The benchmark suites are run at the end only.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.common.pace import PACE
from src.common.types import Completion, Problem, Suite
from src.data.prompt import PromptConfig, prompt_token_ids
from src.evaluation.cache import Cache
from src.evaluation.config import EvaluationConfig
from src.evaluation.rounds import drawn_in_rounds
from src.evaluation.summary import summarise
from src.grading.completions import graded, row

if TYPE_CHECKING:
    import pandas as pd

    from src.grading.grader import Grader
    from src.rollout.engine import Engine

Done = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """A suite measured on some weights."""

    rows: "pd.DataFrame"  # a row for each problem and sample, as `Evaluator.measure` says
    summary: dict[str, Any]  # as `summary.summarise` says


class Evaluator:
    """Measures suites on a model's current weights; keeps every result in a cache by content."""

    def __init__(
        self, config: EvaluationConfig, prompt: PromptConfig, script: str, tokenizer, grader: "Grader", cache: Path,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.config, self.prompt, self.script = config, prompt, script
        self.tokenizer, self.grader, self.cache = tokenizer, grader, Cache(cache, warn)

    def measure(
        self, engine: "Engine", weights: str, suite: Suite, done: Done = lambda number: None, before: Measured | None = None
    ) -> Measured:
        """Rows with problem_id, level, sample, correct, tokens, truncated, format, language, answer (as the grader
        found it), reason (for the verdict), text, right_unboxed (right by its last expression and in no box, whether or not that
        counts) and context_full (cut off where the model's context ended), and their summary. Where they were drawn in rounds,
        with round and weight, see `rounds`.

        `weights` is the fingerprint of what `engine` samples from, `before` what the gain is to. The same weights, suite, sampling,
        prompt, grader and seed are measured once; after that the stored rows are returned. `done` is told of completions as
        they come.
        """
        import pandas as pd

        if self.config.in_rounds and suite.name != "validation":
            pool = Pool(self, engine, self._key(engine, weights, suite, by_number=True), suite.grading, done)
            rows = drawn_in_rounds(suite, self.config.until, pool.draw, None if before is None else before.rows)
            return Measured(rows, summarise(rows))
        key = self._key(engine, weights, suite)
        rows = self.cache.read(key)
        if rows is None:
            rows = pd.DataFrame(self.rows(engine, suite.problems, range(suite.samples), suite.grading, done))
            self.cache.write(key, rows)
        return Measured(rows, summarise(rows))

    def _key(self, engine: "Engine", weights: str, suite: Suite, by_number: bool = False) -> str:
        content = {
            "weights": weights,
            "problems": [(p.id, p.question, p.answer, p.level) for p in suite.problems],
            "samples": "by number" if by_number else suite.samples,
            "sampling": self.config.sampling.model_dump(),
            "seed": self.config.seed,
            "prompt": self.prompt.model_dump(),
            "script": self.script,
            "chat_template": self.tokenizer.chat_template,
            "engine": engine.identity,
            "ends": sorted(engine.ends),
            "grader": self.grader.version,
            "reader": self.config.reader,
        } | ({"grading": suite.grading} if suite.grading != "math" else {})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

    def rows(
        self, engine: "Engine", problems: Sequence[Problem], numbers: range, grading: str, done: Done
    ) -> list[dict[str, Any]]:
        """Samples of some numbers of each problem; the first number moves the seed."""

        def sampled(number: int) -> None:
            PACE.advance()
            done(number)

        sampling = self.config.sampling
        completions_PS = engine.generate(
            [prompt_token_ids(self.tokenizer, self.prompt, problem.question) for problem in problems],
            len(numbers),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            limit=sampling.max_completion_tokens,
            seed=self.config.seed + numbers.start,
            done=sampled,
        )
        asked = [(problem, number) for problem in problems for number in numbers]
        token_ids = [ids for samples in completions_PS for ids in samples]
        completions = graded([problem for problem, _ in asked], token_ids, self.tokenizer, engine.ends, self.grader, grading)
        read = self._read_unboxed([problem for problem, _ in asked], completions) if grading == "math" else completions
        counted = read if self.config.reader == "last_expression" else completions
        return [
            {"sample": number} | row(problem, completion, self.script)
            | {
                "right_unboxed": also.verdict.correct and not boxed.verdict.correct,
                "context_full": completion.truncated and completion.tokens < sampling.max_completion_tokens,
            }
            for (problem, number), completion, boxed, also in zip(asked, counted, completions, read, strict=True)
        ]  # fmt: skip

    def _read_unboxed(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Completion]:
        """The same, those without an answer graded anew by their last expression."""
        silent = [place for place, completion in enumerate(completions) if completion.verdict.reason == "no answer"]
        texts, golds = [completions[place].text for place in silent], [problems[place].answer for place in silent]
        verdicts = dict(zip(silent, self.grader.grade(texts, golds, reader="last_expression"), strict=True))
        return [replace(each, verdict=verdicts.get(place, each.verdict)) for place, each in enumerate(completions)]


class Pool:
    """The samples of a suite by number: those in the cache, and those that are drawn now and put there."""

    def __init__(self, evaluator: Evaluator, engine: "Engine", key: str, grading: str, done: Done) -> None:
        self.evaluator, self.engine, self.key, self.grading, self.done = evaluator, engine, key, grading, done
        self.known = evaluator.cache.read_all(key)

    def draw(self, wanted: Mapping[Problem, range]) -> "pd.DataFrame":
        """The samples of these numbers, in order. What is new is on the disk when it returns."""
        import pandas as pd

        there = set() if self.known is None else set(zip(self.known["problem_id"], self.known["sample"], strict=True))
        missing: dict[range, list[Problem]] = {}
        for problem, numbers in wanted.items():
            if any((problem.id, number) not in there for number in numbers):
                missing.setdefault(numbers, []).append(problem)
        new = [
            row
            for numbers, problems in missing.items()
            for row in self.evaluator.rows(self.engine, problems, numbers, self.grading, self.done)
        ]
        if new:
            rows = pd.DataFrame(new)
            self.evaluator.cache.write(self.key, rows)
            self.known = rows if self.known is None else pd.concat([self.known, rows], ignore_index=True)
        index = [(problem.id, number) for problem, numbers in wanted.items() for number in numbers]
        by_number = self.known.drop_duplicates(["problem_id", "sample"]).set_index(["problem_id", "sample"])
        return by_number.loc[index].reset_index()
