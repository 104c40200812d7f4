"""What the measurements say: which configurations are better than the base and than each other, in numbers and words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from src.report.findings.configurations import Configuration, Group
from src.statistics import FEWEST_SEEDS, Difference, Interval, compare, holm

Standing = Literal["better", "worse", "not resolved"]
ALL_PAIRS_UP_TO = 8  # configurations; above, each is compared with the best alone, so that the work stays linear


@dataclass(frozen=True)
class Finding:
    """One comparison on one suite. `second` is None for the base of `first`."""

    group: Group
    first: Configuration
    second: Configuration | None
    difference: Difference
    p: float  # corrected for the number of comparisons of its kind on all suites

    @property
    def standing(self) -> Standing:
        interval = self.difference.interval
        if self.p < 0.05 and (interval.low > 0 or interval.high < 0):
            return "better" if interval.mean > 0 else "worse"
        return "not resolved"

    @property
    def enough_seeds(self) -> bool:
        return self.difference.seeds >= FEWEST_SEEDS


@dataclass(frozen=True)
class Judgement:
    """All comparisons with the base, and all between configurations."""

    with_base: tuple[Finding, ...]
    between: tuple[Finding, ...]

    def of(self, group: Group, first: Configuration) -> Finding:
        return next(f for f in self.with_base if f.group is group and f.first.key == first.key)


def judge(groups: Sequence[Group]) -> Judgement:
    """Compare within each group; p-values are Holm-corrected over the suites of each kind of comparison.

    Validation chose the weights, so it enters only where there is no other suite.
    """
    counted = benchmarks(groups)
    with_base, between = [], []
    for group in groups:
        with_base += _with_base(group)
        between += _between(group)
    return Judgement(_corrected(with_base, counted), _corrected(between, counted))


def benchmarks(groups: Sequence[Group]) -> list[Group]:
    """The groups that a verdict rests on."""
    return [group for group in groups if group.suite != "validation"] or list(groups)


def _with_base(group: Group) -> list[Finding]:
    pairs = [(group.accuracy_SP(c), group.base_P(c)) for c in group.configurations]
    differences = compare(pairs, fixed_second=True)
    return [Finding(group, c, None, d, d.p) for c, d in zip(group.configurations, differences, strict=True)]


def _between(group: Group) -> list[Finding]:
    accuracy = {c.key: group.accuracy_SP(c) for c in group.configurations}
    ranked = sorted(group.configurations, key=lambda c: -accuracy[c.key].mean())
    if len(ranked) <= ALL_PAIRS_UP_TO:
        pairs = list(combinations(ranked, 2))
    else:
        pairs = [(ranked[0], other) for other in ranked[1:]]
    differences = compare([(accuracy[a.key], accuracy[b.key]) for a, b in pairs])
    return [Finding(group, a, b, d, d.p) for (a, b), d in zip(pairs, differences, strict=True)]


def _corrected(findings: list[Finding], counted: list[Group]) -> tuple[Finding, ...]:
    family = [finding for finding in findings if any(finding.group is group for group in counted)]
    corrected = dict(zip(map(id, family), holm([finding.p for finding in family]), strict=True))
    return tuple(replace(finding, p=corrected.get(id(finding), finding.p)) for finding in findings)


def sentences(groups: Sequence[Group], verdict: Judgement) -> list[tuple[str, list[str]]]:
    """The verdict in words: for each suite that counts, its heading and what was found."""
    told = []
    for group in benchmarks(groups):
        measure = group.measure
        heading = f"{group.name}: {len(measure.problems)} problems × {measure.samples} samples"
        told.append(
            (heading, [*_on_base(group, verdict), *_on_each_other(group, verdict), *_on_limits(group, verdict)])
        )
    return told


def _on_base(group: Group, verdict: Judgement) -> list[str]:
    findings = sorted((f for f in verdict.with_base if f.group is group), key=lambda f: -f.difference.interval.mean)
    words = []
    for standing in ("better", "worse"):
        sure = [f for f in findings if f.standing == standing]
        told = "; ".join(f"{f.first.label} by {signed(f.difference.interval)}" for f in sure[:3])
        more = f"; and {len(sure) - 3} more" if len(sure) > 3 else ""
        if sure:
            words.append(f"{_share(len(sure), len(findings))} {standing} than the base: {told}{more}.")
    rest = [f for f in findings if f.standing == "not resolved"]
    if rest:
        told = "; ".join(f"{f.first.label} {signed(f.difference.interval)}" for f in rest[:3])
        more = f"; and {len(rest) - 3} more" if len(rest) > 3 else ""
        nearly = any(f.difference.interval.low > 0 or f.difference.interval.high < 0 for f in rest)
        corrected = " once corrected for the number of comparisons" if nearly else ""
        share = "None is" if len(rest) == len(findings) else _share(len(rest), len(findings))
        words.append(f"{share} {'shown' if share == 'None is' else 'not shown'} to differ from the base{corrected}: {told}{more}.")
    return words


def _on_each_other(group: Group, verdict: Judgement) -> list[str]:
    findings = [f for f in verdict.between if f.group is group]
    if not findings:
        return []
    sure = [f for f in findings if f.standing != "not resolved"]
    partly = "" if len(group.configurations) <= ALL_PAIRS_UP_TO else " with the one that measured best"
    if not sure:
        best = findings[0]
        against = f"{best.first.label} against {best.second.label if best.second else ''} is {signed(best.difference.interval)}."
        return [f"Between configurations nothing is resolved ({_count(len(findings), 'comparison')}{partly}): {against}"]
    told = "; ".join(
        f"{f.first.label} is {f.standing} than {f.second.label if f.second else ''} by {signed(f.difference.interval)}"
        for f in sure[:3]
    )
    more = f"; and {len(sure) - 3} more" if len(sure) > 3 else ""
    rest = len(findings) - len(sure)
    unresolved = f" {rest} of {_count(len(findings), 'comparison')}{partly} cannot be told apart." if rest else ""
    return [f"{told}{more}.{unresolved}"]


def _on_limits(group: Group, verdict: Judgement) -> list[str]:
    return [_smallest(group, verdict), *_on_seeds([f for f in verdict.with_base if f.group is group and not f.enough_seeds])]


def _smallest(group: Group, verdict: Judgement) -> str:
    """How small a difference the measurement can show."""
    base = max(f.difference.detectable for f in verdict.with_base if f.group is group)
    if base == 0:
        return "Nothing varied between these problems, so there is no saying how small a difference they could show."
    pairs = [f.difference.detectable for f in verdict.between if f.group is group]
    between = f", and a difference between configurations of {points(max(pairs))}" if pairs else ""
    return f"It can find a gain over the base of {points(base)} in 4 of 5 tries{between}; what is smaller than that it is likely to miss."


def _on_seeds(few: Sequence[Finding]) -> list[str]:
    if not few:
        return []
    seeds = "/".join(str(n) for n in sorted({f.difference.seeds for f in few}))
    told = f"Seeds are too few to claim anything of {'a recipe' if len(few) > 1 else 'the recipe'} ({seeds} of at least {FEWEST_SEEDS})"
    return [f"{told}: this speaks of the trained weights, and another seed may give others."]


def _share(part: int, whole: int) -> str:
    if part == whole:
        return (
            "The one configuration is"
            if whole == 1
            else f"{'Both' if whole == 2 else f'All {whole}'} configurations are"
        )
    return f"{part} of {whole} configurations {'is' if part == 1 else 'are'}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def points(share: float) -> str:
    """A share as percentage points."""
    return f"{100 * share:.1f} points"


def signed(interval: Interval) -> str:
    """A difference of accuracies in points, with its interval."""
    text = f"{100 * interval.mean:+.1f} points ({100 * interval.low:+.1f} to {100 * interval.high:+.1f})"
    return text.replace("-", "−")
