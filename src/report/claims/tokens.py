"""What the tests of claims measure of completion length: against the base, between suites and between recipes."""

from src.report.claims.decision import ClaimEffect
from src.report.claims.records import Records, Selector, effect_of, in_hundredths
from src.report.findings.efficiency import token_contrast
from src.statistics import t_interval


def tokens_change(records: Records, experiment: Selector, suite: str) -> ClaimEffect | None:
    """Mean completion length against the base's, in per cent of it; one value for each seed."""
    configuration = records.named(experiment, suite)
    group = configuration and records.group(suite, configuration)
    if not group:
        return None
    after = [measure.tokens for measure in group.measures(configuration)]
    before = [measure.tokens for measure in group.measures(configuration, "before")]
    changes = [100 * (a / b - 1) for a, b in zip(after, before, strict=True)]
    return effect_of(t_interval(changes), len(changes), [configuration])


def tokens_contrast(records: Records, experiment: Selector, first: str, second: str) -> ClaimEffect | None:
    """`tokens_change` on one suite less that on another, in points of per cent; one value for each seed."""
    configuration = records.named(experiment, first, second)
    if configuration is None:
        return None
    changes = []
    for run in configuration.measured:
        if {first, second} <= set(run.suites):
            one, other = (100 * (run.final(s).tokens / run.measures[s, "before"].tokens - 1) for s in (first, second))
            changes.append(one - other)
    return effect_of(t_interval(changes), len(changes), [configuration]) if changes else None


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
