"""What a test of a claim may look at: the runs of one scale, chosen by experiment or settings; and what it makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from src.record.read import Run
from src.record.recipe import differing
from src.report.claims.decision import ClaimEffect
from src.report.findings.configurations import Configuration, Group, settings
from src.scaling.results import Fits
from src.statistics import Difference, Interval

Selector = str | dict[str, Any]  # an experiment's name, or settings by dotted key; none = any


def matches(configuration: Configuration, wanted: Selector) -> bool:
    """Whether an experiment or settings are a configuration's."""
    if isinstance(wanted, str):
        return any(run.name == wanted for run in configuration.measured)
    return all(configuration.config.get(key) == value for key, value in wanted.items())


def _number(run: Run, key: str) -> float | None:
    """A number of the configuration, or one that stands in every line of metrics.jsonl."""
    found = [run.config.get(key), *run.steps.get(key, [])[:1]]
    return next((float(v) for v in found if isinstance(v, int | float) and not isinstance(v, bool)), None)


@dataclass(frozen=True)
class Records:
    """What a test may look at: the runs of one scale, and the fits of scaling studies at it."""

    groups: tuple[Group, ...]
    configurations: tuple[Configuration, ...]
    fits: tuple[Fits, ...] = ()

    def named(self, experiment: Selector, *suites: str) -> Configuration | None:
        """The configuration of an experiment, or with some settings, that has the most seeds measured on all `suites`."""
        found = [c for c in self.configurations if matches(c, experiment) and all(self.group(suite, c) for suite in suites)]
        return max(found, key=lambda c: len(c.measured), default=None)

    def pair(self, first: Selector, second: Selector, suite: str) -> tuple[Configuration, Configuration] | None:
        """Two configurations measured in one way that differ in least else; of those the ones with most seeds."""
        pairs = [
            (one, other)
            for one in self.configurations
            for other in self.configurations
            if one is not other and matches(one, first) and matches(other, second) and self.group(suite, one, other)
        ]
        return min(
            pairs,
            key=lambda pair: (len(differing([settings(c.runs[0]) for c in pair])), -sum(len(c.measured) for c in pair)),
            default=None,
        )

    def along(self, key: str, where: dict[str, Any] | None = None) -> list[tuple[Configuration, float]]:
        """The configurations of the one experiment with most values of a number, each with its value."""
        by_name: dict[str, list[tuple[Configuration, float]]] = {}
        for configuration in self.configurations:
            value = _number(configuration.measured[0], key)
            if value is not None and matches(configuration, where or {}):
                by_name.setdefault(configuration.measured[0].name, []).append((configuration, value))
        return max(by_name.values(), key=lambda found: len({value for _, value in found}), default=[])

    def group(self, suite: str, *needed: Configuration) -> Group | None:
        """The group of a suite that holds all of `needed`."""
        keys = {configuration.key for configuration in needed}
        return next((g for g in self.groups if g.suite == suite and keys <= g.runs.keys()), None)


def in_hundredths(difference: Difference, *configurations: Configuration) -> ClaimEffect:
    """The effect of a difference of shares, in hundredths."""
    interval = difference.interval
    scaled = Interval(100 * interval.mean, 100 * interval.low, 100 * interval.high)
    return effect_of(scaled, difference.seeds, configurations, difference)


def effect_of(
    interval: Interval, seeds: int, configurations: Sequence[Configuration], difference: Difference | None = None
) -> ClaimEffect:
    costs = [c.measured[0].summary.get("cost", {}) for c in configurations if c.measured]
    usd = sum(cost.get("usd", 0.0) for cost in costs)
    seconds = sum(sum(cost.get("seconds", {}).values()) for cost in costs)
    evaluation = sum(cost.get("seconds", {}).get("evaluation", 0.0) for cost in costs)
    return ClaimEffect(interval, seeds, difference, usd, seconds, evaluation / seconds if seconds else 0.0)
