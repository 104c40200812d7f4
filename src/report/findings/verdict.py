"""What the measurements say: which configurations are better than the base and than each other, in numbers and words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from src.report.findings.configurations import Configuration, Group, how_much
from src.statistics import (
    ERROR,
    FEWEST_SEEDS,
    Difference,
    Interval,
    corrected,
    detectable_by,
    difference,
    error_at_each_of,
    steady_p_values,
)

Standing = Literal["better", "worse", "not resolved"]
MOST_TOLD = 2  # configurations in a sentence
ALL_PAIRS_UP_TO = 8  # configurations; above, each is shown against the best alone, corrected for all pairs all the same


@dataclass(frozen=True)
class Finding:
    """One comparison on one suite. `second` is None for the base of `first`."""

    group: Group
    first: Configuration
    second: Configuration | None
    difference: Difference
    p: float  # corrected for the number of comparisons of its kind on all suites
    error: float = ERROR  # that of one look

    @property
    def standing(self) -> Standing:
        if self.p < self.error:
            return "better" if self.difference.mean > 0 else "worse"
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


def judge(groups: Sequence[Group], looks: int = 1) -> Judgement:
    """Compare within each group; p-values are Holm-corrected over the suites of each kind of comparison, and over all pairs of
    configurations, since the best is known by its data. The error is that of `looks` at growing records.

    Validation chose the weights, so it enters only where there is no other suite, and else is corrected by itself.
    """
    counted = benchmarks(groups)
    parts = [counted, [group for group in groups if all(group is not other for other in counted)]]
    with_base, between = ([each for part in parts for each in _corrected(part, of, looks)] for of in (_with_base, _between))
    best = {id(group): _ranked(group)[0].key for group in groups if len(group.configurations) > ALL_PAIRS_UP_TO}
    return Judgement(tuple(with_base), tuple(f for f in between if best.get(id(f.group), f.first.key) == f.first.key))


def benchmarks(groups: Sequence[Group]) -> list[Group]:
    """The groups that a verdict rests on."""
    return [group for group in groups if group.suite != "validation"] or list(groups)


def _with_base(group: Group) -> list[Finding]:
    differences = [difference(group.side(c), group.base(c)) for c in group.configurations]
    p_values = steady_p_values(differences, len(differences))
    return [Finding(group, c, None, d, p) for c, d, p in zip(group.configurations, differences, p_values, strict=True)]


def _between(group: Group) -> list[Finding]:
    sides = {c.key: group.side(c) for c in group.configurations}
    pairs = list(combinations(_ranked(group), 2))
    differences = [difference(sides[a.key], sides[b.key]) for a, b in pairs]
    p_values = steady_p_values(differences, len(sides) - 1)
    return [Finding(group, a, b, d, p) for (a, b), d, p in zip(pairs, differences, p_values, strict=True)]


def _ranked(group: Group) -> list[Configuration]:
    return sorted(group.configurations, key=lambda c: -group.accuracy_SP(c).mean())


def _corrected(groups: Sequence[Group], compared: Callable[[Group], list[Finding]], looks: int) -> list[Finding]:
    findings = [finding for group in groups for finding in compared(group)]
    error = error_at_each_of(looks)
    p_values = corrected([f.difference for f in findings], [f.p for f in findings])
    return [replace(f, p=p, error=error) for f, p in zip(findings, p_values, strict=True)]


def sentences(groups: Sequence[Group], verdict: Judgement) -> list[tuple[str, list[str]]]:
    """The verdict in words: for each suite that counts, its heading and what was found."""
    told = []
    for group in benchmarks(groups):
        heading = group.name if how_much(group.protocol) in group.name else f"{group.name}: {how_much(group.protocol)}"
        told.append(
            (heading, [*_on_base(group, verdict), *on_each_other(group, verdict), *_on_limits(group, verdict)])
        )
    return told


def _on_base(group: Group, verdict: Judgement) -> list[str]:
    findings = sorted((f for f in verdict.with_base if f.group is group), key=lambda f: -f.difference.interval.mean)
    words = []
    for standing in ("better", "worse"):
        sure = [f for f in findings if f.standing == standing]
        told = "; ".join(f"{f.first.label} by {signed(f.difference.interval)}" for f in sure[:MOST_TOLD])
        more = f"; and {len(sure) - MOST_TOLD} more" if len(sure) > MOST_TOLD else ""
        if sure:
            words.append(f"{_share(len(sure), len(findings))} {standing} than the base: {told}{more}.")
    rest = [f for f in findings if f.standing == "not resolved"]
    if rest:
        told = "; ".join(f"{f.first.label} {signed(f.difference.interval)}, {equal(f.difference)}" for f in rest[:MOST_TOLD])
        more = f"; and {len(rest) - MOST_TOLD} more" if len(rest) > MOST_TOLD else ""
        nearly = any(f.difference.interval.low > 0 or f.difference.interval.high < 0 for f in rest)
        corrected = " once corrected for the number of comparisons" if nearly else ""
        share = "None is" if len(rest) == len(findings) else _share(len(rest), len(findings))
        words.append(f"{share} {'shown' if share == 'None is' else 'not shown'} to differ from the base{corrected}: {told}{more}.")
    return words


def on_each_other(group: Group, verdict: Judgement) -> list[str]:
    findings = [f for f in verdict.between if f.group is group]
    if not findings:
        return []
    sure = [f for f in findings if f.standing != "not resolved"]
    partly = "" if len(group.configurations) <= ALL_PAIRS_UP_TO else " with the one that measured best"
    if not sure:
        best = findings[0]
        against = (
            f"{best.first.label} against {best.second.label if best.second else ''} is {signed(best.difference.interval)}, "
            f"{equal(best.difference)}."
        )
        return [f"Between configurations nothing is resolved ({count(len(findings), 'comparison')}{partly}): {against}"]
    told = "; ".join(
        f"{f.first.label} is {f.standing} than {f.second.label if f.second else ''} by {signed(f.difference.interval)}"
        for f in sure[:MOST_TOLD]
    )
    more = f"; and {len(sure) - MOST_TOLD} more" if len(sure) > MOST_TOLD else ""
    rest = [f.difference for f in findings if f.standing == "not resolved"]
    if not rest:
        return [f"{told}{more}."]
    widest = equal(max(rest, key=lambda difference: difference.equal_within))
    return [f"{told}{more}. {len(rest)} of {count(len(findings), 'comparison')}{partly} cannot be told apart, {widest} at most."]


def _on_limits(group: Group, verdict: Judgement) -> list[str]:
    return [_smallest(group, verdict), *_on_seeds([f for f in verdict.with_base if f.group is group and not f.enough_seeds])]


def _smallest(group: Group, verdict: Judgement) -> str:
    """How small a difference the measurement can show."""
    widest = max((f.difference for f in verdict.with_base if f.group is group), key=detectable_by)
    shares = widest.split.shares()
    if not shares:
        return "Nothing varied between these problems: how small a difference they show is unknown."
    base, most = detectable_by(widest), max(shares, key=shares.__getitem__)
    pairs = [detectable_by(f.difference) for f in verdict.between if f.group is group and f.difference.split.shares()]
    between = f", and between configurations {points(max(pairs))}" if pairs else ""
    help_most = f"more {most} would help most ({100 * shares[most]:.0f} % of the variance)"
    return f"A gain of {points(base)} is found in 4 of 5 tries{between}; {help_most}."


def _on_seeds(few: Sequence[Finding]) -> list[str]:
    if not few:
        return []
    seeds = "/".join(str(n) for n in sorted({f.difference.seeds for f in few}))
    told = f"Seeds are too few to claim anything of {'a recipe' if len(few) > 1 else few[0].first.label} ({seeds} of at least {FEWEST_SEEDS})"
    return [f"{told}: this speaks of these weights."]


def _share(part: int, whole: int) -> str:
    if part == whole:
        return (
            "The one configuration is"
            if whole == 1
            else f"{'Both' if whole == 2 else f'All {whole}'} configurations are"
        )
    return f"{part} of {whole} configurations {'is' if part == 1 else 'are'}"


def count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def points(share: float) -> str:
    """A share as percentage points."""
    return f"{100 * share:.1f} points"


def equal(difference: Difference) -> str:
    """The margin of two one-sided tests."""
    return f"equal within {points(difference.equal_within)}"


def signed(interval: Interval) -> str:
    """A difference of accuracies in points, with its interval."""
    text = f"{100 * interval.mean:+.1f} points ({100 * interval.low:+.1f} to {100 * interval.high:+.1f})"
    return text.replace("-", "−")
