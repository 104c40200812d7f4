"""What is believed of each problem's present pass rate: a Beta posterior from the completions so far, older ones of which
count less. As in arXiv 2507.04632, but decayed by steps, not by draws: the learner moves in each."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from src.common.base import Config


class RatesConfig(Config):
    decay: float = Field(0.9, gt=0, le=1)  # weight of a completion against one of the next step
    prior_tries: float = Field(2.0, ge=0)  # completions that a rate measured beforehand, by curation, counts for


class PassRates:
    """Problems go by number; all begin at Beta(1, 1) with what was measured of them beforehand, which does not decay."""

    def __init__(self, config: RatesConfig, measured: Sequence[float | None]) -> None:
        self.config, self.measured = config, measured
        self.seen: dict[int, tuple[float, float, int]] = {}  # correct, wrong, and the step up to which they are decayed

    def posterior(self, problem: int, step: int) -> tuple[float, float]:
        """Both parameters of the Beta distribution at a step."""
        known, tries = self.measured[problem], self.config.prior_tries
        correct, wrong = (0.0, 0.0) if known is None else (tries * known, tries * (1 - known))
        newer = self._decayed(problem, step)
        return 1.0 + correct + newer[0], 1.0 + wrong + newer[1]

    def mean(self, problem: int, step: int) -> float:
        correct, wrong = self.posterior(problem, step)
        return correct / (correct + wrong)

    def variance(self, problem: int, step: int) -> float:
        """Expected variance of one completion's being correct."""
        correct, wrong = self.posterior(problem, step)
        return correct * wrong / ((correct + wrong) * (correct + wrong + 1))

    def saw(self, problem: int, step: int, correct: int, tries: int) -> None:
        """Take note of completions sampled at a step."""
        before = self._decayed(problem, step)
        self.seen[problem] = (before[0] + correct, before[1] + tries - correct, step)

    def last(self, problem: int) -> float:
        """The step at which a problem was sampled last."""
        return self.seen[problem][2] if problem in self.seen else -math.inf

    def _decayed(self, problem: int, step: int) -> tuple[float, float]:
        correct, wrong, at = self.seen.get(problem, (0.0, 0.0, step))
        weight = self.config.decay ** (step - at)
        return correct * weight, wrong * weight

    def state_dict(self) -> dict[str, Any]:
        return {str(problem): list(seen) for problem, seen in self.seen.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.seen = {int(problem): (correct, wrong, step) for problem, (correct, wrong, step) in state.items()}
