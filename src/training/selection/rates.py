"""What is believed of each problem's present pass rate: a Beta posterior from the completions so far, older ones of which
count less. As in arXiv 2507.04632, but decayed by steps, not by draws: the learner moves in each. And with a prior from the problems
of the same role: most runs see a problem once, and would else take all that they have not seen to be solved half of the time."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from src.common.base import Config


class RatesConfig(Config):
    decay: float = Field(0.9, gt=0, le=1)  # weight of a completion against one of the next step
    prior_tries: float = Field(2.0, ge=0)  # completions that a rate measured beforehand, by curation, counts for


class PassRates:
    """Problems go by number. A prior counts for two completions, of which the rate of all that was seen of its role are correct:
    Beta(1, 1) where nothing was. What was measured of a problem beforehand comes on top, and does not decay."""

    def __init__(self, config: RatesConfig, measured: Sequence[float | None], roles: Sequence[str]) -> None:
        """Of each problem: its measured rate, and its role."""
        self.config, self.measured, self.roles = config, measured, roles
        self.seen: dict[int, tuple[float, float, int]] = {}  # correct, wrong, and the step up to which they are decayed
        self._priors: tuple[int, dict[str, float]] | None = None  # those of a step

    def posterior(self, problem: int, step: int) -> tuple[float, float]:
        """Both parameters of the Beta distribution at a step."""
        known, tries = self.measured[problem], self.config.prior_tries
        correct, wrong = (0.0, 0.0) if known is None else (tries * known, tries * (1 - known))
        newer, prior = self._decayed(problem, step), self._of_role(step).get(self.roles[problem], 0.5)
        return 2 * prior + correct + newer[0], 2 * (1 - prior) + wrong + newer[1]

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
        self._priors = None

    def last(self, problem: int) -> float:
        """The step at which a problem was sampled last."""
        return self.seen[problem][2] if problem in self.seen else -math.inf

    def _decayed(self, problem: int, step: int) -> tuple[float, float]:
        correct, wrong, at = self.seen.get(problem, (0.0, 0.0, step))
        weight = self.config.decay ** (step - at)
        return correct * weight, wrong * weight

    def _of_role(self, step: int) -> dict[str, float]:
        """The mean rate of each role of which problems were seen, itself from Beta(1, 1)."""
        if self._priors is None or self._priors[0] != step:
            counts: dict[str, list[float]] = {}
            for problem in self.seen:
                correct, wrong = self._decayed(problem, step)
                tally = counts.setdefault(self.roles[problem], [1.0, 1.0])
                tally[0] += correct
                tally[1] += wrong
            self._priors = step, {role: correct / (correct + wrong) for role, (correct, wrong) in counts.items()}
        return self._priors[1]

    def state_dict(self) -> dict[str, Any]:
        return {str(problem): list(seen) for problem, seen in self.seen.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.seen = {int(problem): (correct, wrong, step) for problem, (correct, wrong, step) in state.items()}
        self._priors = None
