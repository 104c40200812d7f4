"""Reward terms of one's own: functions from outside the project (`reward.terms`), and what is wrong with them in words.

They are as those of reward.py: a function of (batch, config) that returns one number for each completion.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from numbers import Real

from src.common.errors import UserError, said_by
from src.common.types import Completion, Problem, Verdict
from src.training.reward import RewardBatch, RewardConfig, Term, active

SHOWN = 200  # characters of a completion in an error


def own_terms(config: RewardConfig) -> dict[str, Term]:
    """The functions of one's own that are on. Raises UserError where one cannot be had."""
    return {name: config.terms[name].function(f"reward.terms.{name}") for name in active(config) if name in config.terms}


def rehearse(config: RewardConfig, problems: Sequence[Problem], limit_tokens: int) -> None:
    """Ask each term of one's own about empty completions, all wrong, as many as there are problems. Raises UserError where that
    fails: it is better known before a run has cost anything."""
    nothing = Completion("", 1, False, Verdict(False, "", "no answer"))
    for name in own_terms(config):
        if fault := graded_by(name, RewardBatch([nothing] * len(problems), len(problems), limit_tokens, None, problems), config)[1]:
            raise UserError(fault)


def graded_by(name: str, batch: RewardBatch, config: RewardConfig) -> tuple[list[float], str | None]:
    """What a term of one's own gives each completion; or zeros, and in words for a person what is wrong with it."""
    code = config.terms[name]
    term, where = code.function(f"reward.terms.{name}"), f"reward.terms.{name} ({code.path})"
    try:
        rewards = list(term(batch, config))
    except Exception as error:  # noqa: BLE001 - it is not ours
        return [0.0] * len(batch.completions), f"{where} failed: {said_by(error)}, at {_culprit(term, batch, config)}"
    numbers = [float(reward) if isinstance(reward, Real) else math.nan for reward in rewards]
    odd = [reward for reward, number in zip(rewards, numbers, strict=True) if not math.isfinite(number)]
    if odd or len(numbers) != len(batch.completions):
        gave = f"{odd[0]!r} for one" if odd else f"{len(numbers)} numbers for {len(batch.completions)} completions"
        return [0.0] * len(batch.completions), f"{where} gave {gave}; it must give one finite number for each completion"
    return numbers, None


def _culprit(term: Term, batch: RewardBatch, config: RewardConfig) -> str:
    """Which completion a term fails at: the first that it fails at alone, or with the others of its prompt."""
    for size in (1, batch.group_size):
        for start in range(0, len(batch.completions), size):
            part = slice(start, start + size)
            alone = replace(batch, completions=batch.completions[part], problems=batch.problems[part], group_size=size)
            try:
                list(term(alone, config))
            except Exception:  # noqa: BLE001 - as above
                text = alone.completions[0].text
                shown = f"{text[:SHOWN]!r}{' ...' if len(text) > SHOWN else ''}"
                return f"the completion {shown} to problem {alone.problems[0].id}"
    return "no completion or prompt alone"
