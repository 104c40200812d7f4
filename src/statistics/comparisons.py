"""One method for every interval: means of problems crossed with training seeds crossed with recipes.

What a recipe measures of a problem under a seed is the recipe's mean, and on top of it what the seed does to all recipes, what
it does to some or one of them, what the problem does, and noise. A contrast of recipes on the same problems and seeds takes
the common part off, so it is paired by both without being told to. Chosen among others by `benchmarks/referee.py`.

Shapes: S training seeds, P problems, U seeds of all sides together.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Literal

from src.statistics.intervals import Interval

FEWEST_SEEDS = 3  # with fewer training seeds nothing is claimed of a recipe, only of the weights it gave
ERROR = 0.05  # of an interval and of a verdict

Source = Literal["seeds", "problems", "samples"]


@dataclass(frozen=True)
class Side:
    """What one recipe measured, with its weight in a contrast.

    Rows of `values_SP` are the training `seeds`, or one row and none for fixed weights, such as a base's. Sides are paired
    by problem where their `problems` have the same name; `samples` of each were drawn, 0 where values are no shares of them.
    """

    values_SP: Any
    seeds: tuple[int, ...] = ()
    weight: float = 1.0
    samples: int = 0
    problems: str = ""

    def times(self, factor: float) -> "Side":
        return replace(self, weight=factor * self.weight)

    def at(self, problems_P: Any) -> "Side":
        """On some of the problems, by a mask."""
        return replace(self, values_SP=self.values_SP[..., problems_P])


@dataclass(frozen=True, slots=True)
class Part:
    """A variance of a mean, and the degrees of freedom that it is known on."""

    variance: float
    freedom: float


@dataclass(frozen=True, slots=True)
class Design:
    """How much was measured: training seeds of the side with fewer, problems of the smallest suite, samples a problem."""

    seeds: int
    problems: int
    samples: int


@dataclass(frozen=True, slots=True)
class Split:
    """Where a mean's variance comes from. `cells`: problem by seed; `fixed`: samples of what no seed made."""

    seeds: float  # falls with seeds alone
    problems: float  # with problems alone
    cells: float  # with both
    samples: float  # with seeds, problems and samples; holds `cells` where each problem has one sample
    fixed: float  # with problems and samples

    def shares(self) -> dict[Source, float]:
        """Of what more seeds, problems or samples would lower; empty where nothing varied."""
        parts: dict[Source, float] = {
            "seeds": self.seeds, "problems": self.problems + self.cells, "samples": self.samples + self.fixed,
        }  # fmt: skip
        total = sum(parts.values())
        return {source: part / total for source, part in parts.items()} if total else {}


@dataclass(frozen=True, slots=True)
class Difference:
    """A weighted sum of means. Its variance is that between seeds, which holds the noise, plus what problems add to it.

    Degrees of freedom are those of the parts by their shares, 1/f = sum of share_i / f_i: Satterthwaite's (1946) with shares
    in the place of their squares, since squares of a variance known on two degrees of freedom overrate it (the referee:
    over worlds of three seeds coverage of 92.9 % becomes 94.6 %).
    """

    mean: float
    between_seeds: Part
    by_problem: tuple[Part, ...]  # by suite
    least: float  # variance that samples alone leave, however alike seeds and problems came out
    split: Split
    design: Design
    loading: float  # sum of weight^2 / seeds: the variance between seeds by that of a single run
    weights: float  # sum of weight^2: what problems add by what they do to a single recipe
    by_seed: tuple[tuple[int, float], ...]  # deviations whose squares add up to the variance between seeds

    @property
    def seeds(self) -> int:
        return self.design.seeds

    @property
    def variance(self) -> float:
        return self.between_seeds.variance + sum(part.variance for part in self.by_problem)

    @property
    def freedom(self) -> float:
        return joint_freedom((self.between_seeds, *self.by_problem))

    @property
    def interval(self) -> Interval:
        return self.within(ERROR)

    @property
    def p(self) -> float:
        """Two-sided."""
        from scipy.special import stdtr

        parts = [(variance, freedom) for variance, freedom in self._known if variance]
        return float(max((2 * stdtr(freedom, -abs(self.mean) / variance**0.5) for variance, freedom in parts), default=self.mean == 0))

    @property
    def equal_within(self) -> float:
        """The smallest margin within which the difference is shown to lie, by two one-sided tests (Schuirmann 1987)."""
        wide = self.within(2 * ERROR)
        return max(abs(wide.low), abs(wide.high))

    def within(self, error: float) -> Interval:
        """The interval that misses with probability `error`."""
        from scipy.special import stdtrit

        half = max(-float(stdtrit(freedom, error / 2)) * variance**0.5 for variance, freedom in self._known)
        return Interval(self.mean, self.mean - half, self.mean + half)

    @property
    def _known(self) -> tuple[tuple[float, float], ...]:
        """The variance with its degrees of freedom; and the least, known without error: three seeds can lie close by chance."""
        return (self.variance, self.freedom), (self.least, inf)


