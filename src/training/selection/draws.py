"""Ways to draw the next problems. To add one, write its class, a Draw with its name as `by`; a file in conf/selection uses it.

All go by what the training processes share, so that each of them draws the same problems.
"""

import random
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from src.common.base import Choice
from src.common.errors import RunFailed, refuse_unknown
from src.training.selection.courses import Course, Moment, at
from src.training.selection.rates import PassRates, RatesConfig

EASY = "easy"  # the role of which `easy_share` is the part
Rate = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class View:
    """What a draw sees at a step. Problems are numbers."""

    moment: Moment
    walk: Callable[[str | None, int], list[int]]  # a role (None = any) and how many: its next ones in the order of the mix
    free: Callable[[int], list[int]]  # in random order, those not drawn in this step nor just before it; where they are too few, those drawn longest ago
    rates: PassRates
    parts: Mapping[str, float]  # role: its part of the mix
    owed: dict[str, float]  # what `deal` has left to give, by name
    rng: random.Random


@dataclass(frozen=True, slots=True)
class Drawn:
    """Problems, and how many of them are not what was asked for, since there was nothing left of that."""

    problems: list[int]
    starved: int = 0


class Draw(Choice):
    chosen_by: ClassVar[str] = "by"

    @abstractmethod
    def next(self, view: View, number: int) -> Drawn:
        """That many problems, or as many as there are."""

    @property
    def rates(self) -> RatesConfig:
        """How pass rates are estimated."""
        return RatesConfig()

    @property
    def roles(self) -> set[str]:
        """Roles of which it must have problems."""
        return set()

    @property
    def rest_steps(self) -> int:
        """Steps for which a problem is not drawn again."""
        return 0

    def out_of_reach(self, means: Sequence[float]) -> str | None:
        """Why no problem can ever be drawn as asked, the means of all at the start being these."""
        return None


class Walk(Draw):
    """The order of the mix."""

    by: Literal["walk"]

    def next(self, view: View, number: int) -> Drawn:
        return Drawn(view.walk(None, number))


class BySchedule(Draw):
    """Each role's part of a batch as a function of the step, its problems in the order of the mix."""

    by: Literal["schedule"]
    easy_share: Course | None = None  # of the role easy; the others share the rest by their weights
    weights: dict[str, Course] | None = None  # role: weight; a role that is not named has its part of the mix

    @property
    def roles(self) -> set[str]:
        return {*(self.weights or ()), *([EASY] if self.easy_share else [])}

    @property
    def kinds_of_course(self) -> set[str]:
        return {course.course for course in (*(self.weights or {}).values(), self.easy_share) if course}

    def shares(self, view: View) -> dict[str, float]:
        """The part of each role at this step, summing to 1."""
        weights = {**view.parts, **at(self.weights or {}, view.moment)}
        total = sum(weights.values())
        if self.easy_share is None:
            return {role: weight / total for role, weight in weights.items()} if total else dict(view.parts)
        easy, rest = self.easy_share.at(view.moment), total - weights[EASY]
        others = {role: weight for role, weight in weights.items() if role != EASY}
        return {role: (1 - easy) * (weight / rest if rest else 1 / len(others)) for role, weight in others.items()} | {EASY: easy}

    def next(self, view: View, number: int) -> Drawn:
        counts = deal(view.owed, self.shares(view), number)
        problems = [problem for role, count in counts.items() for problem in view.walk(role, count)]
        view.rng.shuffle(problems)
        return Drawn(problems)


def deal(owed: dict[str, float], shares: Mapping[str, float], number: int) -> dict[str, int]:
    """Whole numbers that sum to `number` in proportion to `shares`; what rounding takes is owed, and given in later calls."""
    counts = dict.fromkeys(shares, 0)
    for name, share in shares.items():
        owed[name] = owed.get(name, 0.0) + share * number
    for _ in range(number):
        most = max((name for name in shares if shares[name] > 0), key=lambda name: (owed[name], name))
        counts[most] += 1
        owed[most] -= 1
    return counts


