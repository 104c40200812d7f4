"""The verdict: gains over the base, results by suite, configurations against each other, and what can be resolved."""

from collections.abc import Sequence

import numpy as np

from src.drawing.table import Cell, Table, counted, gain_with, p_value, percent, points, share_with, table
from src.report.analysis import Analysis
from src.report.findings.configurations import Configuration, Group
from src.report.findings.verdict import Finding
from src.report.section import Section
from src.report.sections.uncertainty import COMPARED, UNCERTAIN, compared, found, sources, uncertain
from src.statistics import FEWEST_SEEDS, detectable_by, share_of


def results(analysis: Analysis) -> Table:
    rows = []
    for group in analysis.groups:
        for c in group.configurations:
            finding, final = analysis.verdict.of(group, c), group.measures(c)
            before = group.measures(c, "before")[0]
            tokens = float(np.mean([m.tokens for m in final]))
            rows.append(
                [
                    group.name,
                    c.label,
                    len(final),
                    percent(float(group.base_P(c).mean())),
                    share_with(share_of(group.side(c))),
                    gain_with(finding.difference.interval),
                    p_value(finding.p),
                    standing(finding),
                    points(finding.difference.equal_within),
                    counted(tokens),
                    Cell(f"{100 * (tokens / before.tokens - 1):+.0f} %".replace("-", "−"), round(tokens / before.tokens - 1, 4)),
                    percent(float(np.mean([m.truncated_share for m in final]))),
                    boxing(group, c),
                    uncertain(finding.difference),
                ]
            )
    note = (
        "Weights: the best by validation; on validation itself the last, since it chose the best. Intervals are 95 %; p is Holm's, over "
        "all suites that count; equal within: by two one-sided tests; uncertain from: shares of the gain's variance, and what to buy "
        "next; of it boxing: answers that were right before but not boxed."
    )
    columns = (
        "suite, configuration, #seeds, #base, #accuracy, #gain in points, #p, against the base, #equal within points, "
        f"#tokens, #tokens against base, #truncated, #of it boxing, {UNCERTAIN}"
    )
    return table("results", "Results by suite", note, columns, rows, brief=True)


def boxing(group: Group, configuration: Configuration) -> Cell | None:
    """Of the gain in points, what was right before but not boxed, less what still is."""
    before, after = group.measures(configuration, "before"), group.measures(configuration)
    unboxed = [[None if m.anywhere is None else m.anywhere - m.accuracy for m in measures] for measures in (before, after)]
    if any(each is None for measures in unboxed for each in measures):
        return None
    share = float(np.mean(unboxed[0]) - np.mean(unboxed[1]))
    return Cell(f"{100 * share:+.1f}".replace("-", "−"), round(100 * share, 4))


def standing(finding: Finding) -> str:
    if finding.standing == "not resolved" or finding.enough_seeds:
        return finding.standing
    return f"{finding.standing}, these weights"


def pairs(name: str, title: str, findings: Sequence[Finding]) -> Table:
    rows = [
        [f.group.name, f.first.label, f.against, *compared(f.difference, f.p, standing(f)), f.difference.seeds]
        for f in findings
    ]
    note = (
        "First minus second, paired by problem, and by seed where both have the same; of many, the best against each other one. p is "
        "corrected for all pairs (Holm). Equal within: shown by two one-sided tests, not corrected. A side with one seed is taken to "
        f"spread as the other does; with fewer than {FEWEST_SEEDS} seeds a difference is one of weights, not of recipes."
    )
    return table(name, title, note, f"suite, first, second, {COMPARED}, #seeds", rows)


def limits(analysis: Analysis) -> Table:
    rows = []
    for group in analysis.groups:
        findings = [f for f in analysis.verdict.with_base if f.group is group]
        between = [f.difference for f in analysis.verdict.between if f.group is group]
        seeds = sorted({f.difference.seeds for f in findings})
        worst = max((f.difference for f in findings), key=detectable_by)
        rows.append(
            [
                group.name,
                group.protocol["problem count"],
                group.protocol["samples per problem"],
                Cell("–".join(map(str, {seeds[0]: 0, seeds[-1]: 0})), seeds[0]),
                found(worst),
                found(max(between, key=detectable_by)) if between else None,
                *sources(worst.split.shares(), worst.seeds),
            ]
        )
    note = (
        "The smallest true difference that is found in 4 of 5 tries at the 5 % level, before correction for many "
        "comparisons; and where the variance of the gain comes from: what is the largest is bought next. One seed says nothing of "
        "seeds, and one sample a problem counts what differs by seed and problem with the samples."
    )
    columns = "suite, #problems, #samples, #seeds, #gain detectable (points), #difference detectable (points), #from samples, #from problems, #from seeds, buy next"
    return table("limits", "What can be resolved", note, columns, rows, brief=True)


SECTION = Section(
    "verdict",
    "Verdict",
    tables=lambda analysis: [
        results(analysis), pairs("pairs", "Configurations against each other", analysis.verdict.between), limits(analysis),
    ],
    besides=lambda analysis: True,  # its words
)
