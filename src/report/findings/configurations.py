"""Runs that differ in nothing but their seed form a configuration; measurements that can be compared form a group."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.common.screen import count
from src.drawing.table import plain
from src.record.left_out import LeftOut
from src.record.measures import Measure
from src.record.read import Run
from src.record.recipe import AMONG_SEEDS, counts, differing, recipe_of
from src.statistics import Side

MOST_TOLD = 4  # settings in a label
_CHOSEN = "choices."
_UNTOLD = "scale.name"  # in a label it says what other keys say better
SET = "set of problems"  # in a protocol: a fingerprint, which tells two sets apart and is never shown
DEFAULT = "default recipe"


@dataclass(frozen=True)
class Configuration:
    """A recipe, and its runs: one for each seed."""

    key: str
    label: str
    config: dict[str, Any]
    runs: tuple[Run, ...]

    @property
    def measured(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.measures)

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.measured]


@dataclass(frozen=True)
class Group:
    """Configurations measured on one suite in one way: these, and only these, are compared."""

    name: str  # the suite's, with how much was measured where that was done in several ways
    suite: str
    protocol: dict[str, Any]
    configurations: tuple[Configuration, ...]
    runs: dict[str, tuple[Run, ...]]  # by the configuration's key: its runs measured in this way

    @property
    def file_name(self) -> str:
        """What ends the names of its figures' files."""
        return in_a_file_name(self.name)

    @property
    def measure(self) -> Measure:
        return self.runs[self.configurations[0].key][0].final(self.suite)

    @property
    def by_accuracy(self) -> list[Configuration]:
        """The most accurate first."""
        return sorted(self.configurations, key=lambda c: -self.accuracy_SP(c).mean())

    @property
    def samples(self) -> int:
        """Samples of the problem that has fewest, over all runs."""
        return min(m.samples for c in self.configurations for when in ("before", None) for m in self.measures(c, when))

    @property
    def ks(self) -> list[int]:
        """1, 2, 4, … and all samples."""
        return sorted({self.samples, *(2**n for n in range(self.samples.bit_length()) if 2**n <= self.samples)})

    @property
    def levels(self) -> list[tuple[str, np.ndarray]]:
        """Each level of difficulty, with the mask of its problems (P)."""
        levels_P = self.measure.levels_P
        return [(level, levels_P == level) for level in sorted(set(levels_P.tolist()))]

    def measures(self, configuration: Configuration, when: str | None = None) -> list[Measure]:
        """By seed: the final weights, or those at a moment of training."""
        runs = self.runs[configuration.key]
        return [run.measures[self.suite, when] if when else run.final(self.suite) for run in runs]

    def accuracy_SP(self, configuration: Configuration, when: str | None = None) -> np.ndarray:
        """Accuracy by seed and problem."""
        return np.stack([measure.accuracy_P for measure in self.measures(configuration, when)])

    def tokens_SP(self, configuration: Configuration, when: str | None = None) -> np.ndarray:
        """Mean completion tokens by seed and problem."""
        return np.stack([measure.tokens_P for measure in self.measures(configuration, when)])

    def side(self, configuration: Configuration, when: str | None = None) -> Side:
        """Accuracy as a side of a comparison."""
        return self._side(configuration, self.accuracy_SP(configuration, when), self._effective_samples(configuration, when))

    def tokens_side(self, configuration: Configuration, when: str | None = None) -> Side:
        """Mean completion tokens as a side of a comparison."""
        return self._side(configuration, self.tokens_SP(configuration, when))

    def _side(self, configuration: Configuration, values_SP: np.ndarray, samples: int = 0) -> Side:
        return Side(values_SP, tuple(run.seed for run in self.runs[configuration.key]), samples=samples, problems=self.name)

    def _effective_samples(self, configuration: Configuration, when: str | None) -> int:
        return min(measure.effective_samples for measure in self.measures(configuration, when))

    def base(self, configuration: Configuration) -> Side:
        """Accuracy of the weights that training starts from, which no seed made."""
        return Side(self.base_P(configuration), samples=self._effective_samples(configuration, "before"), problems=self.name)

    def base_tokens(self, configuration: Configuration) -> Side:
        """Mean completion tokens of these weights."""
        return Side(self.tokens_SP(configuration, "before").mean(axis=0), problems=self.name)

    def base_P(self, configuration: Configuration) -> np.ndarray:
        """Accuracy of the weights that training starts from; the same for every seed but for how it was sampled."""
        return self.accuracy_SP(configuration, "before").mean(axis=0)


def in_a_file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")


