"""What the tests of claims measure of completion length: against the base, between suites and between recipes."""

from dataclasses import replace

from src.report.claims.decision import ClaimEffect
from src.report.claims.records import Records, Selector, in_hundredths, of_one
from src.report.findings.efficiency import ratio_sides, relative_change, token_contrast
from src.statistics import contrast


def tokens_change(records: Records, recipe: Selector, suite: str) -> ClaimEffect | None:
    """Mean completion length against the base's, in per cent of it; over problems and seeds."""
    return of_one(records, recipe, suite, lambda group, c: relative_change(group.tokens_side(c), group.base_tokens(c)))


def tokens_contrast(records: Records, recipe: Selector, easier: str, harder: str) -> ClaimEffect | None:
    """`tokens_change` on the easier suite less that on the harder one, in points of per cent; paired by seed, and on each suite by problem."""
    configuration = records.named(recipe, easier, harder)
    groups = [configuration and records.group(suite, configuration) for suite in (easier, harder)]
    if configuration is None or None in groups:
        return None
    one, other = (ratio_sides([g.tokens_side(configuration)], g.base_tokens(configuration)) for g in groups if g)
    found = contrast([*one[1], *(side.times(-1) for side in other[1])])
    return in_hundredths(replace(found, mean=one[0] - other[0]), configuration)


def tokens_difference(
    records: Records, first: Selector, second: Selector, suite: str, less: list[Selector] | None = None
) -> ClaimEffect | None:
    """Mean completion length of one recipe less that of another, in per cent of the base's; over problems and seeds.

    `less`: two recipes whose own such difference is taken off.
    """
    pairs = [records.pair(one, other, suite) for one, other in [(first, second), *([less] if less else [])]]
    if None in pairs:
        return None
    used = [configuration for pair in pairs if pair for configuration in pair]
    group = records.group(suite, *used)
    if group is None:
        return None
    return in_hundredths(token_contrast(group, list(zip((1.0, -1.0, -1.0, 1.0), used, strict=False))), *used)
