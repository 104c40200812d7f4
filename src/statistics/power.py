"""What a study will find before it is run: its power, the difference that it can show, and the cheapest one for a difference."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from typing import Any

from src.statistics.comparisons import ERROR, Design, Difference, Part, joint_freedom

POWER = 0.8  # of the smallest detectable difference: found in four of five tries
NODES = 64  # at which a chi-squared variance is averaged over


@dataclass(frozen=True)
class Components:
    """Variances of a difference, each of one unit: seed, problem, problem by seed, sample, and sample of what no seed made."""

    seed: float
    problem: float
    cell: float = 0.0
    sample: float = 0.0
    fixed: float = 0.0

    @classmethod
    def of(cls, pilot: Difference) -> "Components":
        """As measured by a pilot of two seeds or more; without two samples a problem, `sample` holds `cell`."""
        split, (seeds, problems, samples) = pilot.split, (pilot.design.seeds, pilot.design.problems, max(pilot.design.samples, 1))
        cells = seeds * problems
        return cls(
            split.seeds * seeds, split.problems * problems, split.cells * cells, split.samples * cells * samples,
            split.fixed * problems * samples,
        )  # fmt: skip

    @classmethod
    def mean(cls, pilots: Iterable["Components"]) -> "Components":
        every = list(pilots)
        return cls(*(sum(getattr(each, field.name) for each in every) / len(every) for field in fields(cls)))

    def noise(self, design: Design) -> float:
        """Variance of the mean that samples alone leave."""
        samples = max(design.samples, 1)
        return (self.sample / design.seeds + self.fixed) / (design.problems * samples)

    def parts(self, design: Design) -> tuple[Part, Part]:
        """Variance of the mean between seeds, which holds the noise, and what problems add to it; see `contrast`. With one seed
        all of it is by problem, since it speaks of these weights."""
        samples = max(design.samples, 1)
        between = (self.seed + (self.cell + self.sample / samples) / design.problems) / design.seeds
        by_problem = self.problem + self.fixed / samples
        if design.seeds < 2:
            return Part(0.0, 1), Part((by_problem + self.cell + self.sample / samples) / design.problems, max(design.problems - 1, 1))
        return Part(between, design.seeds - 1), Part(by_problem / design.problems, max(design.problems - 1, 1))


def power(components: Components, design: Design, difference: float, error: float = ERROR) -> float:
    """The chance to find a true difference, two-sided at the level `error`."""
    parts = components.parts(design)
    least = components.noise(design) if design.samples > 1 else 0.0
    variance = sum(part.variance for part in parts)
    if not variance:
        return 1.0 if difference else error
    return _found(Known.of(parts, least), abs(difference) / variance**0.5, error)


def detectable(components: Components, design: Design) -> float:
    """The smallest difference that is found in four of five tries."""
    parts = components.parts(design)
    least = components.noise(design) if design.samples > 1 else 0.0
    return sum(part.variance for part in parts) ** 0.5 * _in_deviations(Known.of(parts, least))


def detectable_by(measured: Difference) -> float:
    """The same for another measurement of the same size."""
    parts = (measured.between_seeds, *measured.by_problem)
    deviation = max(measured.variance, measured.least) ** 0.5
    return deviation * _in_deviations(Known.of(parts, measured.least))


def cheapest(
    components: Components, difference: float, cost: Callable[[Design], float], designs: Iterable[Design]
) -> Design | None:
    """Of some designs the cheapest that finds a difference in four of five tries; none where none does."""
    return next((design for design in sorted(designs, key=cost) if power(components, design, difference) >= POWER), None)


@dataclass(frozen=True, slots=True)
class Known:
    """What the chance to find a difference hangs on, in shares of its variance and rounded, so that few have to be worked out."""

    seeds: float
    freedom: float
    other_freedom: float  # that of what problems add
    least: float

    @classmethod
    def of(cls, parts: "tuple[Part, ...]", least: float) -> "Known":
        between, *others = parts
        variance = sum(part.variance for part in parts) or 1.0
        return cls(
            round(between.variance / variance, 3), round(between.freedom, 1), round(min(joint_freedom(others), 1e4), 1),
            round(min(least / variance, 1.0), 2),
        )  # fmt: skip


@lru_cache(maxsize=10_000)
def _in_deviations(known: Known) -> float:
    """The smallest detectable difference in standard errors."""
    from scipy.optimize import brentq

    most = 10.0
    while _found(known, most, ERROR) < POWER:
        most *= 2
    return float(brentq(lambda shift: _found(known, shift, ERROR) - POWER, 0.0, most, xtol=1e-4))


def _found(known: Known, shift: float, error: float) -> float:
    """The chance to find what is `shift` standard errors away."""
    from scipy.special import ndtr

    limits, weights = _limits(known, error)
    return float(weights @ (ndtr(shift - limits) + ndtr(-shift - limits)))


@lru_cache(maxsize=10_000)
def _limits(known: Known, error: float) -> tuple[Any, Any]:
    """How far from zero, in true standard errors, a mean must lie to be found, over what variances may be estimated as, with the
    chance of each: both parts follow a chi-squared distribution, and the degrees of freedom follow from both."""
    import numpy as np
    from scipy.special import ndtri, stdtrit

    (first, one), (second, other) = _chi_squared(known.freedom, NODES), _chi_squared(known.other_freedom, NODES // 8)
    seeds, problems = np.broadcast_arrays(known.seeds * first[:, None], (1 - known.seeds) * second)
    total = seeds + problems
    freedom = total / (seeds / known.freedom + problems / known.other_freedom)
    half = np.maximum(stdtrit(freedom, 1 - error / 2) * total**0.5, ndtri(1 - error / 2) * known.least**0.5)
    return half.ravel(), np.outer(one, other).ravel()


@cache
def _chi_squared(freedom: float, nodes: int) -> tuple[Any, Any]:
    """Values of a variance over its true one, known on so many degrees of freedom, and their chances (Gauss and Legendre's)."""
    import numpy as np
    from scipy.special import gammaincinv

    places, weights = np.polynomial.legendre.leggauss(nodes)
    return 2 * gammaincinv(freedom / 2, (places + 1) / 2) / freedom, weights / 2
