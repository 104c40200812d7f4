"""Models that were measured without training, compared with each other by the method of the page: paired by problem."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from src.drawing.table import spanned
from src.record.measures import Measure
from src.record.read import Run
from src.report.findings.configurations import how_much, protocol
from src.report.findings.verdict import Standing, equal, signed
from src.statistics import ERROR, Difference, Side, difference, error_at_each_of, holm, share_of

MOST_TOLD = 3  # comparisons in words


@dataclass(frozen=True)
class Pair:
    """Two models on one suite, first minus second; `p` is corrected for all pairs of all suites."""

    first: str
    second: str
    difference: Difference
    p: float
    error: float = ERROR

    @property
    def standing(self) -> Standing:
        if self.p < self.error:
            return "better" if self.difference.mean > 0 else "worse"
        return "not resolved"


@dataclass(frozen=True)
class ModelGroup:
    """Models measured on one suite in one way, the newest measurement of each."""

    suite: str
    protocol: dict[str, Any]
    measures: dict[str, Measure]  # by model
    pairs: tuple[Pair, ...] = ()


def side(measure: Measure) -> Side:
    return Side(measure.accuracy_P, samples=measure.effective_samples, problems=measure.suite)


def model_groups(records: Sequence[Run], looks: int = 1) -> list[ModelGroup]:
    """By suite and protocol, with all pairs of the models that have both in common."""
    found: dict[tuple[str, str], dict[str, Measure]] = defaultdict(dict)
    for record in records:
        for suite in record.suites:
            key = suite, json.dumps(protocol(record, suite, "measured"), sort_keys=True, default=str)
            found[key][str(record.summary.get("model"))] = record.measures[suite, "measured"]
    measured = [(key, measures, list(combinations(_ranked(measures), 2))) for key, measures in found.items()]
    differences = [difference(side(measures[a]), side(measures[b])) for _, measures, pairs in measured for a, b in pairs]
    corrected = iter(zip(differences, holm([each.p for each in differences]), strict=True))
    error = error_at_each_of(looks)
    return [
        ModelGroup(suite, json.loads(text), measures, tuple(Pair(a, b, *next(corrected), error) for a, b in pairs))
        for (suite, text), measures, pairs in measured
    ]


def _ranked(measures: dict[str, Measure]) -> list[str]:
    return sorted(measures, key=lambda model: -measures[model].accuracy)


def compared(group: ModelGroup) -> tuple[str, list[str]]:
    """The group in words: its heading, and what its models come to."""
    told = [f"{name}: {spanned(share_of(side(measure)), '.1f', 100, ' %')}." for name, measure in group.measures.items()]
    for pair in group.pairs[:MOST_TOLD]:
        resolved = f"{pair.standing} (p = {pair.p:.2g}, corrected for all pairs)"
        standing = equal(pair.difference) if pair.standing == "not resolved" else resolved
        told.append(f"{pair.first} against {pair.second}: {signed(pair.difference.interval)}, {standing}.")
    more = len(group.pairs) - MOST_TOLD
    heading = f"{group.suite}, models measured: {how_much(group.protocol)}"
    return heading, told + [f"And {more} more pairs."] * (more > 0)
