"""Accuracy by level."""

import numpy as np

from src.drawing.table import Cell, Table, gain_with, percent, share_with, table
from src.report.analysis import Analysis
from src.report.section import Section
from src.statistics import compare, mean_over_seeds


def levels(analysis: Analysis) -> Table:
    rows = []
    for group in analysis.groups:
        problem_levels = group.measure.levels_P
        for level in sorted(set(problem_levels.tolist())):
            at = problem_levels == level
            after = [group.accuracy_SP(c)[:, at] for c in group.configurations]
            base = [group.base_P(c)[at] for c in group.configurations]
            differences = compare(list(zip(after, base, strict=True)), fixed_second=True)
            for c, accuracy, before, difference in zip(group.configurations, after, base, differences, strict=True):
                tokens = float(np.mean([m.tokens_P[at].mean() for m in group.measures(c)]))
                rows.append(
                    [
                        group.name,
                        level,
                        int(at.sum()),
                        c.label,
                        percent(float(before.mean())),
                        share_with(mean_over_seeds(accuracy)),
                        gain_with(difference.interval),
                        Cell(f"{tokens:.0f}", round(tokens, 2)),
                    ]
                )
    columns = "suite, level, #problems, configuration, #base, #accuracy, #gain in points, #tokens"
    return table(
        "levels", "By level", "Gains by difficulty; intervals are not corrected for their number.", columns, rows
    )


SECTION = Section("levels", "By level", tables=lambda analysis: [levels(analysis)])
