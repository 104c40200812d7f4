"""The published claims, read from *.yaml beside this with the recipes that they are about, and the verdict of the records.

A claim has up to two tests: `full` on runs of its recipe at the published scale, and `micro` on the embedded model's analogue
of it, which says nothing of the published one. How something is measured stands in `effects`, when it decides in `decision`,
what a recipe is in `recipes`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml
from pydantic import Field

from src.common.base import Config
from src.common.screen import count
from src.record.read import Run
from src.report.claims.decision import Outcome, TestConfig, decide
from src.report.claims.effects import KINDS
from src.report.claims.recipes import RecipeConfig, Scale, in_words
from src.report.claims.records import RECIPE, Records, Selector
from src.report.findings.configurations import Configuration, Group
from src.scaling.results import Fits
from src.statistics import Difference

MOST_TOLD = 2  # configurations that are of another recipe


class ClaimConfig(Config):
    """One published claim."""

    id: str
    text: str
    source: str
    published: str  # the published figure, as text
    needs: str  # the runs it takes, in words
    test: str  # effect, direction and margin in words
    full: list[TestConfig] = Field(min_length=1)
    micro: list[TestConfig] = Field(default=[])  # empty where the claim makes no sense on the embedded model


class StudyConfig(Config):
    """The claims of a study, and the recipes that they are about, by name."""

    recipes: dict[str, RecipeConfig]
    claims: list[ClaimConfig]


@dataclass(frozen=True)
class ClaimVerdict:
    """The outcome at the published scale and on the micro model, each with the reason in words and the differences behind it."""

    claim: ClaimConfig
    at_scale: Outcome
    scale_reason: str
    scale_differences: tuple[Difference, ...]
    at_micro: Outcome
    micro_reason: str
    micro_differences: tuple[Difference, ...]

    @property
    def study(self) -> str:
        """Its letter."""
        return self.claim.id[0]


Tested = tuple[Outcome, str, tuple[Difference, ...]]


def read_studies() -> list[StudyConfig]:
    """The studies, with all claims of the project."""
    folder = resources.files("src.report.claims")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".yaml"))
    return [StudyConfig.model_validate(yaml.safe_load(folder.joinpath(name).read_text("utf-8"))) for name in names]


def test_claims(
    groups: Sequence[Group], configurations: Sequence[Configuration], fits: Sequence[Fits] = (), looks: int = 1
) -> list[ClaimVerdict]:
    """The verdict on every claim, as one of several `looks` at growing records."""
    verdicts = []
    for study in read_studies():
        about = groups, configurations, fits, study.recipes
        full, micro = records_of(*about, "full"), records_of(*about, "micro")
        for claim in study.claims:
            at_scale = _outcome(claim.full, full, f"needs {claim.needs}", looks)
            at_micro = _outcome(claim.micro, micro, "needs the same runs at scale micro", looks)
            verdicts.append(ClaimVerdict(claim, *at_scale, *at_micro))
    return verdicts


vars(test_claims)["__test__"] = False  # for pytest, which takes it for a test by its name


def scale_of(run: Run) -> Scale | None:
    """Micro of a run that trained an embedded model, whose verdicts are never shown as those of a published one; none of one
    that trained a random model, made to measure speed."""
    if run.summary["scale"] == "micro" or str(run.config.get("model.path", "")).startswith("embedded/"):
        return "micro"
    return None if run.config.get("model.init") == "random" else "full"


def records_of(
    groups: Sequence[Group],
    configurations: Sequence[Configuration],
    fits: Sequence[Fits],
    recipes: Mapping[str, RecipeConfig],
    scale: Scale,
) -> Records:
    """What is there of one scale."""
    chosen = tuple(c for c in configurations if c.measured and scale_of(c.measured[0]) == scale)
    keys, of_scale = {c.key for c in chosen}, tuple(each for each in fits if each.micro == (scale == "micro"))
    return Records(tuple(g for g in groups if keys & g.runs.keys()), chosen, of_scale, recipes, scale)


def _outcome(tests: Sequence[TestConfig], records: Records, needs: str, looks: int) -> Tested:
    if not tests:
        return "not measured", "makes no sense on the micro model", ()
    told: list[tuple[Outcome, str]] = []
    differences, late_runs = [], [_without_the_step(test, records) for test in tests]
    for test, late in zip(tests, late_runs, strict=True):
        effect = KINDS[test.kind](records.by_step(test.by_step), **test.of)
        fitted = f"{needs}, then python -m src.scaling <sweep folder>" if test.kind == "fitted" else needs
        outcome, reason = decide(test, effect, looks) if effect else ("not measured", fitted)
        if effect and late:  # those that have it are chosen by how they went
            outcome, reason = "undecided", f"{reason}; no verdict, since {late}"
        told.append((outcome, reason))
        differences += [effect.difference] if effect and effect.difference else []
    # All parts have to hold; one that does not is enough to contradict.
    order: tuple[Outcome, ...] = ("contradicted", "not measured", "undecided", "supported")
    worst = min((outcome for outcome, _ in told), key=order.index)
    notes = [late for late in late_runs if late and worst == "not measured"]
    words = "; ".join(dict.fromkeys([*(reason for _, reason in told), *notes, *_of_other_recipes(tests, records)]))
    return worst, words, tuple(differences)


def _without_the_step(test: TestConfig, records: Records) -> str:
    """Which runs of a test's recipes have no measurement by the step that it speaks of."""
    matching = {c.key: c for wanted in _selectors(test.of) for c in records.matching(wanted)}
    steps = [run.summary.get("best_step") for c in matching.values() for run in c.measured]
    late = [step for step in steps if test.by_step is not None and (step is None or step > test.by_step)]
    told = ", ".join(dict.fromkeys("unknown" if step is None else str(step) for step in late))
    which = f"{len(late)} of {len(steps)} runs of the recipe were not measured by step {test.by_step}"
    return f"{which} (their best weights are of step {told})" if late else ""


def _of_other_recipes(tests: Sequence[TestConfig], records: Records) -> Iterator[str]:
    """The runs of a recipe's experiment that are of another recipe, and why; the closest ones first."""
    for name in dict.fromkeys(_recipe(wanted) for test in tests for wanted in _selectors(test.of)):
        if name is None:
            continue
        experiment = records.recipes[name].experiment
        named = [c for c in records.configurations if experiment in (c.measured[0].name, c.config.get("choices.experiment"))]
        others = sorted(((faults, c) for c in named if (faults := records.faults(name, c))), key=lambda other: len(other[0]))
        if others:
            told = [f"{_runs(c)} ({in_words(faults)})" for faults, c in others[:MOST_TOLD]]
            rest = [f"{_runs(*(c for _, c in others[MOST_TOLD:]))} more"] if len(others) > MOST_TOLD else []
            yield f"not of the recipe {name}: {', '.join([*told, *rest])}"


def _runs(*configurations: Configuration) -> str:
    return count(sum(len(c.measured) for c in configurations), "run")


def _selectors(of: Mapping[str, Any]) -> list[Selector]:
    """What chooses the runs of a test."""
    single = [of[key] for key in (RECIPE, "first", "second", "where") if key in of]
    return [*single, *of.get("recipes", ()), *of.get("less", ())]


def _recipe(wanted: Selector) -> str | None:
    return wanted if isinstance(wanted, str) else wanted.get(RECIPE)
