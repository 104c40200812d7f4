"""Whether what the report says holds, on simulated studies of which the truth is known: `python -m benchmarks.referee`.

The model: problems crossed with training seeds crossed with recipes. A problem has its chance to be solved, which a recipe
changes; a seed moves all recipes (`seed`), those of one level of a factor (`level`) and each by itself (`cell`), all standard
deviations in points; samples are binomial. Prints tables of: coverage of the 95 % intervals of every comparison on the page;
the candidates for the method; false winners among equal recipes; false decisions when it is looked at again; power as
promised and as had; how often a margin of equality is too small; what a search's best figure flatters; and rules for the
degrees of freedom. Standard errors of shares: 0.5 points with 2,000 trials.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
from scipy import stats
from scipy.special import stdtr

from src.plan.pilots import of_sides
from src.report.findings.efficiency import relative_change
from src.statistics import (
    ERROR,
    Components,
    Design,
    Difference,
    Side,
    contrast,
    corrected,
    difference,
    error_at_each_of,
    power,
    shrunken,
    steady_p_values,
)
from src.statistics.families import OWN_TIMES

CHANGES, SCATTER = 0.1, 0.1  # standard deviation of what a recipe does to a problem, and of what it does in each run of it


@dataclass(frozen=True)
class World:
    """How much varies (standard deviations in points), and how much is measured."""

    seed: float
    level: float
    cell: float
    problems: int
    samples: int
    seeds: int

    def __str__(self) -> str:
        return f"seed {self.seed:g}, level {self.level:g}, cell {self.cell:g}; {self.problems} × {self.samples}"

    def sides(self, rng: np.random.Generator, recipes: int, gap: float = 0.0, ends: bool = False) -> list[Side]:
        """A measurement of `recipes` recipes, every other one at the second level, and with `ends` one of their base; the first
        recipe is better by `gap` points."""
        chance_P = rng.uniform(0.3, 0.7, self.problems)
        moved_KS = self.seed * rng.standard_normal(self.seeds) + self.cell * rng.standard_normal((recipes, self.seeds))
        moved_KS += self.level * rng.standard_normal((2, self.seeds))[np.arange(recipes) % 2]
        moved_KS[0] += gap
        changed_KP = chance_P + CHANGES * rng.standard_normal((recipes, self.problems))
        scatter_KSP = SCATTER * rng.standard_normal((recipes, self.seeds, self.problems))
        values_KSP = self._drawn(rng, changed_KP[:, None, :] + moved_KS[:, :, None] / 100 + scatter_KSP)
        sides = [Side(values_SP, tuple(range(self.seeds)), samples=self.samples) for values_SP in values_KSP]
        return [*sides, Side(self._drawn(rng, chance_P), samples=self.samples)] if ends else sides

    def _drawn(self, rng: np.random.Generator, chances: np.ndarray) -> np.ndarray:
        return rng.binomial(self.samples, np.clip(chances, 0, 1)) / self.samples


SIZES = ((30, 32), (100, 4), (500, 1))
SPREADS = ((0, 0, 0), (4, 0, 0), (0, 3, 0), (2, 2, 2), (4, 3, 2))


def worlds(seeds: int) -> Iterator[World]:
    for spread, size in product(SPREADS, SIZES):
        yield World(*spread, *size, seeds)


def accuracy(world: World, rng: np.random.Generator) -> Difference:
    return replace_mean(contrast(world.sides(rng, 1)), 0.5)


def replace_mean(found: Difference, truth: float) -> Difference:
    """The error, whose interval should hold zero."""
    return replace(found, mean=found.mean - truth)


def gain(world: World, rng: np.random.Generator) -> Difference:
    return difference(*world.sides(rng, 1, ends=True))


def paired(world: World, rng: np.random.Generator) -> Difference:
    return difference(*world.sides(rng, 2))


def other_seeds(world: World, rng: np.random.Generator) -> Difference:
    first, second = replace(world, seeds=2 * world.seeds).sides(rng, 2)
    return difference(_of(first, range(world.seeds)), _of(second, range(world.seeds, 2 * world.seeds)))


def half_the_seeds(world: World, rng: np.random.Generator) -> Difference:
    first, second = replace(world, seeds=2 * world.seeds).sides(rng, 2)
    return difference(first, _of(second, range(world.seeds)))


def one_seed(world: World, rng: np.random.Generator) -> Difference:
    first, second = world.sides(rng, 2)
    return difference(first, _of(second, [0]))


def _of(side: Side, seeds: "range | list[int]") -> Side:
    return replace(side, values_SP=side.values_SP[list(seeds)], seeds=tuple(seeds))


def main_effect(world: World, rng: np.random.Generator) -> Difference:
    sides = world.sides(rng, 4)
    return contrast([side.times(sign / 2) for side, sign in zip(sides, (1, -1, 1, -1), strict=True)])


def interaction(world: World, rng: np.random.Generator) -> Difference:
    sides = world.sides(rng, 4)
    return contrast([side.times(sign) for side, sign in zip(sides, (1, -1, -1, 1), strict=True)])


def tokens(world: World, rng: np.random.Generator) -> Difference:
    """A recipe that cuts length by a fifth, by seed and problem; a base that varies from sample to sample."""
    base_P = rng.lognormal(5, 0.5, world.problems)
    by_seed = world.seed * rng.standard_normal(world.seeds) + world.cell * rng.standard_normal(world.seeds)
    share_SP = 0.8 + by_seed[:, None] / 100 + CHANGES * rng.standard_normal(world.problems)
    noise = [1 + rng.standard_normal(shape) * 0.4 / world.samples**0.5 for shape in ((world.seeds, world.problems), world.problems)]
    tokens_side = Side(base_P * share_SP * noise[0], tuple(range(world.seeds)))
    return replace_mean(relative_change(tokens_side, Side(base_P * noise[1])), -0.2)


def two_suites(world: World, rng: np.random.Generator) -> Difference:
    """A gain averaged over two suites that were measured on the same runs."""
    after, before = world.sides(rng, 1, ends=True)
    half = world.problems // 2
    parts = [(side.at(slice(at, at + half)), name) for side in (after, before.times(-1)) for at, name in ((0, "a"), (half, "b"))]
    return contrast([replace(side.times(0.5), problems=name) for side, name in parts])


KINDS: dict[str, Callable[[World, np.random.Generator], Difference]] = {
    "accuracy": accuracy,
    "gain over the base": gain,
    "difference, same seeds": paired,
    "difference, other seeds": other_seeds,
    "difference, half the seeds shared": half_the_seeds,
    "difference, one seed on a side": one_seed,
    "main effect, four cells": main_effect,
    "interaction, four cells": interaction,
    "tokens against the base": tokens,
    "gain over two suites": two_suites,
}


def coverage(trials: int) -> None:
    print("\n| interval, 95 % | three seeds | six seeds |\n| --- | ---: | ---: |")
    for name, kind in KINDS.items():
        ranges = []
        for seeds in (3, 6):
            shares = [covered(kind, world, trials) for world in worlds(seeds)]
            ranges.append(f"{100 * np.mean(shares):.1f} ({100 * min(shares):.1f} to {100 * max(shares):.1f})")
        print(f"| {name} | {' | '.join(ranges)} |", flush=True)


def covered(kind: Callable[[World, np.random.Generator], Difference], world: World, trials: int) -> float:
    rng = np.random.default_rng(0)
    return float(np.mean([abs(found.mean) <= found.interval.high - found.mean for found in (kind(world, rng) for _ in range(trials))]))


def candidates(trials: int) -> None:
    """Other methods for the difference of two recipes with the same seeds."""
    print("\n| difference of two recipes | three seeds | six seeds |\n| --- | ---: | ---: |")
    ranges: dict[str, list[str]] = {}
    for seeds in (3, 6):
        shares: dict[str, list[float]] = {}
        for world in worlds(seeds):
            rng = np.random.default_rng(0)
            found = [_candidates(*world.sides(rng, 2), rng) for _ in range(trials)]
            for name in found[0]:
                shares.setdefault(name, []).append(float(np.mean([each[name] for each in found])))
        for name, each in shares.items():
            ranges.setdefault(name, []).append(f"{100 * np.mean(each):.1f} ({100 * min(each):.1f} to {100 * max(each):.1f})")
    for name, each in ranges.items():
        print(f"| {name} | {' | '.join(each)} |", flush=True)


def _candidates(first: Side, second: Side, rng: np.random.Generator) -> dict[str, bool]:
    """Whether the interval of each holds zero."""
    ours = difference(first, second)
    unpaired = difference(first, replace(second, seeds=tuple(-1 - seed for seed in second.seeds)))
    parts, variance = (ours.between_seeds, *ours.by_problem), ours.variance
    squares = variance**2 / sum(part.variance**2 / part.freedom for part in parts)
    values_SP = first.values_SP - second.values_SP
    seeds, problems = values_SP.shape
    by_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), 400) / seeds
    by_problem = rng.multinomial(problems, np.full(problems, 1 / problems), 400) / problems
    low, high = np.percentile(((by_seed @ values_SP) * by_problem).sum(axis=1) - ours.mean, [2.5, 97.5])
    corrected = (seeds / (seeds - 1)) ** 0.5 * stats.t.isf(0.025, seeds - 1) / 1.96
    mixed = max(ours.split.seeds, 0) + ours.by_problem[0].variance + ours.split.cells + ours.split.samples
    return {
        "seeds as independent of each other (Welch)": abs(ours.mean) <= unpaired.interval.high - unpaired.mean,
        "mixed model with a normal quantile": abs(ours.mean) <= 1.96 * mixed**0.5,
        "percentile bootstrap of seeds and problems": low <= -ours.mean <= high,
        "the same, widened for few seeds": corrected * low <= -ours.mean <= corrected * high,
        "t over seeds, and problems not at all": abs(ours.mean) <= stats.t.isf(0.025, seeds - 1) * ours.between_seeds.variance**0.5,
        "each part with its t, squares added up": ours.mean**2 <= sum(stats.t.isf(0.025, p.freedom) ** 2 * p.variance for p in parts),
        "Satterthwaite's degrees of freedom": abs(ours.mean) <= stats.t.isf(0.025, squares) * variance**0.5,
        "degrees of freedom by shares (ours)": abs(ours.mean) <= ours.interval.high - ours.mean,
    }


def false_winners(trials: int) -> None:
    """Studies of equal recipes in which any is called better than another."""
    counts = (2, 3, 8, 9, 24, 48)
    print(f"\n| seeds | {' | '.join(f'{count} recipes' for count in counts)} |\n| --- |{' ---: |' * len(counts)}")
    for seeds in (3, 6):
        cells = []
        for count in counts:
            chosen = list(product(SPREADS, SIZES[:2]))[:: 1 if count < 24 else 3]  # the work grows with the pairs
            shares = [family_error(World(*spread, *size, seeds), count, trials // max(1, count // 6)) for spread, size in chosen]
            cells.append(f"{100 * np.mean(shares):.1f} (at most {100 * max(shares):.1f})")
        print(f"| {seeds} | {' | '.join(cells)} |", flush=True)


def family_error(world: World, recipes: int, trials: int) -> float:
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(trials):
        found = [difference(*pair) for pair in combinations(world.sides(rng, recipes), 2)]
        wrong += min(corrected(found, steady_p_values(found, recipes - 1))) < ERROR
    return wrong / trials


def families(trials: int) -> None:
    """The correction for many on normal studies, all at once: false findings where recipes are equal, also where one or two of
    them move by so many points from seed to seed; and how much is found of a recipe that is better by 8 points, or of one effect
    of 4. Beside it each by its own spread alone, the spread of all alone, and other shares of the two. Three seeds."""
    rules = ("own spread", "spread of all", "twice the own", "four times (ours)", "ten times")
    print(f"\n| family, three seeds | figure | {' | '.join(rules)} |\n| --- | --- |{' ---: |' * len(rules)}", flush=True)
    for name, contrasts in {"8 recipes": _pairs(8), "20 recipes": _pairs(20), "48 recipes": _pairs(48), "16 cells": _factorial()}.items():
        number = max(200, trials * 28 // len(contrasts))
        for figure, moves, gap in _FAMILIES["16 cells" if name == "16 cells" else "recipes"]:
            better = np.abs(contrasts[:, 0]) * gap if name != "16 cells" else gap * (np.arange(len(contrasts)) == 1)
            p_values = _normal_studies(contrasts, number, moves, better)
            shares = [(p < ERROR)[:, better > 0].mean() if gap else (p < ERROR).any(axis=1).mean() for p in p_values]
            print(f"| {name} | {figure} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |", flush=True)


# Standard deviations in points of a seed's move of one level, and of the last two recipes; and what the first is better by.
_FAMILIES = {
    "recipes": [
        ("false, all alike", (0, 0, 0), 0), ("false, levels move by 3", (3, 0, 0), 0), ("false, one moves by 5", (0, 0, 5), 0),
        ("false, one moves by 10", (0, 0, 10), 0), ("false, two move by 10", (0, 10, 10), 0), ("found, 8 points", (0, 0, 0), 8),
    ],
    "16 cells": [
        ("false, all alike", (0, 0, 0), 0), ("false, levels move by 3", (3, 0, 0), 0), ("false, levels move by 6", (6, 0, 0), 0),
        ("found, 4 points", (0, 0, 0), 4),
    ],
}  # fmt: skip


def _pairs(recipes: int) -> np.ndarray:
    first, second = np.array(list(combinations(range(recipes), 2))).T
    return np.eye(recipes)[first] - np.eye(recipes)[second]


def _factorial() -> np.ndarray:
    """Main effects and interactions of four factors of two levels, the first by the recipe's number."""
    signs = np.array([[1 - 2 * (cell >> factor & 1) for cell in range(16)] for factor in range(4)])
    return np.vstack([signs, [signs[a] * signs[b] for a, b in combinations(range(4), 2)]]) / 8


