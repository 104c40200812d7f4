"""What the tests of claims measure: each kind of effect, from the runs of one scale.

To add a kind, write a function that takes `Records` and what the claim's YAML gives under `of`, and enter it in KINDS. It
returns None where the records do not hold what it needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from math import ceil
from typing import Any

import numpy as np

from src.record.read import Run
from src.report.claims.decision import ClaimEffect
from src.report.claims.records import RECIPE, Records, Selector, effect_of, in_hundredths, of_one
from src.report.claims.tokens import tokens_change, tokens_contrast, tokens_difference
from src.report.findings.configurations import Configuration
from src.statistics import contrast, t_interval
from src.statistics import difference as less

BUDGETS = 6  # at which the best number is looked for


def gain(records: Records, recipe: Selector, suite: str) -> ClaimEffect | None:
    """Accuracy of a recipe over its base, in points."""
    return of_one(records, recipe, suite, lambda group, c: less(group.side(c), group.base(c)))


def mean_gain(records: Records, recipe: Selector, suites: list[str]) -> ClaimEffect | None:
    """Gain over the base averaged over suites, in points; the spread over seeds and that over each suite's problems enter."""
    configuration = records.named(recipe, *suites)
    if configuration is None:
        return None
    groups = [group for suite in suites if (group := records.group(suite, configuration))]
    pairs = [(group.side(configuration), group.base(configuration).times(-1)) for group in groups]
    return in_hundredths(contrast([side.times(1 / len(groups)) for pair in pairs for side in pair]), configuration)


def largest_gain(records: Records, recipes: list[Selector], suite: str) -> ClaimEffect | None:
    """The largest gain among recipes, with an interval widened for having been chosen (Bonferroni, by t)."""
    effects = [effect for recipe in recipes if (effect := gain(records, recipe, suite))]
    if len(effects) < len(recipes):
        return None
    best = max(effects, key=lambda effect: effect.interval.mean)
    return replace(best, seeds=min(e.seeds for e in effects), chosen_of=len(effects))


def late_change(records: Records, recipe: Selector, suite: str) -> ClaimEffect | None:
    """Accuracy of the last weights less that of the best by validation, in points; paired by run and problem."""
    return of_one(records, recipe, suite, lambda group, c: less(group.side(c, "after"), group.side(c, "best")))


def accuracy(records: Records, recipe: Selector, suite: str) -> ClaimEffect | None:
    """Accuracy itself, in percent."""
    return of_one(records, recipe, suite, lambda group, c: contrast([group.side(c)]))


def difference(records: Records, first: Selector, second: Selector, suite: str) -> ClaimEffect | None:
    """Accuracy of one recipe less that of another, in points."""
    pair = records.pair(first, second, suite)
    group = pair and records.group(suite, *pair)
    return in_hundredths(less(group.side(pair[0]), group.side(pair[1])), *pair) if pair and group else None


def reuse(records: Records, recipe: str, repeats: int, suite: str) -> ClaimEffect | None:
    """Accuracy with each problem used so many times over less that with each used once, in points; says how many problems."""
    many, once = ({RECIPE: recipe, "mix.repeats": times} for times in (repeats, 1))
    pair = records.pair(many, once, suite)
    effect = difference(records, many, once, suite)
    presented = pair and pair[0].config.get("mix.size")
    return replace(effect, note=f"{repeats} times over are {presented // repeats} problems") if effect and presented else effect


def curve_change(records: Records, recipe: Selector, metric: str, start: list[float], end: list[float]) -> ClaimEffect | None:
    """Change of a training curve between two stretches of it, in per cent; a stretch is given as shares of all steps."""

    def change(run: Run) -> float | None:
        first, last = _stretch(run, metric, start), _stretch(run, metric, end)
        return 100 * (last / first - 1) if first and last is not None else None

    return _over_runs(records, recipe, change)


def _over_runs(records: Records, recipe: Selector, of: Callable[[Run], float | None]) -> ClaimEffect | None:
    """A number of each run of a recipe, as far as it has one."""
    configuration = records.named(recipe)
    values = [value for run in (configuration.measured if configuration else ()) if (value := of(run)) is not None]
    return effect_of(t_interval(values), len(values), [configuration]) if configuration and values else None


def _stretch(run: Run, metric: str, shares: Sequence[float]) -> float | None:
    values = run.steps.get(metric, [])
    low, high = int(shares[0] * len(values)), ceil(shares[1] * len(values))
    there = [value for value in values[low:high] if value is not None]
    return float(np.mean(there)) if there else None


def slope(records: Records, key: str, figure: str, suite: str, where: Selector) -> ClaimEffect | None:
    """Rank correlation (Kendall's tau, -1 to 1) of a figure with a setting, one value for each seed.

    Needs at least three values of the setting in one experiment, measured under the same seeds.
    """
    from scipy.stats import kendalltau

    by_seed: dict[int, list[tuple[float, float]]] = {}
    used = []
    for configuration, value in records.along(key, where):
        if group := records.group(suite, configuration):
            used.append(configuration)
            for run, measure in zip(group.runs[configuration.key], group.measures(configuration), strict=True):
                by_seed.setdefault(run.seed, []).append((value, getattr(measure, figure)))
    taus = [
        float(kendalltau(*zip(*points, strict=True)).statistic)
        for points in by_seed.values()
        if len({x for x, _ in points}) >= 3 and len({y for _, y in points}) > 1
    ]
    step = _step(min(map(len, by_seed.values()), default=0))
    return effect_of(t_interval(taus, step), len(taus), used) if taus else None


