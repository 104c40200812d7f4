"""What a study will find before it is run: its power, the difference that it can show, and the cheapest one for a difference."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from src.statistics.comparisons import ERROR, Design, Difference, Part, joint_freedom

POWER = 0.8  # of the smallest detectable difference: found in four of five tries


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

    def parts(self, design: Design) -> tuple[Part, Part]:
        """Variance of the mean between seeds, which holds the noise, and what problems add to it; see `contrast`."""
        samples = max(design.samples, 1)
        between = (self.seed + (self.cell + self.sample / samples) / design.problems) / design.seeds
        return Part(between, design.seeds - 1), Part((self.problem + self.fixed / samples) / design.problems, design.problems - 1)


@dataclass(frozen=True)
class Price:
    """Of a seed (its training), and of one sample of its evaluation, in any unit."""

    seed: float
    sample: float

    def of(self, design: Design) -> float:
        return design.seeds * (self.seed + design.problems * design.samples * self.sample)


def power(components: Components, design: Design, difference: float, error: float = ERROR) -> float:
    """The chance to find a true difference, two-sided at the level `error`: of the noncentral t."""
    from scipy.stats import nct, t

    parts = components.parts(design)
    freedom, deviation = joint_freedom(parts), sum(part.variance for part in parts) ** 0.5
    shift, limit = abs(difference) / deviation, float(t.isf(error / 2, freedom))
    return float(nct.sf(limit, freedom, shift) + nct.cdf(-limit, freedom, shift))


def detectable(components: Components, design: Design, chance: float = POWER, error: float = ERROR) -> float:
    """The difference that is found with a given chance."""
    parts = components.parts(design)
    return sum(part.variance for part in parts) ** 0.5 * _in_deviations(round(min(joint_freedom(parts), 1e4), 1), chance, error)


def detectable_by(measured: Difference, chance: float = POWER, error: float = ERROR) -> float:
    """The difference that another measurement of the same size would find with a given chance."""
    return max(measured.variance, measured.least) ** 0.5 * _in_deviations(round(min(measured.freedom, 1e4), 1), chance, error)


def cheapest(components: Components, difference: float, price: Price, designs: Iterable[Design]) -> Design | None:
    """Of some designs the cheapest that finds a difference in four of five tries; none where none does."""
    for design in sorted(designs, key=price.of):
        if power(components, design, difference) >= POWER:
            return design
    return None


@lru_cache(maxsize=10_000)
def _in_deviations(freedom: float, chance: float, error: float) -> float:
    """A difference found with a given chance, in standard errors."""
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    limit = float(t.isf(error / 2, freedom))
    return float(brentq(lambda shift: nct.sf(limit, freedom, shift) - chance, 0.0, 3 * limit + 10, xtol=1e-4))