class ByPassRate(Draw):
    """Problems by their estimated present pass rate."""

    by: Literal["pass_rate"]
    aim: str = "target"  # one of AIMS
    target: Rate = 0.5  # of `target` and `thompson`: where the variance of a right answer is largest
    band: tuple[Rate, Rate] = (0.2, 0.8)  # of `band`; and of `pools`: below it is hard, above it easy
    pools: dict[str, Rate] = {"easy": 0.1, "normal": 0.8, "hard": 0.1}  # shares of a batch
    decay: float = Field(0.9, gt=0, le=1)  # of what was seen, with each step
    prior_tries: float = Field(2.0, ge=0)  # completions that a measured pass rate counts for
    rest: int = Field(1, ge=0)  # batches for which a problem is not drawn again, where others are left
    when_starved: Literal["nearest", "any", "stop"] = "nearest"  # what is taken where nothing is left in the band, or a pool

    @model_validator(mode="after")
    def _possible(self) -> Self:
        refuse_unknown([self.aim], AIMS, "aim")
        refuse_unknown(self.pools, POOLS, "pool")
        if self.band[0] >= self.band[1]:
            raise ValueError(f"band: no problem can be in [{self.band[0]}, {self.band[1]}]; its first number must be the smaller")
        if not any(self.pools.values()):
            raise ValueError("pools: all are 0; give at least one a share above 0")
        return self

    @property
    def rates(self) -> RatesConfig:
        return RatesConfig(decay=self.decay, prior_tries=self.prior_tries)

    @property
    def rest_steps(self) -> int:
        return self.rest

    def out_of_reach(self, means: Sequence[float]) -> str | None:
        low, high = self.band
        if self.aim == "band" and not any(low <= mean <= high for mean in means):
            return f"band: at the start no problem is between {low} and {high}, they are from {min(means):.2f} to {max(means):.2f}"
        return None

    def next(self, view: View, number: int) -> Drawn:
        free = view.free(number)
        fitting = AIMS[self.aim](self, view, free, number)[:number]
        missing = min(number, len(free)) - len(fitting)
        if missing > 0 and self.when_starved == "stop":
            raise RunFailed(f"selection.draw: {missing} of {number} problems are not there at step {view.moment.step + 1} for "
                            f"aim={self.aim}; widen the band, or set selection.draw.when_starved")
        taken = set(fitting)
        others = [problem for problem in free if problem not in taken]
        if self.when_starved == "nearest":
            others.sort(key=lambda problem: self._outside(view.rates.mean(problem, view.moment.step)))
        return Drawn(fitting + others[: max(0, missing)], max(0, missing))

    def _outside(self, mean: float) -> float:
        return max(self.band[0] - mean, mean - self.band[1], 0.0)


def _near(config: ByPassRate, view: View, free: Sequence[int], number: int) -> list[int]:
    step = view.moment.step
    return sorted(free, key=lambda problem: abs(view.rates.mean(problem, step) - config.target))


def _thompson(config: ByPassRate, view: View, free: Sequence[int], number: int) -> list[int]:
    """By a rate drawn from each one's posterior (arXiv 2507.04632): what is not known well gets its turn."""
    step = view.moment.step
    drawn = {problem: view.rng.betavariate(*view.rates.posterior(problem, step)) for problem in free}
    return sorted(free, key=lambda problem: abs(drawn[problem] - config.target))


def _in_band(config: ByPassRate, view: View, free: Sequence[int], number: int) -> list[int]:
    return [problem for problem in free if config._outside(view.rates.mean(problem, view.moment.step)) == 0]


def _from_pools(config: ByPassRate, view: View, free: Sequence[int], number: int) -> list[int]:
    """Each pool's share, drawn at random from those that are in it now, as prime-rl's difficulty pools."""
    total, found = sum(config.pools.values()), []
    counts = deal(view.owed, {name: share / total for name, share in config.pools.items()}, number)
    for name, count in counts.items():
        inside = [p for p in free if POOLS[name](view.rates.mean(p, view.moment.step), config.band)]
        found += inside[:count]
    return found


POOLS: dict[str, Callable[[float, tuple[float, float]], bool]] = {
    "easy": lambda mean, band: mean > band[1],
    "normal": lambda mean, band: band[0] <= mean <= band[1],
    "hard": lambda mean, band: mean < band[0],
}
AIMS: dict[str, Callable[[ByPassRate, View, Sequence[int], int], list[int]]] = {
    "target": _near,
    "thompson": _thompson,
    "band": _in_band,
    "pools": _from_pools,
}
