"""Whether a measured effect supports a claim, contradicts it, or leaves it open; and what it would take to close it."""

from dataclasses import dataclass
from math import ceil, inf
from typing import Any, Literal

from src.common.base import Config
from src.statistics import FEWEST_SEEDS, Difference, Interval

Outcome = Literal["supported", "contradicted", "undecided", "not measured"]


class TestConfig(Config):
    """What is measured (`kind` and `of`, see claim_effects.KINDS), and what would support the claim.

    up / down: the effect is above / below `margin`; same: it is within `margin` of zero. The unit is that of the effect:
    points for accuracies, else what the kind says.
    """

    __test__ = False  # for pytest, which takes it for a test by its name

    kind: str
    of: dict[str, Any]
    direction: Literal["up", "down", "same"]
    margin: float


@dataclass(frozen=True)
class ClaimEffect:
    """What a test measured: the effect with its interval, and what that rests on."""

    interval: Interval
    seeds: int
    difference: Difference | None = None
    usd_per_seed: float = 0.0
    seconds_per_seed: float = 0.0
    evaluation_share: float = 0.0  # of the seconds


def decide(test: TestConfig, effect: ClaimEffect) -> tuple[Outcome, str]:
    """Whether an effect's interval lies where the claim says, where it must not, or on both sides."""
    low, high, margin = effect.interval.low, effect.interval.high, test.margin
    holds = {"up": low > margin, "down": high < margin, "same": -margin < low and high < margin}[test.direction]
    fails = {"up": high < margin, "down": low > margin, "same": low > margin or high < -margin}[test.direction]
    figure = f"{effect.interval.mean:+.3g} ({low:+.3g} to {high:+.3g}), {effect.seeds} seed{'' if effect.seeds == 1 else 's'}"
    if effect.seeds < FEWEST_SEEDS and (holds or fails):
        more = FEWEST_SEEDS - effect.seeds
        return "undecided", f"{figure}: too few seeds; takes {more} more{_bill(effect, more)}"
    if holds or fails:
        return ("supported" if holds else "contradicted"), figure
    return "undecided", f"{figure}{_what_it_takes(test, effect)}"


def _what_it_takes(test: TestConfig, effect: ClaimEffect) -> str:
    """Seeds, or problems, for an interval that leaves the margin if the effect is as measured."""
    distance = (
        abs(effect.interval.mean - test.margin) if test.direction != "same" else test.margin - abs(effect.interval.mean)
    )
    half = max(effect.interval.high - effect.interval.low, 1e-12) / 2
    if abs(distance) <= 0.02 * half:
        return ": as close to the margin as can be measured"
    if effect.difference is None:
        needed = ceil(effect.seeds * (half / distance) ** 2) if effect.seeds > 1 else FEWEST_SEEDS
        seeds = max(FEWEST_SEEDS, needed, effect.seeds + 1)
        return f"; takes about {seeds} seeds{_bill(effect, seeds - effect.seeds)}"
    seeds, problems = _enough(effect.difference, abs(distance) / 100, effect.seeds)
    if seeds < inf:
        return f"; takes about {seeds:.0f} seeds{_bill(effect, int(seeds) - effect.seeds)}"
    bill = _bill(effect, (problems - 1) * effect.evaluation_share * effect.seeds)
    return f"; takes about {problems:g} times the problems (or samples, as far as those decide){bill}"


def _enough(difference: Difference, distance: float, seeds: int) -> tuple[float, float]:
    """Seeds that bring 2.8 standard errors under `distance`; infinite where problems are what is missing."""
    wanted = (distance / 2.8) ** 2  # 5 % level, power 0.8
    if difference.problem_variance < wanted and seeds > 1:
        needed = difference.seed_variance * seeds / (wanted - difference.problem_variance)
        return max(FEWEST_SEEDS, ceil(needed), seeds + 1), 1
    if seeds < FEWEST_SEEDS and difference.problem_variance < wanted:
        return FEWEST_SEEDS, 1
    return inf, ceil(10 * difference.problem_variance / wanted) / 10


def _bill(effect: ClaimEffect, seeds: float) -> str:
    if seeds <= 0:
        return ""
    if effect.usd_per_seed:
        return f" (about ${effect.usd_per_seed * seeds:.0f} more)"
    return f" (about {effect.seconds_per_seed * seeds / 60:.0f} min more)" if effect.seconds_per_seed else ""
