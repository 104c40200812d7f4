"""The `mix` group: which problems a run trains on, how often, and in which order.

To add an order, add a function to ORDERS.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, islice
from typing import Any, Literal

from pydantic import Field, field_validator

from src.common.base import Config
from src.common.errors import UserError, refuse_unknown
from src.common.types import LEVELS, Problem
from src.data.problems import ROLES

EASY = "easy"
HARD_ROLES = ("core", "broad")  # what stands beside the easy part where the weights name nothing else


class MixConfig(Config):
    """Weights over roles, and how the problems drawn by them are walked through."""

    weights: dict[str, float]  # role: its part of the problems; {} = all problems of all roles
    easy_share: float | None = Field(ge=0, le=1)  # part of the role easy; the others share the rest by their weights
    size: int | None = Field(ge=1)  # problem presentations in one walk of the mix; null = all that the pools allow
    order: Literal["shuffled", "easy_first", "hard_first"]
    repeats: int = Field(ge=1)  # times each problem is used in one walk of the mix: tau of arXiv 2509.25300
    # How draws of different sizes go together: nested, a smaller one being part of a larger (the study's released code),
    # or independent of each other (its paper).
    subsets: Literal["nested", "independent"] = "nested"
    stratified: bool = False  # have every draw spread over its pool's difficulty as the pool is, by pass rate

    @field_validator("weights")
    @classmethod
    def _usable(cls, weights: dict[str, float]) -> dict[str, float]:
        refuse_unknown(weights, ROLES, "role")
        for role, weight in weights.items():
            if weight < 0:
                raise ValueError(f"the weight of {role} must be 0 or more, not {weight}")
        if weights and not any(weights.values()):
            raise ValueError("all are 0; give at least one role a weight above 0")
        return weights

    def among(self, sizes: Mapping[str, int]) -> "MixConfig":
        """The same mix of no more roles and problems than there are: what it has of hard roles goes to `core`.

        Raises UserError where nothing of it is there.
        """
        easy, hard = self.weights.get(EASY, 0), sum(weight for role, weight in self.weights.items() if role != EASY)
        weights = {role: weight for role, weight in {"core": hard, EASY: easy}.items() if weight and sizes.get(role)}
        if self.weights and not weights or self.easy_share is not None and len(sizes) < 2:
            there = "easy" if EASY in sizes else "hard"
            raise UserError(f"mix: it takes what the problems do not have, all of which are {there}; set mix=all")
        fitting = self.model_copy(update={"weights": weights or dict(sizes), "size": None})
        most = sum(_counts(fitting, shares(fitting), sizes).values()) * self.repeats
        return fitting.model_copy(update={"size": self.size and min(self.size, most)})


@dataclass(frozen=True, slots=True)
class Mix:
    """The problems of a run and the order in which they are presented. An epoch presents each of them once."""

    problems: tuple[Problem, ...]  # each once
    counts: dict[str, int]  # how many of them come from each role
    order: str
    repeats: int
    seed: int

    @property
    def size(self) -> int:
        """Presentations in one walk of the mix."""
        return len(self.problems) * self.repeats

    @property
    def roles(self) -> list[str]:
        """The role of each of the problems."""
        return [role for role, number in self.counts.items() for _ in range(number)]

    @property
    def by_level(self) -> dict[str, int]:
        """How many of the problems are of each level."""
        counts = Counter(problem.level for problem in self.problems)
        return {level: counts[level] for level in LEVELS if counts[level]}

    def presentations(self, total: int) -> list[Problem]:
        """The first `total` problems in the order of training; walks follow one another as long as needed."""
        return list(islice(self.endless(), total))

    def epoch(self, position: int) -> int:
        """The epoch, from 0, of the presentation at `position`, from 0."""
        return position // len(self.problems)

    def report(self) -> dict[str, Any]:
        """The counts, for the record; plain values."""
        return {
            "problems": len(self.problems),
            "by_role": dict(self.counts),
            "by_level": self.by_level,
            "repeats": self.repeats,
            "size": self.size,
            "order": self.order,
        }

    def endless(self) -> Iterator[Problem]:
        """The problems in the order of training, walk after walk."""
        for epoch in count():
            yield from ORDERS[self.order](self.problems, self.seed, epoch)


def shuffled(problems: Sequence[Problem], seed: int, epoch: int) -> list[Problem]:
    """A random order, another one in each epoch."""
    return _ranked(problems, f"{seed}/epoch {epoch}")


def easy_first(problems: Sequence[Problem], seed: int, epoch: int) -> list[Problem]:
    """Easy before hard, then by falling pass rate, unknown ones last; ties at random; the same in each epoch."""
    return sorted(_ranked(problems, f"{seed}/ties"), key=_difficulty)


def hard_first(problems: Sequence[Problem], seed: int, epoch: int) -> list[Problem]:
    """The reverse of easy_first."""
    return easy_first(problems, seed, epoch)[::-1]


ORDERS: dict[str, Callable[[Sequence[Problem], int, int], list[Problem]]] = {
    "shuffled": shuffled,
    "easy_first": easy_first,
    "hard_first": hard_first,
}


def shares(config: MixConfig) -> dict[str, Fraction]:
    """The part of each role that the mix needs, summing to 1 exactly."""
    weights = {role: _exact(weight) for role, weight in config.weights.items() if weight > 0}
    if config.easy_share is not None:
        easy = _exact(config.easy_share)
        others = {role: weight for role, weight in weights.items() if role != EASY} or dict.fromkeys(
            HARD_ROLES, Fraction(1)
        )
        rest = sum(others.values())
        weights = {EASY: easy} | {role: (1 - easy) * weight / rest for role, weight in others.items()}
    total = sum(weights.values())
    return {role: weights[role] / total for role in ROLES if weights.get(role)}


def roles_needed(config: MixConfig) -> set[str]:
    """The roles that the mix takes problems from."""
    return set(shares(config))


def apportion(weights: Mapping[str, float | Fraction], total: int) -> dict[str, int]:
    """Whole numbers in proportion to the weights that sum to `total`, by largest remainder; ties go by name."""
    exact = {name: _exact(weight) for name, weight in weights.items()}
    quotas = {name: weight * total / sum(exact.values()) for name, weight in exact.items()}
    counts = {name: math.floor(quota) for name, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda name: (counts[name] - quotas[name], name))
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def draw_mix(config: MixConfig, pools: Mapping[str, Sequence[Problem]], seed: int) -> Mix:
    """Draw the problems of a mix: exact counts, no problem twice, the same ones for the same seed.

    A smaller draw with the same seed is part of a larger one, so runs that differ in size or repeats share problems;
    unless `subsets` is independent.
    A problem that stands in several pools (by its id) belongs to the first of them, in the order of ROLES.
    Raises UserError where a pool is missing or too small, and where `size` is no multiple of `repeats`.
    """
    if not config.weights:
        config = config.among({role: len(problems) for role, problems in pools.items()})
    parts = shares(config)
    available = _available(pools, parts)
    counts = _counts(config, parts, {role: len(problems) for role, problems in available.items()})
    order, key = _spread if config.stratified else _ranked, f"{seed}/" if config.subsets == "nested" else f"{seed}/{counts}/"
    drawn = [p for role, problems in available.items() for p in order(problems, f"{key}{role}")[: counts[role]]]
    return Mix(tuple(drawn), counts, config.order, config.repeats, seed)


def _available(pools: Mapping[str, Sequence[Problem]], roles: Mapping[str, Fraction]) -> dict[str, list[Problem]]:
    available: dict[str, list[Problem]] = {}
    taken: set[str] = set()
    for role in roles:
        if not pools.get(role):
            offered = ", ".join(sorted(name for name, problems in pools.items() if problems))
            raise UserError(f"mix: there are no problems for the role {role}, only for {offered}; choose another mix")
        available[role] = [problem for problem in pools[role] if problem.id not in taken]
        taken.update(problem.id for problem in available[role])
    return available


def _counts(config: MixConfig, parts: Mapping[str, Fraction], sizes: Mapping[str, int]) -> dict[str, int]:
    """Problems to draw from each role."""
    # At this total no quota exceeds its pool, so no rounded one does: pools are whole numbers.
    most = math.floor(min(sizes[role] / part for role, part in parts.items()))
    if config.size is None:
        if not most:
            raise UserError(
                f"mix: the pools {dict(sizes)} are too small for one problem at these weights; change mix.weights"
            )
        return apportion(parts, most)
    problems, left_over = divmod(config.size, config.repeats)
    if left_over:
        low, high = config.size - left_over, config.size - left_over + config.repeats
        near = f"{low} or {high}" if low else f"{high}"
        raise UserError(f"mix.size: {config.size} is not a multiple of mix.repeats={config.repeats}; use {near}")
    counts = apportion(parts, problems)
    for role in counts:
        if counts[role] > sizes[role]:
            raise UserError(
                f"mix: {counts[role]} problems asked for from the role {role}, which has {sizes[role]}; "
                f"use {_remedies(config.size, config.repeats, parts, sizes, most)}"
            )
    return counts


def _remedies(size: int, repeats: int, parts: Mapping[str, Fraction], sizes: Mapping[str, int], most: int) -> str:
    """The largest size that these pools allow, and the fewest repeats that make the size possible."""

    def fits(tried: int) -> bool:
        if size % tried:
            return False
        return all(number <= sizes[role] for role, number in apportion(parts, size // tried).items())

    enough = next(filter(fits, range(repeats + 1, size + 1)), None)
    remedies = [f"mix.size={most * repeats} at most"] * bool(most) + [f"mix.repeats={enough}"] * bool(enough)
    return " or ".join(remedies) or "other weights"


def _ranked(problems: Sequence[Problem], key: str) -> list[Problem]:
    """A random order that depends on the key and each problem's id alone.

    Unlike a shuffle it hardly changes when a pool gains or loses a problem, and it is the same on every machine.
    """
    return sorted(problems, key=lambda problem: rank(key, problem.id))


def rank(key: str, id: str) -> bytes:
    """A place in a random order, the same on every machine."""
    return hashlib.sha256(f"{key}/{id}".encode()).digest()


def _spread(problems: Sequence[Problem], key: str) -> list[Problem]:
    """An order of which every beginning is spread over the difficulties as all problems are.

    Places on the scale from easy to hard are visited in van der Corput's order, 1/2, 1/4, 3/4, 1/8, …; who stands at a
    place among equals is random.
    """
    by_difficulty = sorted(_ranked(problems, key), key=_difficulty)
    bits = max(1, len(by_difficulty) - 1).bit_length()
    parts = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(2**bits))
    places = dict.fromkeys(part * len(by_difficulty) >> bits for part in parts)
    return [by_difficulty[place] for place in places]


def _difficulty(problem: Problem) -> tuple[int, float]:
    rate = -1.0 if problem.pass_rate is None else problem.pass_rate
    return LEVELS.index(problem.level), -rate


def _exact(number: float | Fraction) -> Fraction:
    """A decimal as it was written: 0.1 is a tenth, so that shares and their ties come out exact."""
    return number if isinstance(number, Fraction) else Fraction(str(number))
