"""Accuracy by level."""

import numpy as np

from src.drawing.table import Table, counted, gain_with, percent, share_with, table
from src.report.analysis import Analysis
from src.report.section import Section
from src.report.sections.uncertainty import UNCERTAIN, uncertain
from src.statistics import difference, share_of


def levels(analysis: Analysis) -> Table:
    rows = []
    for group in analysis.groups:
        problem_levels = group.measure.levels_P
        for level in sorted(set(problem_levels.tolist())):
            at = problem_levels == level
            for c in group.configurations:
                after, base = group.side(c).at(at), group.base(c).at(at)
                gain = difference(after, base)
                tokens = float(np.mean([m.tokens_P[at].mean() for m in group.measures(c)]))
                rows.append(
                    [
                        group.name,
                        level,
                        int(at.sum()),
                        c.label,
                        percent(float(base.values_SP.mean())),
                        share_with(share_of(after)),
                        gain_with(gain.interval),
                        uncertain(gain),
                        counted(tokens),
                    ]
                )
    columns = f"suite, level, #problems, configuration, #base, #accuracy, #gain in points, {UNCERTAIN}, #tokens"
    return table(
        "levels", "By level", "Gains by difficulty; intervals are not corrected for their number.", columns, rows
    )


SECTION = Section("levels", "By level", tables=lambda analysis: [levels(analysis)])
