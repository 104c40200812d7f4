"""Everything that the page says, worked out once from the records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.drawing.chart import Figure
from src.drawing.table import Table
from src.record.left_out import LeftOut
from src.record.read import Run, read_all
from src.report.claims.claims import ClaimVerdict, test_claims
from src.report.findings.answer import Answer, answer
from src.report.findings.configurations import Configuration, Group, configurations, groups, why_apart
from src.report.findings.effects import Factorial, factorials, in_words
from src.report.findings.equal_cost import EqualCost, at_equal_cost, told
from src.report.findings.models import ModelGroup, compared, model_groups
from src.report.findings.verdict import Judgement, benchmarks, judge, sentences
from src.scaling.results import of_sweeps, read_fits
from src.sweep.read import SweepRecord, read_sweeps


@dataclass(frozen=True)
class Analysis:
    """The runs that could be read, what they say, and what was left out."""

    paths: tuple[Path, ...]
    runs: tuple[Run, ...]
    picked: tuple[Run, ...]  # by searches, for their figure: no evidence
    configurations: tuple[Configuration, ...]
    groups: tuple[Group, ...]
    verdict: Judgement
    answer: Answer
    sentences: tuple[tuple[str, list[str]], ...]
    apart: tuple[str, ...]
    factorials: tuple[Factorial, ...]
    equal_costs: tuple[EqualCost, ...]
    sweeps: tuple[SweepRecord, ...]
    claims: tuple[ClaimVerdict, ...]
    left_out: tuple[LeftOut, ...]
    unfinished: tuple[LeftOut, ...]  # runs with curves and without a verdict
    scaling_figures: tuple[Figure, ...]
    scaling_tables: tuple[Table, ...]
    looks: int  # at growing records, over which the errors are spent
    models: tuple[ModelGroup, ...]  # measured without training

    @property
    def studies(self) -> set[str]:
        """Those that the runs speak to: they measure something of a claim."""
        return {claim.study for claim in self.claims if {claim.at_scale, claim.at_micro} != {"not measured"}}

    @property
    def ranked(self) -> list[Group]:
        """The groups that the verdict rests on, with something in them."""
        return benchmarks(self.groups)


def analyse(paths: Sequence[Path], looks: int = 1) -> Analysis:
    """Read and judge all records in and below `paths`; one of several `looks` takes stronger evidence."""
    sweeps, unreadable_sweeps = read_sweeps(paths)
    records, left_out = read_all(paths)
    records, picked = _without_picked(records, sweeps)
    left_out += [LeftOut(str(run.folder), "a search picked it for its figure; its fresh seeds are taken instead") for run in picked]
    runs, measured = [r for r in records if not r.only_measured], [r for r in records if r.only_measured]
    models = model_groups(measured, looks)
    fits, unreadable_fits = read_fits(paths)
    figures, tables, unreadable_parts = of_sweeps({sweep.name: sweep.folder for sweep in sweeps})
    found, repeats = configurations(runs, [sweep.default_trial for sweep in sweeps])
    grouped = groups(found)
    verdict = judge(grouped, looks)
    designs = factorials(grouped, looks)
    equal_costs, unreadable_steps = at_equal_cost(grouped, looks)
    unfinished = [LeftOut(str(run.folder), _state(run)) for run in records if not run.measures]
    return Analysis(
        tuple(paths),
        tuple(runs),
        tuple(picked),
        tuple(found),
        tuple(grouped),
        verdict,
        answer(grouped, verdict, models, sweeps, runs),
        (*sentences(grouped, verdict), *map(in_words, designs), *map(told, equal_costs), *map(compared, models)),
        tuple(why_apart(grouped)),
        tuple(designs),
        tuple(equal_costs),
        tuple(sweeps),
        tuple(test_claims(grouped, found, fits, looks)),
        (*left_out, *repeats, *unreadable_sweeps, *unreadable_fits, *unreadable_parts, *unreadable_steps),
        tuple(unfinished),
        tuple(figures),
        tuple(tables),
        looks,
        tuple(models),
    )


def _without_picked(runs: list[Run], sweeps: Sequence[SweepRecord]) -> tuple[list[Run], list[Run]]:
    """Those that are evidence, and those of configurations that a search picked for their figure and ran again on fresh seeds."""
    places = {
        folder.resolve()
        for sweep in sweeps for trial in sweep.trials for folder in trial.folders
        if trial.number in {row["trial"] for row in sweep.confirmed}
    }  # fmt: skip
    found: tuple[list[Run], list[Run]] = [], []
    for run in runs:
        found[not places.isdisjoint((run.folder.resolve(), run.folder.resolve().parent))].append(run)
    return found


def _state(run: Run) -> str:
    steps = len(run.steps.get("step", []))
    reason = run.summary.get("reason")
    where, left = ("measuring", "") if run.only_measured else (f"after {steps} steps", "; curves only")
    return f"{run.status} {where}" + (f": {reason}" if reason else "") + left