def joint_freedom(parts: Sequence[Part]) -> float:
    """Degrees of freedom of a sum of variances, see `Difference`; infinite where nothing varies."""
    total = sum(part.variance for part in parts)
    return total / known if total and (known := sum(part.variance / part.freedom for part in parts)) else inf


def contrast(sides: Sequence[Side]) -> Difference:
    """The sum of the sides' means by their weights.

    Between seeds: the sides' deviations are summed seed by seed, so that what a seed has in common cancels (clustered by
    seed; Cameron, Gelbach & Miller 2011). With the same seeds on all sides that is the paired t, with none in common
    Welch's. A side of one seed is taken to spread as the others do, the pooled t. Where no side has two seeds only problems
    vary, and the interval speaks of those weights. Problems add their variance less the noise that is already counted
    (a crossed analysis of variance: Forster & Dickinson 1976).
    """
    import numpy as np

    sides = [replace(side, values_SP=np.atleast_2d(np.asarray(side.values_SP, float))) for side in sides]
    trained = [side for side in sides if side.seeds]
    if any(len(side.seeds) != len(side.values_SP) for side in trained):
        raise ValueError("a side needs a seed for each row")
    sums: dict[str, Any] = {}
    for side in sides:
        sums[side.problems] = sums.get(side.problems, 0.0) + side.weight * side.values_SP.mean(axis=0)
    rows = _deviations(trained)
    noise = {name: _variance(rows[name]) if name in rows else 0.0 for name in sums}
    by_problem = tuple(Part(max(_variance(sum_P) - noise[name], 0.0), max(sum_P.size - 1, 1)) for name, sum_P in sums.items())
    by_seed = sum(rows_UP.mean(axis=1) for rows_UP in rows.values()) if rows else np.zeros(0)
    between = Part(float((by_seed**2).sum()), _freedom(trained, by_seed))
    smallest, samples = min(sum_P.size for sum_P in sums.values()), min(side.samples for side in sides)
    design = Design(min((len(side.seeds) for side in trained), default=1), smallest, samples)
    split = _split(sides, between.variance, sum(part.variance for part in by_problem), sum(noise.values()))
    return Difference(
        float(sum(sum_P.mean() for sum_P in sums.values())),
        between,
        by_problem,
        max(split.samples + split.fixed if samples > 1 else 0.0, _alike_samples(design)),
        split,
        design,
        sum(side.weight**2 / len(side.seeds) for side in trained),
        sum(side.weight**2 for side in sides),
        tuple(zip(_seeds(trained), by_seed.tolist(), strict=True)) if rows and not _pooled(trained) else (),
    )


def _alike_samples(design: Design) -> float:
    """The variance of a share where all samples came out alike, as if half a one more of each kind had been drawn (Agresti &
    Min 2005); none for what is no share."""
    return 1 / (design.seeds * design.problems * design.samples + 2) ** 2 if design.samples else 0.0