def won_at_equal(records: Records, key: str, axis: str, where: Selector, besides: Sequence[str] = ()) -> ClaimEffect | None:
    """Pairs of runs in which the one with the larger number, such as the model's size, has the better validation
    accuracy, less those in which it has the worse, as a share of all; one value for each seed, the mean over the models'
    variants (base, instruct). `besides` holds what goes with the number.

    Two runs are compared where both have come equally far along `axis`, a growing column of metrics.jsonl: as far as the
    one that came less far. Pairs that have no such place do not count. Needs at least three values of the number.
    """
    return _over_seeds(records.along(key, where, besides), axis, _won)


def best_grows(records: Records, key: str, axis: str, where: Selector, besides: Sequence[str] = ()) -> ClaimEffect | None:
    """Rank correlation (Kendall's tau, -1 to 1) of a budget along `axis` with the number that has the best validation
    accuracy at it, 0 where it is always the same one; over budgets that all runs of a seed have been measured at, one
    value for each seed. Needs at least three values of the number."""
    return _over_seeds(records.along(key, where, besides), axis, _growth_of_best)


Curve = tuple[float, np.ndarray, np.ndarray]  # of a run: the number, how far it had come, its accuracies


def _over_seeds(
    compared: Sequence[tuple[Configuration, float]], axis: str, of: Callable[[Sequence[Curve]], float | None]
) -> ClaimEffect | None:
    used: dict[Any, Configuration] = {}
    curves: dict[int, dict[Any, list[Curve]]] = {}
    for configuration, value in compared:
        for run in configuration.measured:
            points = zip(run.steps.get(axis, []), run.steps.get("validation/accuracy", []), strict=False)
            if curve := [(x, y) for x, y in points if x and y is not None]:
                by_variant = curves.setdefault(run.seed, {})
                by_variant.setdefault(run.config.get("model.variant"), []).append((value, *np.array(curve).T))
                used[configuration.key] = configuration
    values, counts = [], []
    for by_variant in curves.values():
        chosen = [(runs, count) for runs in by_variant.values() if (count := len({value for value, *_ in runs})) >= 3]
        if known := [(each, count) for runs, count in chosen if (each := of(runs)) is not None]:
            values.append(float(np.mean([each for each, _ in known])))
            counts += [count for _, count in known]
    return effect_of(t_interval(values, _step(min(counts))), len(values), list(used.values())) if values else None


def _won(curves: Sequence[Curve]) -> float | None:
    signs = []
    for (small, x, y), (large, other_x, other_y) in combinations(sorted(curves, key=lambda curve: curve[0]), 2):
        common = min(x[-1], other_x[-1])
        if small < large and max(x[0], other_x[0]) <= common:
            at = np.log(common)
            signs.append(np.sign(np.interp(at, np.log(other_x), other_y) - np.interp(at, np.log(x), y)))
    return float(np.mean(signs)) if signs else None


def _growth_of_best(curves: Sequence[Curve]) -> float | None:
    from scipy.stats import kendalltau

    first, last = max(x[0] for _, x, _ in curves), min(x[-1] for _, x, _ in curves)
    if first >= last:
        return None
    budgets = np.linspace(np.log(first), np.log(last), BUDGETS)
    accuracies = np.stack([np.interp(budgets, np.log(x), y) for _, x, y in curves])
    best = np.array([value for value, *_ in curves])[accuracies.argmax(axis=0)]
    return float(kendalltau(budgets, best).statistic) if len(set(best)) > 1 else 0.0


def _step(values: int) -> float:
    """Between two rank correlations of so many values: a pair more or less."""
    return 4 / (values * (values - 1)) if values > 1 else 0.0


def fitted(records: Records, number: str, recipe: str) -> ClaimEffect | None:
    """A number of a scaling study's fits by its dotted path."""
    found = [ClaimEffect(interval, fits.seeds) for fits in records.fits_of(recipe) if (interval := fits.number(number))]
    return max(found, key=lambda effect: effect.seeds, default=None)


def cost(records: Records, recipe: Selector, figure: str, steps: int) -> ClaimEffect | None:
    """Cost of a run in US dollars (`usd`) or hours (`hours`), scaled to a number of steps."""

    def scaled(run: Run) -> float | None:
        done, total = len(run.steps.get("step", [])), run.usd if figure == "usd" else run.seconds / 3600
        return total * steps / done if done and total else None

    return _over_runs(records, recipe, scaled)


KINDS: dict[str, Callable[..., ClaimEffect | None]] = {
    kind.__name__: kind
    for kind in (
        gain, mean_gain, largest_gain, late_change, accuracy, difference, reuse, tokens_change, tokens_contrast, tokens_difference,
        curve_change, slope, won_at_equal, best_grows, fitted, cost,
    )
}  # fmt: skip
