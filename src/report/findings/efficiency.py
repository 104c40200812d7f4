"""What shorter answers cost: runs under length pressure (reward.alpha), and the supervised control, against their base.

Study C of the claims, arXiv 2502.04463. Shapes: S seeds, P problems.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from src.drawing.table import plain
from src.record.recipe import differing
from src.report.findings.configurations import Configuration, Group, settings
from src.statistics import Difference, Interval, Side, contrast, difference, mean_of, share_of

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
    """The recipes that started from one model, in the order of their series and alphas; `told`: which, where there are several."""

    model: str
    recipes: tuple[Recipe, ...]
    told: str = ""

    def within(self, group: Group) -> list[Recipe]:
        return [recipe for recipe in self.recipes if recipe.configuration.key in group.runs]


def families(configurations: Sequence[Configuration]) -> list[Family]:
    """By model, where there are two values of alpha, or one and the supervised control; else none."""
    by_model: dict[str, list[Configuration]] = defaultdict(list)
    for configuration in configurations:
        if configuration.measured and (_pressed(configuration) or _supervised(configuration)):
            by_model[str(configuration.config.get("model.path", "the base"))].append(configuration)
    found = [Family(model, recipes) for model, members in by_model.items() if (recipes := _recipes(members))]
    return [replace(family, told=f" ({family.model})") for family in found] if len(found) > 1 else found


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

    accuracy_side: Side
    base_accuracy: Side
    tokens_side: Side
    base_tokens: Side

    @property
    def seeds(self) -> int:
        return len(self.accuracy_side.seeds)

    @property
    def accuracy(self) -> Interval:
        return share_of(self.accuracy_side)

    @property
    def tokens(self) -> Interval:
        return mean_of(self.tokens_side)

    @property
    def gain(self) -> Difference:
        return difference(self.accuracy_side, self.base_accuracy)

    @property
    def change(self) -> Interval:
        return relative_change(self.tokens_side, self.base_tokens).interval


def trade(group: Group, configuration: Configuration, at_P: np.ndarray | None = None, when: str | None = None) -> Trade:
    """On the problems at `at_P` (a mask), else on all; of the final weights, or those of a moment."""
    at = np.ones(len(group.measure.problems), bool) if at_P is None else at_P
    sides = (
        group.side(configuration, when),
        group.base(configuration),
        group.tokens_side(configuration, when),
        group.base_tokens(configuration),
    )
    return Trade(*(side.at(at) for side in sides))


def relative_change(tokens: Side, base: Side) -> Difference:
    """Mean tokens over the base's, less 1, paired by problem."""
    found = ratio([tokens], base)
    return replace(found, mean=found.mean - 1)


def ratio(sides: Sequence[Side], base: Side) -> Difference:
    """A weighted sum of means over the base's mean, paired by problem."""
    value, parts = ratio_sides(sides, base)
    return replace(contrast(parts), mean=value)


def ratio_sides(sides: Sequence[Side], base: Side) -> tuple[float, list[Side]]:
    """The value of a ratio of means, and the sides whose contrast varies as it does.

    The delta method: what varies is sum - ratio x base, in shares of the base's mean (Cochran, Sampling Techniques,
    section 6.4).
    """
    mean = float(base.values_SP.mean())
    value = sum(side.weight * float(side.values_SP.mean()) for side in sides) / mean
    return value, [*(side.times(1 / mean) for side in sides), base.times(-value / mean)]


def token_contrast(group: Group, sides: Sequence[tuple[float, Configuration]]) -> Difference:
    """Weighted sum of mean tokens, in shares of the mean of the first side's base; over seeds and problems."""
    tokens = [group.tokens_side(configuration).times(weight) for weight, configuration in sides]
    return ratio(tokens, group.base_tokens(sides[0][1]))
