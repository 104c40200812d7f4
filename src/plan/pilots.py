"""Pilots: how much the difference of two recipes varies on a suite. From finished runs on disk, else from a table that says
where its figures are from; to add to it, write an entry in pilots.yaml.

Shapes: S seeds, P problems.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from src.common.errors import UserError
from src.common.types import LEVELS
from src.config.tree import LabConfig
from src.record.left_out import Unreadable
from src.record.read import Run, read_run, run_folders
from src.record.recipe import AMONG_SEEDS, recipe_of
from src.record.record import read_summary
from src.statistics import Components, Design, Side, difference

MOST_RUNS = 24  # that are read, the newest
MOST_PAIRS = 200  # of recipes
VALIDATION = "validation"
TABLE = Path(__file__).with_name("pilots.yaml")


@dataclass(frozen=True, slots=True)
class Pilot:
    """Variances of the difference of two recipes that were run on the same seeds and problems."""

    components: Components
    source: str  # where they are from, in words


def pilots(config: LabConfig) -> dict[str, Pilot]:
    """By suite, for the scale and model of a run: from the runs in its output folder, else from the table."""
    return in_table(config.scale.name) | on_disk(config)


@cache
def in_table(scale: str) -> dict[str, Pilot]:
    """By suite, nothing for a scale of which nobody measured any."""
    suites = yaml.safe_load(TABLE.read_text(encoding="utf-8")).get(scale, {})
    return {
        suite: Pilot(Components(**{part: points / 1e4 for part, points in entry["squared_points"].items()}), f"table: {entry['source']}")
        for suite, entry in suites.items()
    }


def on_disk(config: LabConfig) -> dict[str, Pilot]:
    """By suite, where finished runs of this scale and model hold two recipes over two seeds."""
    runs = list(islice(_alike(config), MOST_RUNS))
    found = {suite: of_sides(_sides(runs, suite)) for suite in (VALIDATION, *config.evaluation.suites)}
    return {suite: pilot for suite, pilot in found.items() if pilot}


def noise_of_a_run(config: LabConfig, objective: str) -> float | None:
    """Variance, between runs of one recipe under several seeds, of an accuracy that a sweep works on; None of any other figure,
    and where there is no pilot of it."""
    _, suite, *figure = objective.split(".")
    pilot = pilots(config).get(suite) if figure[1:] == ["accuracy"] else None
    if pilot is None or (design := _design(config, suite)) is None:
        return None
    return pilot.components.parts(replace(design, seeds=2))[0].variance  # of two recipes in the mean over two seeds


def _design(config: LabConfig, suite: str) -> Design | None:
    validation = config.evaluation.validation
    if suite == VALIDATION:
        return Design(1, len(LEVELS) * validation.problems_per_level, validation.samples)
    problems = config.evaluation.suites[suite].pool.size()
    return Design(1, problems, config.evaluation.suites[suite].samples) if problems else None


def of_sides(sides: Sequence[Side]) -> Pilot | None:
    """The mean over pairs of recipes that have two seeds in common; none without such a pair."""
    found = []
    for first, second in islice(combinations(sides, 2), MOST_PAIRS):
        if len(shared := [seed for seed in first.seeds if seed in second.seeds]) > 1:
            found.append((len(shared), Components.of(difference(*(_at(side, shared) for side in (first, second))))))
    if not found:
        return None
    components = Components.mean(each for _, each in found)
    if components == Components(0, 0, 0, 0, 0):  # alike on every problem, such as two that solve none
        return None
    seeds = min(count for count, _ in found)
    told = f"{len(found)} pair{'s' if len(found) > 1 else ''} of recipes over {seeds} seeds"
    return Pilot(components, f"runs on disk: {told}")


def _at(side: Side, seeds: Sequence[int]) -> Side:
    rows = [side.seeds.index(seed) for seed in seeds]
    return replace(side, values_SP=side.values_SP[rows], seeds=tuple(seeds))


def _alike(config: LabConfig) -> Iterator[Run]:
    """Measured runs of the same scale and model, the newest first."""
    root = Path(config.output_root)
    folders = (path for path in (run_folders(root) if os.path.isdir(root) else ()) if (path / "summary.json").is_file())
    for folder in sorted(folders, key=lambda path: -(path / "summary.json").stat().st_mtime):
        try:
            run = read_run(folder) if read_summary(folder).get("scale") == config.scale.name else None
        except (UserError, Unreadable):
            continue  # the report says what is wrong with it
        if run and run.measures and not run.only_measured and run.config.get("model.path") == config.model.path:
            yield run


def _sides(runs: Sequence[Run], suite: str) -> list[Side]:
    """A side for each recipe, of the runs that measured the suite in the way that most did."""
    measured: dict[tuple[Any, int], dict[str, dict[int, Any]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        if suite in run.suites:
            recipe = json.dumps(recipe_of(run.config, AMONG_SEEDS), sort_keys=True, default=str)
            final = run.final(suite)
            measured[final.problems, final.samples][recipe].setdefault(run.seed, final.accuracy_P)
    if not measured:
        return []
    (_, samples), recipes = max(measured.items(), key=lambda entry: sum(map(len, entry[1].values())))
    return [Side(np.stack(list(seeds.values())), tuple(seeds), samples=samples) for seeds in recipes.values()]
