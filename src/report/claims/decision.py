"""Whether a measured effect supports a claim, contradicts it, or leaves it open; and what it would take to close it."""

from bisect import bisect_left
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Literal

from src.common.base import Config
from src.common.screen import count
from src.statistics import (
    ERROR,
    FEWEST_SEEDS,
    MOST_LOOKS,
    POWER,
    Components,
    Design,
    Difference,
    Interval,
    error_at_each_of,
    power,
)

MOST_SEEDS = 200  # beyond which a claim is not to be decided by seeds
TIMES = (2, 3, 4, 6, 8, 12, 16, 32, 64)  # the problems

Outcome = Literal["supported", "contradicted", "undecided", "not measured"]


class TestConfig(Config):
    """What is measured (`kind` and `of`, see effects.KINDS), and what would support the claim.

    up / down: the effect is above / below `margin`; same: it is within `margin` of zero. The unit is that of the effect:
    points for accuracies, else what the kind says.
    """

    __test__ = False  # for pytest, which takes it for a test by its name

    kind: str
    of: dict[str, Any]
    by_step: int | None = None  # of runs whose weights are of a step up to this one
    direction: Literal["up", "down", "same"]
    margin: float


@dataclass(frozen=True)
class ClaimEffect:
    """What a test measured: the effect with its interval, and what that rests on."""

    interval: Interval
    seeds: int
    difference: Difference | None = None  # in hundredths of the interval's unit
    usd_per_seed: float = 0.0
    seconds_per_seed: float = 0.0
    evaluation_share: float = 0.0  # of the seconds
    note: str = ""  # what has to be said of it
    chosen_of: int = 1  # the largest of so many effects: its error is divided among them (Bonferroni)

    def within(self, error: float) -> Interval:
        """The interval that misses with probability `error`, by Student's t."""
        from scipy.stats import t

        freedom = self.difference.freedom if self.difference else max(self.seeds - 1, 1)
        wider = float(t.isf(error / self.chosen_of / 2, freedom) / t.isf(ERROR / 2, freedom))
        mean, low, high = self.interval.mean, self.interval.low, self.interval.high
        return Interval(mean, mean - wider * (mean - low), mean + wider * (high - mean))


def decide(test: TestConfig, effect: ClaimEffect, looks: int = 1) -> tuple[Outcome, str]:
    """Whether an effect's interval lies where the claim says, where it must not, or on both sides; of one of several `looks`
    at growing records the interval that is wide enough for all."""
    found, margin = effect.within(error_at_each_of(looks)), test.margin
    low, high = found.low, found.high
    holds = {"up": low > margin, "down": high < margin, "same": -margin < low and high < margin}[test.direction]
    fails = {"up": high < margin, "down": low > margin, "same": low > margin or high < -margin}[test.direction]
    figure = f"{found.mean:+.3g} ({low:+.3g} to {high:+.3g}), {count(effect.seeds, 'seed')}"
    figure += f" ({effect.note})" if effect.note else ""
    if effect.seeds < FEWEST_SEEDS and (holds or fails):
        more = FEWEST_SEEDS - effect.seeds
        return "undecided", f"{figure}: too few seeds; takes {more} more{_bill(effect, more)}"
    if holds or fails:
        return ("supported" if holds else "contradicted"), figure
    return "undecided", f"{figure}{_what_it_takes(test, effect, looks)}"


def _what_it_takes(test: TestConfig, effect: ClaimEffect, looks: int) -> str:
    """Seeds, or problems, for an interval that leaves the margin in four of five tries if the effect is as measured, at the
    error of the next look."""
    distance = abs(effect.interval.mean - test.margin) if test.direction != "same" else test.margin - abs(effect.interval.mean)
    half = max(effect.interval.high - effect.interval.low, 1e-12) / 2
    if abs(distance) <= 0.02 * half:
        return ": as close to the margin as can be measured"
    if effect.difference is None:
        needed = ceil(effect.seeds * (half / distance) ** 2) if effect.seeds > 1 else FEWEST_SEEDS
        seeds = max(FEWEST_SEEDS, needed, effect.seeds + 1)
        return f"; takes about {seeds} seeds{_bill(effect, seeds - effect.seeds)}{_as_look(looks)}"
    design, components = effect.difference.design, Components.of(effect.difference)
    error = error_at_each_of(min(looks + 1, MOST_LOOKS)) / effect.chosen_of

    def enough(design: Design) -> bool:
        return power(components, design, abs(distance) / 100, error) >= POWER

    fewest = max(FEWEST_SEEDS, design.seeds + 1)
    if design.seeds > 1 and enough(replace(design, seeds=MOST_SEEDS)):
        seeds = bisect_left(range(MOST_SEEDS), True, fewest, key=lambda count: enough(replace(design, seeds=count)))
        return f"; takes about {seeds} seeds{_bill(effect, seeds - effect.seeds)}{_as_look(looks)}"
    if design.seeds < FEWEST_SEEDS:
        return f"; takes {FEWEST_SEEDS} seeds to say more{_bill(effect, FEWEST_SEEDS - effect.seeds)}{_as_look(looks)}"
    times = next((n for n in TIMES if enough(replace(design, problems=n * design.problems))), None)
    if times is None:
        return f"; takes more than {TIMES[-1]} times the problems, and more seeds"
    bill = _bill(effect, (times - 1) * effect.evaluation_share * effect.seeds)
    return f"; takes about {times} times the problems (or samples, as far as those decide){bill}{_as_look(looks)}"


def _as_look(looks: int) -> str:
    return f", as --looks {looks + 1}" if looks < MOST_LOOKS else ""


def _bill(effect: ClaimEffect, seeds: float) -> str:
    if seeds <= 0:
        return ""
    if effect.usd_per_seed:
        return f" (about ${effect.usd_per_seed * seeds:.0f} more)"
    return f" (about {effect.seconds_per_seed * seeds / 60:.0f} min more)" if effect.seconds_per_seed else ""
