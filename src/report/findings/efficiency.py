"""What shorter answers cost: runs under length pressure (reward.alpha), and the supervised control, against their base.

Study C of the claims, arXiv 2502.04463. Shapes: S seeds, P problems.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from src.drawing.table import plain
from src.record.recipe import differing
from src.report.findings.configurations import Configuration, Group, settings
from src.statistics import Difference, Interval, bootstrap_means, compare, contrast, mean_over_seeds

ALPHA, WEIGHT = "reward.alpha", "reward.weights.efficient"
MAIN, SUPERVISED = "length pressure", "supervised"
MOST_TOLD = 3  # settings in a series' name


@dataclass(frozen=True)
class Recipe:
    """A configuration of a family. A series holds those that differ in alpha alone; `alpha` is None without pressure."""

    configuration: Configuration
    series: str
    alpha: float | None

    @property
    def label(self) -> str:
        if self.alpha is None:
            return self.series
        return f"alpha {self.alpha:g}" + self.series.removeprefix(MAIN)


@dataclass(frozen=True)
class Family:
    """The recipes that started from one model, in the order of their series and alphas."""

    model: str
    recipes: tuple[Recipe, ...]

    def within(self, group: Group) -> list[Recipe]:
        return [recipe for recipe in self.recipes if recipe.configuration.key in group.runs]


def families(configurations: Sequence[Configuration]) -> list[Family]:
    """By model, where there are two values of alpha, or one and the supervised control; else none."""
    by_model: dict[str, list[Configuration]] = defaultdict(list)
    for configuration in configurations:
        if configuration.measured and (_pressed(configuration) or _supervised(configuration)):
            by_model[str(configuration.config.get("model.path", "the base"))].append(configuration)
    return [Family(model, recipes) for model, found in by_model.items() if (recipes := _recipes(found))]


def _pressed(configuration: Configuration) -> bool:
    return bool(configuration.config.get(WEIGHT)) and isinstance(configuration.config.get(ALPHA), int | float)


def _supervised(configuration: Configuration) -> bool:
    return configuration.config.get("algorithm.advantages") == "shortest_correct"


def _recipes(found: Sequence[Configuration]) -> tuple[Recipe, ...]:
    supervised = [c for c in found if _supervised(c)]
    series: dict[str, list[Configuration]] = defaultdict(list)
    for c in found:
        if not _supervised(c):
            kept = {key: value for key, value in settings(c.runs[0]).items() if key != ALPHA}
            series[json.dumps(kept, sort_keys=True, default=str)].append(c)
    ranked = sorted(series.values(), key=lambda members: (-len(members), -sum(len(c.measured) for c in members)))
    alphas = {c.config[ALPHA] for members in ranked for c in members}
    if not ranked or (len(alphas) < 2 and not supervised):
        return ()
    recipes = []
    for members in ranked:
        told = _told([ranked[0][0], members[0]], members[0])
        recipes += [Recipe(c, MAIN + told, c.config[ALPHA]) for c in sorted(members, key=lambda c: c.config[ALPHA])]
    return (*recipes, *(Recipe(c, SUPERVISED + _told(supervised, c), None) for c in supervised))


def _told(among: Sequence[Configuration], configuration: Configuration) -> str:
    """What tells a configuration apart `among` others, as the end of a name."""
    keys = [key for key in differing([settings(c.runs[0]) for c in among]) if key != ALPHA]
    told = [f"{key.rpartition('.')[2]}={plain(configuration.config.get(key))}" for key in keys[:MOST_TOLD]]
    return "".join(f", {each}" for each in told) + (", …" if len(keys) > MOST_TOLD else "")


@dataclass(frozen=True)
class Trade:
    """A recipe on some problems: what it gained in accuracy (a share) and how its tokens changed (in shares of the base's)."""

    seeds: int
    accuracy_SP: np.ndarray
    base_accuracy_P: np.ndarray
    tokens_SP: np.ndarray
    base_tokens_P: np.ndarray

    @property
    def accuracy(self) -> Interval:
        return mean_over_seeds(self.accuracy_SP)

    @property
    def tokens(self) -> Interval:
        return mean_over(self.tokens_SP)

    @property
    def gain(self) -> Interval:
        return compare([(self.accuracy_SP, self.base_accuracy_P)], fixed_second=True)[0].interval

    @property
    def change(self) -> Interval:
        return relative_change(self.tokens_SP, self.base_tokens_P)


def trade(group: Group, configuration: Configuration, at_P: np.ndarray | None = None, when: str | None = None) -> Trade:
    """On the problems at `at_P` (a mask), else on all; of the final weights, or those of a moment."""
    at = np.ones(len(group.measure.problems), bool) if at_P is None else at_P
    accuracy_SP, tokens_SP = group.accuracy_SP(configuration, when)[:, at], group.tokens_SP(configuration, when)[:, at]
    base_tokens_P = group.tokens_SP(configuration, "before").mean(axis=0)[at]
    return Trade(len(accuracy_SP), accuracy_SP, group.base_P(configuration)[at], tokens_SP, base_tokens_P)


def mean_over(values_SP: np.ndarray) -> Interval:
    """`mean_over_seeds` of what is not bound to lie between 0 and 1."""
    return bootstrap_means(values_SP)[0] if len(values_SP) == 1 else contrast([(1.0, values_SP)]).interval


def relative_change(tokens_SP: np.ndarray, base_P: np.ndarray) -> Interval:
    """Mean tokens over the base's, less 1, with the interval of a ratio of means paired by problem.

    The delta method: what varies is tokens - ratio x base, in shares of the base's mean (Cochran, Sampling Techniques,
    section 6.4).
    """
    ratio, mean = tokens_SP.mean() / base_P.mean(), base_P.mean()
    left = compare([(tokens_SP / mean, ratio * base_P / mean)], fixed_second=True)[0].interval
    return Interval(float(ratio) - 1, float(ratio) - 1 + left.low, float(ratio) - 1 + left.high)


def token_contrast(group: Group, sides: Sequence[tuple[float, Configuration]]) -> Difference:
    """Weighted sum of mean tokens, in shares of the mean of the first side's base; over seeds and problems."""
    base = float(group.tokens_SP(sides[0][1], "before").mean())
    return contrast([(weight, group.tokens_SP(configuration) / base) for weight, configuration in sides])


def named(family: Family, group: Group, several: bool) -> str:
    """The suite, and where there are several models, which."""
    return f"{group.name} ({family.model})" if several else group.name


def difficulties(group: Group) -> Iterator[tuple[str, np.ndarray]]:
    """The levels of a suite, each with the mask of its problems (P)."""
    levels_P = group.measure.levels_P
    for level in sorted(set(levels_P.tolist())):
        yield level, levels_P == level
