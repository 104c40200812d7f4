"""What recipes are worth at equal cost: their validation where the cheapest of those that took as many steps had ended.

Cost is what a run had computed by a step: all that was sampled, what was thrown away too, scored and trained on (src/record/flops.py).
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from src.record.left_out import LeftOut, Unreadable
from src.record.measures import Measure, read_measure
from src.record.read import Run
from src.report.findings.configurations import Configuration, Group
from src.report.findings.effects import Factorial, factorials, in_words
from src.report.findings.verdict import Judgement, judge, on_each_other

APART = 0.05  # of a run's cost: where the dearest recipe takes no more than that above the cheapest, equal steps are equal cost
SUITE = "validation"  # which alone is measured on the way
COST = "flops/total"  # column of metrics.jsonl


@dataclass(frozen=True)
class EqualCost:
    """Configurations whose runs took as many steps. Both groups are of their last weights at that step or that cost."""

    at_end: Group  # at equal steps
    group: Group  # at equal cost
    cost: float  # in operations, a run
    verdict: Judgement  # on `group`
    factorials: tuple[Factorial, ...]  # of both

    def spent(self, configuration: Configuration) -> float:
        """Operations of a run to its end."""
        return _spent(self.at_end, configuration)

    def steps(self, configuration: Configuration) -> float:
        """At equal cost, the mean of its runs."""
        return float(np.mean([np.interp(self.cost, run.steps[COST], run.steps["step"]) for run in self.at_end.runs[configuration.key]]))


def at_equal_cost(groups: Sequence[Group], looks: int = 1) -> tuple[list[EqualCost], list[LeftOut]]:
    """For each number of steps whose configurations differ in cost, and the runs whose validations cannot be read."""
    found: list[EqualCost] = []
    left_out: list[LeftOut] = []
    for at_end in (part for group in groups if group.suite == SUITE for part in _of_as_many_steps(group)):
        spent = [_spent(at_end, c) for c in at_end.configurations]
        if max(spent) <= (1 + APART) * min(spent):
            continue
        cost = min(run.steps[COST][-1] for runs in at_end.runs.values() for run in runs)
        group, unreadable = _at_cost(at_end, cost)
        left_out += unreadable
        if len(group.configurations) > 1:
            designs = (*factorials([at_end], looks), *factorials([group], looks))
            found.append(EqualCost(at_end, group, cost, judge([group], looks), designs))
    return found, left_out


def _of_as_many_steps(group: Group) -> list[Group]:
    """The configurations with an account of their operations, parted by the steps that all of their runs took."""
    by_steps: dict[int, list[Configuration]] = defaultdict(list)
    for c in group.configurations:
        ends = {run.steps["step"][-1] if _counted(run) else 0 for run in group.runs[c.key]}
        by_steps[ends.pop() if len(ends) == 1 else 0].append(c)
    parts = {steps: found for steps, found in by_steps.items() if steps and len(found) > 1}
    told = {steps: f", {steps} steps" if len(parts) > 1 else "" for steps in parts}
    return [
        _part(group, f"{group.name} at equal steps{told[steps]}", {c.key: group.runs[c.key] for c in found}) for steps, found in parts.items()
    ]


def _counted(run: Run) -> bool:
    """Whether each step says what it had cost, and the last was measured."""
    costs, accuracies = (run.steps.get(column) or [None] for column in (COST, "validation/accuracy"))
    return None not in costs and accuracies[-1] is not None


def _part(group: Group, name: str, runs: dict[str, tuple[Run, ...]]) -> Group:
    return replace(group, name=name, configurations=tuple(c for c in group.configurations if c.key in runs), runs=runs)


def _spent(group: Group, configuration: Configuration) -> float:
    return float(np.mean([run.steps[COST][-1] for run in group.runs[configuration.key]]))


def _at_cost(at_end: Group, cost: float) -> tuple[Group, list[LeftOut]]:
    runs: dict[str, tuple[Run, ...]] = {}
    left_out = []
    for key, found in at_end.runs.items():
        for run in found:
            try:
                runs[key] = (*runs.get(key, ()), _as_it_was(run, cost))
            except Unreadable as error:
                left_out.append(LeftOut(str(run.folder), f"not compared at equal cost: {error}"))
    return _part(at_end, at_end.name.replace("equal steps", "equal cost"), runs), left_out


def _as_it_was(run: Run, cost: float) -> Run:
    """A run as if it had ended at that cost, on the straight line between the validations before and after. Raises Unreadable, also
    where none was made on the way before it: from the base to there a curve is anything but straight."""
    steps = [step for step, accuracy in zip(run.steps["step"], run.steps["validation/accuracy"], strict=True) if accuracy is not None]
    costs = [0.0, *(run.steps[COST][step - 1] for step in steps)]
    names = ["before", *(f"step_{step:05d}" for step in steps)]
    place = bisect_left(costs, cost)
    if place == 1 and cost < costs[1]:
        raise Unreadable(f"its first validation, at step {steps[0]}, came after that cost")
    share = (cost - costs[place - 1]) / (costs[place] - costs[place - 1])
    first, second = (read_measure(run.folder, SUITE, name) for name in names[place - 1 : place + 1])
    return replace(run, measures={(SUITE, "before"): run.measures[SUITE, "before"], (SUITE, "after"): between(first, second, share)})


def between(first: Measure, second: Measure, share: float) -> Measure:
    """What is `share` of the way from one measurement of a suite to a second one; nobody voted there. It is as noisy as one of them:
    both were drawn with the same seed."""
    accuracy_P, tokens_P, truncated = (
        (1 - share) * getattr(first, name) + share * getattr(second, name) for name in ("accuracy_P", "tokens_P", "truncated_share")
    )
    return replace(
        second, when="after", accuracy_P=accuracy_P, tokens_P=tokens_P, truncated_share=truncated, votes_P=(), anywhere=None,
        effective_samples=min(first.effective_samples, second.effective_samples),
    )  # fmt: skip


def told(found: EqualCost) -> tuple[str, list[str]]:
    """A heading, what equal steps had cost, and what is shown at equal cost: of factors where there are such, else of pairs."""
    cheap, *_, dear = sorted(found.at_end.configurations, key=found.spent)
    heading = f"{found.group.name}: where the cheapest run had ended, after {found.cost:.2g} operations"
    times = f"To its end {dear.label} took {found.spent(dear) / found.spent(cheap):.2f} times the operations of {cheap.label}."
    designs = [words for design in found.factorials if design.group is found.group for words in in_words(design)[1]]
    return heading, [times, *(designs or on_each_other(found.group, found.verdict))]
