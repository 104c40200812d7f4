"""What a test of a claim may look at: the runs of one scale, chosen by recipe or settings; and what it makes of them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from src.record.read import Run
from src.record.recipe import AMONG_SEEDS, differing, recipe_of
from src.report.claims.decision import ClaimEffect
from src.report.claims.recipes import RecipeConfig, Scale
from src.report.findings.configurations import Configuration, Group, settings
from src.scaling.results import Fits
from src.statistics import Difference, Interval

RECIPE = "recipe"
Selector = str | dict[str, Any]  # a recipe's name; or settings by dotted key, with that name under `recipe`; none = any


def _number(run: Run, key: str) -> float | None:
    """A number of the configuration, or one that stands in every line of metrics.jsonl."""
    found = [run.config.get(key), *run.steps.get(key, [])[:1]]
    return next((float(v) for v in found if isinstance(v, int | float) and not isinstance(v, bool)), None)


@dataclass(frozen=True)
class Records:
    """What a test may look at: the runs of one scale, the fits of scaling studies at it, and the recipes that may be asked for."""

    groups: tuple[Group, ...]
    configurations: tuple[Configuration, ...]
    fits: tuple[Fits, ...] = ()
    recipes: Mapping[str, RecipeConfig] = field(default_factory=dict)
    scale: Scale = "full"
    known: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # `faults`, once worked out

    def faults(self, recipe: str, configuration: Configuration) -> list[str]:
        """In what a configuration is not of a recipe, in words."""
        asked = (recipe, configuration.key)
        if asked not in self.known:
            self.known[asked] = self.recipes[recipe].faults(configuration.config, self.scale)
        return self.known[asked]

    def matching(self, wanted: Selector) -> list[Configuration]:
        """The configurations that are of a recipe, or have some settings."""
        choice = {RECIPE: wanted} if isinstance(wanted, str) else wanted
        recipe, own = choice.get(RECIPE), {key: value for key, value in choice.items() if key != RECIPE}
        return [
            each
            for each in self.configurations
            if all(each.config.get(key) == value for key, value in own.items())
            and not (recipe and self.faults(recipe, each))
        ]

    def by_step(self, step: int | None) -> "Records":
        """The same with those runs alone whose final weights are of a step up to this one."""
        if step is None:
            return self
        groups = tuple(group for each in self.groups if (group := _group_by(each, step)).runs)
        configurations = tuple(replace(c, runs=kept) for c in self.configurations if (kept := _by(c.measured, step)))
        return replace(self, groups=groups, configurations=configurations)

    def named(self, wanted: Selector, *suites: str) -> Configuration | None:
        """The configuration of a recipe, or with some settings, that has the most seeds measured on all `suites`."""
        found = [c for c in self.matching(wanted) if all(self.group(suite, c) for suite in suites)]
        return max(found, key=lambda c: len(c.measured), default=None)

    def pair(self, first: Selector, second: Selector, suite: str) -> tuple[Configuration, Configuration] | None:
        """Two configurations measured in one way that differ in least else; of those the ones with most seeds."""
        others = self.matching(second)
        pairs = [
            (one, other) for one in self.matching(first) for other in others if one is not other and self.group(suite, one, other)
        ]
        return min(
            pairs,
            key=lambda pair: (len(differing([settings(c.runs[0]) for c in pair])), -sum(len(c.measured) for c in pair)),
            default=None,
        )

    def along(self, key: str, where: Selector, besides: Sequence[str] = ()) -> list[tuple[Configuration, float]]:
        """Configurations that differ in a number, and in the keys and groups that go with it, alone, each with its value: of
        one experiment the ones with most values."""
        found: dict[str, list[tuple[Configuration, float]]] = {}
        for configuration in self.matching(where):
            value = _number(configuration.measured[0], key)
            if value is not None:
                rest = recipe_of(configuration.config, (*AMONG_SEEDS, key, *besides))
                same = json.dumps([configuration.measured[0].name, rest], sort_keys=True, default=str)
                found.setdefault(same, []).append((configuration, value))
        return max(found.values(), key=lambda each: len({value for _, value in each}), default=[])

    def group(self, suite: str, *needed: Configuration) -> Group | None:
        """The group of a suite that holds all of `needed`."""
        keys = {configuration.key for configuration in needed}
        return next((g for g in self.groups if g.suite == suite and keys <= g.runs.keys()), None)

    def runs_of(self, fits: Fits) -> Iterator[Configuration]:
        """The configurations whose runs a scaling study was fitted to."""
        folder = fits.folder.resolve()
        return (c for c in self.configurations if any(folder in run.folder.resolve().parents for run in c.runs))

    def fits_of(self, recipe: str) -> list[Fits]:
        """The fits to runs of a recipe alone."""
        matching = {c.key for c in self.matching(recipe)}
        return [fits for fits in self.fits if (keys := {c.key for c in self.runs_of(fits)}) and keys <= matching]


def _by(runs: Sequence[Run], step: int) -> tuple[Run, ...]:
    return tuple(run for run in runs if (best := run.summary.get("best_step")) is not None and best <= step)


def _group_by(group: Group, step: int) -> Group:
    runs = {key: kept for key, runs in group.runs.items() if (kept := _by(runs, step))}
    return replace(group, configurations=tuple(c for c in group.configurations if c.key in runs), runs=runs)


def of_one(
    records: Records, recipe: Selector, suite: str, measured: Callable[[Group, Configuration], Difference]
) -> ClaimEffect | None:
    """What is measured of the runs of a recipe on a suite, in hundredths."""
    configuration = records.named(recipe, suite)
    group = configuration and records.group(suite, configuration)
    return in_hundredths(measured(group, configuration), configuration) if configuration and group else None


def in_hundredths(difference: Difference, *configurations: Configuration) -> ClaimEffect:
    """The effect of a difference of shares, in hundredths."""
    interval = difference.interval
    scaled = Interval(100 * interval.mean, 100 * interval.low, 100 * interval.high)
    return effect_of(scaled, difference.seeds, configurations, difference)


def effect_of(
    interval: Interval, seeds: int, configurations: Sequence[Configuration], difference: Difference | None = None
) -> ClaimEffect:
    runs = [c.measured[0] for c in configurations if c.measured]
    seconds = sum(run.seconds for run in runs)
    evaluation = sum(run.summary.get("cost", {}).get("seconds", {}).get("evaluation", 0.0) for run in runs)
    return ClaimEffect(interval, seeds, difference, sum(run.usd for run in runs), seconds, evaluation / seconds if seconds else 0.0)