def configurations(runs: Sequence[Run], default: Sequence[Path] = ()) -> tuple[list[Configuration], list[LeftOut]]:
    """Configurations in the order of their first run. Repeats of a configuration with the same seed are left out:
    they are no further evidence. Runs in a folder of `default` are of a sweep's recipe with nothing varied, and are called so."""
    by_key: dict[str, dict[int, Run]] = defaultdict(dict)
    left_out = []
    for run in runs:
        known = by_key[_key(run)].get(run.seed)
        if known is None or (run.measures and not known.measures):
            known, by_key[_key(run)][run.seed] = run, run
        elif run.measures:
            left_out.append(LeftOut(str(run.folder), f"a repeat of {known.folder}: same configuration, same seed"))
    unvaried = {key for key, seeds in by_key.items() if any(run.folder.parent in default for run in seeds.values())}
    first = {key: next(iter(seeds.values())) for key, seeds in by_key.items()}
    labels = _labels(first, unvaried)
    return [
        Configuration(key, labels[key], first[key].config, tuple(seeds[seed] for seed in sorted(seeds)))
        for key, seeds in by_key.items()
    ], left_out


def settings(run: Run) -> dict[str, Any]:
    """What makes a run's configuration, by dotted key."""
    return recipe_of(run.config, AMONG_SEEDS)