def _normal_studies(contrasts: np.ndarray, trials: int, moves: tuple[float, float, float], gap: np.ndarray) -> list[np.ndarray]:
    """p-values by study and contrast under each rule; noise of 2 points a run, 1 by problem, which is known."""
    rng, (number, recipes), seeds = np.random.default_rng(0), contrasts.shape, 3
    runs = 2 * rng.standard_normal((trials, recipes, seeds))
    runs += moves[0] * rng.standard_normal((trials, 2, seeds))[:, np.arange(recipes) % 2]
    runs[:, -2:] += np.array(moves[1:])[:, None] * rng.standard_normal((trials, 2, seeds))
    by_seed = np.einsum("er,trs->tes", contrasts, runs)
    means = by_seed.mean(axis=2) + rng.standard_normal((trials, recipes)) @ contrasts.T + gap
    loading, by_problem = (contrasts**2).sum(axis=1) / seeds, (contrasts**2).sum(axis=1)
    rows = (by_seed - by_seed.mean(axis=2, keepdims=True)) / (seeds * (seeds - 1)) ** 0.5
    between = (rows**2).sum(axis=2)
    spread = (between / loading).mean(axis=1, keepdims=True) * loading
    gram = np.einsum("tes,teu->tsu", rows / loading[:, None] ** 0.5, rows / loading[:, None] ** 0.5)
    directions = np.trace(gram, axis1=1, axis2=2) ** 2 / (gram**2).sum(axis=(1, 2))
    most, dimensions = seeds - 1, min(recipes - 1, number)
    freedom = np.clip(most * (seeds * directions - 2) / np.maximum(most - directions, 1e-9), most, most * dimensions)[:, None]
    own = _p(means, between, by_problem, most)
    steady = _p(means, np.maximum(between, spread), by_problem, freedom)
    mixed = [np.maximum(_holm(steady), np.minimum(times * own, 1)) for times in (2, OWN_TIMES, 10)]
    return [_holm(np.maximum(own, steady)), _holm(steady), *mixed]


