"""The verdict: gains over the base, results by suite, configurations against each other, and what can be resolved."""

import numpy as np

from src.drawing.chart import Figure, intervals
from src.drawing.table import Cell, Table, gain_with, p_value, percent, share_with, table
from src.report.analysis import Analysis
from src.report.findings.configurations import Group
from src.report.findings.verdict import Finding
from src.report.section import Section
from src.report.sections.shown import colour
from src.statistics import FEWEST_SEEDS, mean_over_seeds


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
                    share_with(mean_over_seeds(group.accuracy_SP(c))),
                    gain_with(finding.difference.interval),
                    p_value(finding.p),
                    standing(finding),
                    percent(float(np.mean([m.pass_at_P(m.samples) for m in final]))),
                    percent(float(np.mean([m.majority_at_P(m.samples) for m in final]))),
                    Cell(f"{tokens:.0f}", round(tokens, 2)),
                    Cell(f"{tokens / before.tokens - 1:+.0%}", round(tokens / before.tokens - 1, 4)),
                    percent(float(np.mean([m.truncated_share for m in final]))),
                    measured_as(group),
                ]
            )
    note = (
        "Weights: the best by validation; on validation itself the last, since it chose the best. Intervals are 95 %; "
        "p is corrected by Holm over all suites that count; pass@k and majority@k for k = all samples of a problem, others below. Rows "
        "with another entry under “measured as” are not to be ranked against each other."
    )
    columns = (
        "suite, configuration, #seeds, #base, #accuracy, #gain in points, #p, against the base, #pass@k, #majority@k, "
        "#tokens, #tokens against base, #truncated, measured as"
    )
    return table("results", "Results by suite", note, columns, rows, brief=True)


def measured_as(group: Group) -> str:
    protocol = group.protocol
    return f"{protocol['problem count']} problems [{protocol['set of problems']}] × {protocol['samples per problem']}, {protocol['grader'].split(',')[0]}"


def standing(finding: Finding) -> str:
    if finding.standing == "not resolved" or finding.enough_seeds:
        return finding.standing
    return f"{finding.standing}, these weights"


def pairs(analysis: Analysis) -> Table:
    rows = [
        [
            f.group.name,
            f.first.label,
            f.second.label if f.second else "",
            gain_with(f.difference.interval),
            p_value(f.p),
            standing(f),
            Cell(f"{100 * f.difference.detectable:.1f}", round(f.difference.detectable, 5)),
            f.difference.seeds,
        ]
        for f in analysis.verdict.between
    ]
    note = f"First minus second, paired by problem. With fewer than {FEWEST_SEEDS} seeds a difference is one of weights, not of recipes."
    columns = "suite, first, second, #difference in points, #p, first is, #detectable in points, #seeds"
    return table("pairs", "Configurations against each other", note, columns, rows)


def limits(analysis: Analysis) -> Table:
    rows = []
    for group in analysis.groups:
        findings = [f for f in analysis.verdict.with_base if f.group is group]
        between = [f.difference.detectable for f in analysis.verdict.between if f.group is group]
        seeds = sorted({f.difference.seeds for f in findings})
        worst = max(findings, key=lambda f: f.difference.detectable).difference
        total = worst.problem_variance + worst.seed_variance
        rows.append(
            [
                group.name,
                group.protocol["problem count"],
                group.protocol["samples per problem"],
                Cell("–".join(map(str, {seeds[0]: 0, seeds[-1]: 0})), seeds[0]),
                Cell(f"{100 * worst.detectable:.1f}", round(worst.detectable, 5)),
                Cell(f"{100 * max(between):.1f}", round(max(between), 5)) if between else None,
                Cell(f"{worst.seed_variance / total:.0%}", round(worst.seed_variance / total, 3))
                if total and seeds[-1] > 1
                else None,
            ]
        )
    note = (
        "The smallest true difference that is found in 4 of 5 tries at the 5 % level, before correction for many "
        "comparisons. Where most of the variance comes from seeds, only more seeds help; else more problems or samples."
    )
    columns = "suite, #problems, #samples, #seeds, #gain detectable (points), #difference detectable (points), #variance from seeds"
    return table("limits", "What can be resolved", note, columns, rows, brief=True)


MOST_GAINS = 40  # configurations in one figure of gains


def gains(analysis: Analysis, group: Group) -> Figure:
    """Gain over the base by configuration, with intervals."""
    rows = []
    for c in group.configurations:
        found = analysis.verdict.of(group, c)
        interval = found.difference.interval
        rows.append(
            {
                "configuration": c.label,
                "gain": round(100 * interval.mean, 3),
                "low": round(100 * interval.low, 3),
                "high": round(100 * interval.high, 3),
                "standing": found.standing,
                "seeds": found.difference.seeds,
            }
        )
    rows.sort(key=lambda row: -row["gain"])
    left = max(0, len(rows) - MOST_GAINS)
    rows = rows[:MOST_GAINS]
    told = ("configuration", "gain", "low", "high", "standing", "seeds")
    y, x = {"field": "configuration", "axis": {"labelLimit": 260}}, {"field": "gain", "title": "gain over the base, points"}
    spec = intervals(rows, y, x, colour(analysis), told)
    caption = "Points of accuracy with 95 % intervals." + (
        f" The best {MOST_GAINS}; {left} more in the table." if left else ""
    )
    return Figure(f"gains_{group.file_name}", f"{group.name}: gain over the base", caption, spec)


SECTION = Section(
    "verdict",
    "Verdict",
    figures=lambda analysis: [gains(analysis, group) for group in analysis.ranked],
    tables=lambda analysis: [results(analysis), pairs(analysis), limits(analysis)],
    besides=lambda analysis: True,  # its words
)