def _deviations(trained: Sequence[Side]) -> dict[str, Any]:
    """By suite: what each seed does to each problem (U, P), summed over the sides and scaled so that the squares of its rows'
    means add up to the variance of the mean. Where a side has one seed: by side and seed, as if all sides spread alike."""
    import numpy as np

    own = sum(len(side.seeds) - 1 for side in trained)
    if not own:
        return {}
    place = {seed: number for number, seed in enumerate(_seeds(trained))}
    loading = sum(side.weight**2 / len(side.seeds) for side in trained)
    rows, first = {}, 0
    for side in trained:
        count, problems = side.values_SP.shape
        if _pooled(trained):
            scale, at, height = (loading / own) ** 0.5, slice(first, first + count), own + len(trained)
        else:
            scale, at, height = side.weight / (count * (count - 1)) ** 0.5, [place[seed] for seed in side.seeds], len(place)
        table = rows.setdefault(side.problems, np.zeros((height, problems)))
        np.add.at(table, at, scale * (side.values_SP - side.values_SP.mean(axis=0)))
        first += count
    return rows


def _seeds(trained: Sequence[Side]) -> list[int]:
    """Of all sides."""
    return list(dict.fromkeys(seed for side in trained for seed in side.seeds))


def _pooled(trained: Sequence[Side]) -> bool:
    """Whether sides have to be taken to spread alike between seeds, since one has a single seed."""
    return any(len(side.seeds) == 1 for side in trained)


def _freedom(trained: Sequence[Side], by_seed: Any) -> float:
    """Degrees of freedom of the variance between seeds: those of the pooled t, or Welch's (1947) over the sets of seeds that
    the same sides have, of which there is one where all have the same."""
    if _pooled(trained) or not by_seed.any():
        return max(sum(len(side.seeds) - 1 for side in trained), 1)
    sets: dict[tuple[bool, ...], list[float]] = defaultdict(list)
    for seed, deviation in zip(_seeds(trained), by_seed.tolist(), strict=True):
        sets[tuple(seed in side.seeds for side in trained)].append(deviation**2)
    return sum(map(sum, sets.values())) ** 2 / sum(sum(each) ** 2 / max(len(each) - 1, 1) for each in sets.values())


def _variance(values: Any) -> float:
    """Of a mean over problems, the last axis; of several rows, the sum of theirs."""
    problems = values.shape[-1]
    if problems < 2:
        return 0.0
    rest = values - values.mean(axis=-1, keepdims=True)
    return float((rest * rest).sum()) / (problems * (problems - 1))


def _split(sides: Sequence[Side], between: float, added: float, noise: float) -> Split:
    sampled = {bool(side.seeds): 0.0 for side in sides}
    for side in sides:
        if side.samples > 1:  # binomial, without bias
            spread = float((side.values_SP * (1 - side.values_SP)).mean()) / (side.samples - 1)
            sampled[bool(side.seeds)] += side.weight**2 * spread / side.values_SP.size
    if not noise:  # no side has two seeds
        sampled = {False: sum(sampled.values())}
    known = all(side.samples > 1 for side in sides)
    samples, fixed = min(sampled.get(True, 0.0), noise) if known else noise, min(sampled.get(False, 0.0), added)
    return Split(max(between - noise, 0.0), added - fixed, noise - samples, samples, fixed)


def difference(first: Side, second: Side) -> Difference:
    """First minus second."""
    return contrast([first, second.times(-1)])


def mean_of(side: Side) -> Interval:
    """Mean of one side with its interval."""
    return contrast([side]).interval


def share_of(side: Side) -> Interval:
    """`mean_of` what lies between 0 and 1."""
    found = mean_of(side)
    return Interval(found.mean, max(0.0, found.low), min(1.0, found.high))