def _key(run: Run) -> str:
    text = json.dumps(settings(run), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _labels(first: dict[str, Run], unvaried: set[str]) -> dict[str, str]:
    """What differs between configurations of one name, before that name where there are several: labels are cut at their end."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for key, run in first.items():
        by_name[run.name].append(key)
    labels = {}
    for name, keys in by_name.items():
        told = _told([first[key].config for key in keys])
        for key in keys:
            values = {_tail(k): first[key].config.get(k) for k in told[:MOST_TOLD]}
            parts = [f"{k} unset" if value is None else f"{k}={plain(value)}" for k, value in values.items()]
            text = ", ".join([DEFAULT] * (key in unvaried) + parts) + (", …" if len(told) > MOST_TOLD else "")
            labels[key] = text if len(by_name) == 1 and text else f"{text} ({name})" if text else name
    taken = Counter(labels.values())
    return {key: f"{label} #{at}" if taken[label] > 1 else label for at, (key, label) in enumerate(labels.items(), 1)}


def _told(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Keys that tell configurations apart; what follows from the option chosen in its group is not told beside it.

    In a search, where every configuration has values of its own, settings that are drawn anew each time are all told.
    """
    configs = [_telling(config) for config in configs]
    factors = dict(together(configs))
    own = max((len(set(levels)) for levels in factors.values()), default=0) == len(configs) > 2
    keys = [*factors, *(key for key in differing(configs) if own and key not in factors and _drawn(key, configs))]
    told = [key for key in keys if not follows(key, factors)]
    return [key for key in told if key != _UNTOLD] or told


def _drawn(key: str, configs: Sequence[dict[str, Any]]) -> bool:
    """Whether a setting is drawn anew for each configuration, and does not come with the option of its group."""
    return _all_differ(key, configs) and not _all_differ(f"choices.{key.partition('.')[0]}", configs)


def _all_differ(key: str, configs: Sequence[dict[str, Any]]) -> bool:
    return len({json.dumps(config.get(key), default=str) for config in configs}) == len(configs)


def follows(key: str, factors: Mapping[str, list[int]]) -> bool:
    """Whether a setting has one level for each option of its group, by the levels that `together` found."""
    levels, of_choice = factors.get(key), factors.get(f"choices.{key.partition('.')[0]}")
    return levels is not None and of_choice is not None and len(set(zip(of_choice, levels, strict=True))) == len(set(of_choice))


def together(configs: Sequence[dict[str, Any]]) -> list[tuple[str, list[int]]]:
    """What differs between configurations: settings that always change together count once, under the chosen group or
    else the shortest key, with the number of each configuration's level; what has most levels first."""
    kept = [_telling(config) for config in configs]
    by_partition: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for key in differing(kept):
        values = [json.dumps(config.get(key), default=str) for config in kept]
        numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
        by_partition[tuple(numbers[value] for value in values)].append(key)
    named = [(_shortest(keys), list(partition)) for partition, keys in by_partition.items()]
    return sorted(named, key=lambda entry: (-len(set(entry[1])), entry[0]))


def _telling(config: Mapping[str, Any]) -> dict[str, Any]:
    """What may tell two configurations apart: what makes them, and the options chosen in the groups of it."""
    chosen = {key: value for key, value in config.items() if key.startswith(_CHOSEN)}
    of_recipe = {key: value for key, value in chosen.items() if counts(key.removeprefix(_CHOSEN), ("experiment",))}
    return recipe_of(config, AMONG_SEEDS) | of_recipe


def _shortest(keys: Sequence[str]) -> str:
    chosen = [key for key in keys if key.startswith("choices.")]
    return min(chosen or keys, key=lambda key: (key.count("."), len(key)))


def _tail(key: str) -> str:
    return ".".join(key.removeprefix("choices.").split(".")[-2:])


def groups(found: Sequence[Configuration]) -> list[Group]:
    """What can be compared: by suite, benchmarks first, and by protocol; of a suite the group with most evidence first."""
    runs: dict[tuple[str, str], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    protocols: dict[str, dict[str, Any]] = {}
    for configuration in found:
        for run in configuration.measured:
            for suite in run.suites:
                content = protocol(run, suite)
                text = json.dumps(content, sort_keys=True, default=str)
                protocols[text] = content
                runs[suite, text][configuration.key].append(run)
    suites = list(dict.fromkeys(suite for suite, _ in runs))
    order = sorted(runs, key=lambda pair: (pair[0] == "validation", suites.index(pair[0]), -_evidence(pair[0], runs[pair])))
    names = _group_names([(suite, protocols[text]) for suite, text in order])
    made = []
    for (suite, text), name in zip(order, names, strict=True):
        measured = {key: tuple(each) for key, each in runs[suite, text].items()}
        made.append(Group(name, suite, protocols[text], tuple(c for c in found if c.key in measured), measured))
    return made


def _evidence(suite: str, runs: dict[str, list[Run]]) -> int:
    return sum(len(run.measures[suite, "before"].problems) for measured in runs.values() for run in measured)


def _group_names(found: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """The suite; with how much was measured where there are several of it, and with a number where that is the same too."""
    suites = Counter(suite for suite, _ in found)
    names = [f"{suite} ({how_much(protocol)})" if suites[suite] > 1 else suite for suite, protocol in found]
    return [f"{name} #{names[:at].count(name) + 1}" if names.count(name) > 1 else name for at, name in enumerate(names)]


def how_much(protocol: Mapping[str, Any]) -> str:
    """`160 problems, 2 samples`."""
    return f"{count(protocol['problem count'], 'problem')}, {count(protocol['samples per problem'], 'sample')}"


def protocol(run: Run, suite: str, when: str = "before") -> dict[str, Any]:
    """How a suite was measured: what must agree before two accuracies are compared."""
    measure = run.measures[suite, when]
    half_width, most = (run.config.get(f"evaluation.{key}") for key in ("until.half_width", f"suites.{suite}.samples"))
    versions, start = run.summary["versions"], "evaluation.sampling."
    grader = versions.get("grader") or f"math-verify {versions.get('math-verify', 'of unknown version')}"
    sampling = {key.removeprefix(start): value for key, value in run.config.items() if key.startswith(start)}
    sampling.pop("batch_size", None)
    return {
        SET: hashlib.sha256("\n".join(measure.problems).encode()).hexdigest()[:8],
        "problem count": len(measure.problems),
        "samples per problem": f"up to {most} (until ±{100 * half_width:g} points)" if half_width else measure.samples,
        "sampling": json.dumps(sampling, sort_keys=True),
        "prompt": run.config.get("evaluation.prompt"),
        "reader": run.config.get("evaluation.reader", "boxed"),
        "grader": grader,
        "hardware": run.config.get("hardware.name"),
    }


def why_apart(found: Sequence[Group]) -> list[str]:
    """A sentence for each suite that was not measured by all, or not in one way."""
    by_suite: dict[str, list[Group]] = defaultdict(list)
    for group in found:
        by_suite[group.suite].append(group)
    sentences = []
    everyone = {configuration.key for group in found for configuration in group.configurations}
    for suite, parts in by_suite.items():
        there = {configuration.key for part in parts for configuration in part.configurations}
        if len(there) < len(everyone):
            sentences.append(
                f"{suite} was measured for {len(there)} of {len(everyone)} configurations; the others are not ranked on it, "
                "nor against these by another suite."
            )
        if len(parts) > 1:
            told = "; ".join(
                "other problems" if key == SET else f"{key}: {' or '.join(dict.fromkeys(plain(p.protocol[key]) for p in parts))}"
                for key in differing([part.protocol for part in parts])
            )
            sentences.append(f"{suite} was measured in {len(parts)} ways that cannot be ranked against each other ({told}).")
    return sentences
