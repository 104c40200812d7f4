"""The `evaluation` group: measure a model on a set of problems, and never measure the same thing twice.

Validation is held out from the training pools and chooses checkpoints. The benchmark suites are run at the end only.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.common.pace import PACE
from src.common.types import Suite
from src.data.prompt import PromptConfig, prompt_token_ids
from src.evaluation.cache import Cache
from src.evaluation.config import EvaluationConfig
from src.evaluation.summary import summarise
from src.grading.completions import graded, row

if TYPE_CHECKING:
    import pandas as pd

    from src.grading.grader import Grader
    from src.rollout.engine import Engine


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
        self, engine: "Engine", weights: str, suite: Suite, done: Callable[[int], None] = lambda number: None
    ) -> Measured:
        """Rows with problem_id, level, sample, correct, tokens, truncated, format, language, answer (as the grader
        found it), reason (for the verdict) and text, and their summary.

        `weights` is the fingerprint of what `engine` samples from. The same weights, suite, sampling, prompt, grader
        and seed are measured once; after that the stored rows are returned. `done` is told of completions as they come.
        """
        import pandas as pd

        key = self._key(engine, weights, suite)
        rows = self.cache.read(key)
        if rows is None:
            rows = pd.DataFrame(self._rows(engine, suite, done))
            self.cache.write(key, rows)
        return Measured(rows, summarise(rows))

    def _key(self, engine: "Engine", weights: str, suite: Suite) -> str:
        content = {
            "weights": weights,
            "problems": [(p.id, p.question, p.answer, p.level) for p in suite.problems],
            "samples": suite.samples,
            "sampling": self.config.sampling.model_dump(),
            "seed": self.config.seed,
            "prompt": self.prompt.model_dump(),
            "script": self.script,
            "chat_template": self.tokenizer.chat_template,
            "engine": engine.identity,
            "ends": sorted(engine.ends),
            "grader": self.grader.version,
        } | ({"grading": suite.grading} if suite.grading != "math" else {})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

    def _rows(self, engine: "Engine", suite: Suite, done: Callable[[int], None]) -> list[dict[str, Any]]:
        def sampled(number: int) -> None:
            PACE.advance()
            done(number)

        sampling = self.config.sampling
        completions_PS = engine.generate(
            [prompt_token_ids(self.tokenizer, self.prompt, problem.question) for problem in suite.problems],
            suite.samples,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            limit=sampling.max_completion_tokens,
            seed=self.config.seed,
            done=sampled,
        )
        problems = [problem for problem in suite.problems for _ in range(suite.samples)]
        token_ids = [ids for samples in completions_PS for ids in samples]
        completions = graded(problems, token_ids, self.tokenizer, engine.ends, self.grader, suite.grading)
        return [
            {"sample": number % suite.samples} | row(problem, completion, self.script)
            for number, (problem, completion) in enumerate(zip(problems, completions, strict=True))
        ]