def _p(means: np.ndarray, between: np.ndarray, by_problem: np.ndarray, freedom: "np.ndarray | int") -> np.ndarray:
    variance = between + by_problem
    return 2 * stdtr(np.minimum(freedom * variance / np.maximum(between, 1e-12), 1e6), -np.abs(means) / variance**0.5)


def _holm(p_values: np.ndarray) -> np.ndarray:
    order = p_values.argsort(axis=1)
    ranked = np.take_along_axis(p_values, order, 1) * np.arange(p_values.shape[1], 0, -1)
    return np.take_along_axis(np.minimum(np.maximum.accumulate(ranked, axis=1), 1), order.argsort(axis=1), 1)


def looking_again(trials: int) -> None:
    """False decisions where a seed is added after each look that decided nothing, from three on."""
    print("\n| looks | corrected | each at 5 % |\n| ---: | ---: | ---: |")
    for looks in (1, 2, 4, 8):
        shares = {error: [] for error in (error_at_each_of(looks), ERROR)}
        for spread, size in product(SPREADS, SIZES[:2]):
            rng, world = np.random.default_rng(0), World(*spread, *size, 2 + looks)
            smallest = [_smallest_p(*world.sides(rng, 2), looks) for _ in range(trials)]
            for error, found in shares.items():
                found.append(float(np.mean(np.array(smallest) < error)))
        told = [f"{100 * np.mean(each):.1f} (at most {100 * max(each):.1f})" for each in shares.values()]
        print(f"| {looks} | {told[0]} | {told[-1]} |", flush=True)


def _smallest_p(first: Side, second: Side, looks: int) -> float:
    return min(difference(_of(first, range(seeds)), _of(second, range(seeds))).p for seeds in range(3, 3 + looks))


def promised_power(trials: int) -> None:
    """The power that a plan promises from the variances of a pilot (4 recipes x 4 seeds, and a large one), and what is had."""
    print("\n| world | seeds | gap in points | promised by a large pilot | had | promised by small ones, mean (and middle 80 %) |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    apart = []
    for spread, size, seeds in product(SPREADS[1:], SIZES, (3, 6)):
        rng, world = np.random.default_rng(0), World(*spread, *size, seeds)
        large = piloted(replace(world, seeds=40, problems=500), rng, 2, 60)
        small = [piloted(replace(world, seeds=4), rng, 4, 1) for _ in range(40)]
        design = Design(seeds, world.problems, world.samples)
        for gap in (4, 8):
            promised, guessed = power(large, design, gap / 100), [power(each, design, gap / 100) for each in small]
            had = np.mean([difference(*world.sides(rng, 2, gap)).p < ERROR for _ in range(trials)])
            apart.append((abs(promised - had), np.mean(guessed) - had))
            low, high = np.percentile(guessed, [10, 90])
            told = f"{np.mean(guessed):.0%} ({low:.0%} to {high:.0%})"
            print(f"| {world} | {seeds} | {gap} | {promised:.0%} | {had:.0%} | {told} |", flush=True)
    by_large, by_small = np.array(apart).T
    print(f"\nlarge pilots: {100 * by_large.mean():.1f} points apart in the mean, {100 * by_large.max():.1f} at most, ", end="")
    print(f"{np.mean(by_large <= 0.05):.0%} within 5; small ones in the mean {100 * by_small.mean():+.1f}")


def piloted(world: World, rng: np.random.Generator, recipes: int, times: int) -> Components:
    """As the plan takes them: the mean over pairs of recipes, of several pilots."""
    found = [of_sides(world.sides(rng, recipes)) for _ in range(times)]
    return Components.mean(pilot.components for pilot in found if pilot)


def searches(trials: int) -> None:
    """By how many points the best of a search is better than it is under other seeds: its own figure, and shrunk. True values
    are normal, or most near a ceiling with some far below, as a sampler that has found the good region leaves them."""
    print("\n| trials | noise of a figure | spread of true values | shape | its own figure | shrunk | on fresh seeds |")
    print("| ---: | ---: | ---: | --- | ---: | ---: | ---: |")
    for count, noise, spread, shape in product((8, 20, 60), (1, 2), (0, 1, 3), ("normal", "near a ceiling")):
        rng = np.random.default_rng(0)
        found = np.array([_flattered(rng, count, noise, spread, shape) for _ in range(trials)])
        told = " | ".join(f"{mean:+.2f}" for mean in found.mean(axis=0))
        print(f"| {count} | {noise} | {spread} | {shape} | {told} |", flush=True)


def _flattered(rng: np.random.Generator, count: int, noise: float, spread: float, shape: str) -> tuple[float, float, float]:
    true = rng.standard_normal(count) if shape == "normal" else 1 - rng.standard_exponential(count)
    measured = spread * true + noise * rng.standard_normal(count)
    best = int(measured.argmax())
    fresh = spread * true[best] + noise * rng.standard_normal(3).mean()
    values = np.array([measured[best], shrunken(measured.tolist(), noise**2)[best], fresh])
    return tuple(values - spread * true[best])


def freedom(trials: int) -> None:
    """Rules for the degrees of freedom, worked out without drawing: the variance between seeds is a share of all and known on
    few degrees of freedom, that by problem is known. Errors of a test at 5 % over all shares, and its power at 4 deviations."""
    print("\n| degrees of freedom | three seeds: error, power | six seeds: error, power |\n| --- | ---: | ---: |")
    for name, rule in FREEDOMS.items():
        cells = []
        for seeds in (3, 6):
            errors, powers = np.array([_by_share(rule, share, seeds - 1) for share in np.linspace(0.02, 1, 50)]).T
            cells.append(f"{100 * errors.mean():.1f} (at most {100 * errors.max():.1f}), {100 * powers.mean():.0f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


FREEDOMS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "by squared shares (Satterthwaite)": lambda share, own: own / share**2,
    "by shares (ours)": lambda share, own: own / share,
    "by shares to the power 0.8": lambda share, own: own / share**0.8,
    "by shares, a fifth more of them": lambda share, own: own / np.minimum(1.2 * share, 1),
    "those of seeds alone": lambda share, own: np.full_like(share, own),
}


def _by_share(rule: Callable[[np.ndarray, int], np.ndarray], true: float, own: int) -> tuple[float, float]:
    """Error and power where seeds have the share `true` of a variance of 1."""
    seeds = true * stats.chi2.ppf((np.arange(400) + 0.5) / 400, own) / own
    variance = seeds + 1 - true
    limits = stats.t.isf(0.025, rule(seeds / variance, own)) * variance**0.5
    return 2 * stats.norm.sf(limits).mean(), (stats.norm.sf(limits - 4) + stats.norm.sf(limits + 4)).mean()


def equality(trials: int) -> None:
    """How often a margin of equality that is shown is smaller than the true difference."""
    print("\n| true difference in points | three seeds | six seeds |\n| ---: | ---: | ---: |")
    for gap in (2, 5):
        cells = []
        for seeds in (3, 6):
            shares = []
            for world in worlds(seeds):
                rng = np.random.default_rng(0)
                shares.append(np.mean([difference(*world.sides(rng, 2, gap)).equal_within < gap / 100 for _ in range(trials)]))
            cells.append(f"{100 * np.mean(shares):.1f} (at most {100 * max(shares):.1f})")
        print(f"| {gap} | {' | '.join(cells)} |", flush=True)


TABLES = {
    "coverage": coverage,
    "candidates": candidates,
    "winners": false_winners,
    "families": families,
    "looks": looking_again,
    "power": promised_power,
    "searches": searches,
    "freedom": freedom,
    "equality": equality,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=list(TABLES), help=f"some of {', '.join(TABLES)} (default: all)")
    parser.add_argument("--trials", type=int, default=2000, help="simulated studies of each world")
    options = parser.parse_args()
    for name in options.tables:
        TABLES[name](options.trials)


if __name__ == "__main__":
    main()
