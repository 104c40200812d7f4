"""Accuracy by level."""

from itertools import product

from src.drawing.table import Table, counted, gain_with, percent, share_with, table
from src.report.analysis import Analysis
from src.report.section import Section
from src.report.sections.uncertainty import UNCERTAIN, uncertain
from src.statistics import difference, share_of


def levels(analysis: Analysis) -> Table:
    rows = []
    for group in analysis.groups:
        for (level, at_P), c in product(group.levels, group.configurations):
            after, base = group.side(c).at(at_P), group.base(c).at(at_P)
            gain, tokens = difference(after, base), float(group.tokens_SP(c)[:, at_P].mean())
            shares = [percent(float(base.values_SP.mean())), share_with(share_of(after))]
            told = [*shares, gain_with(gain.interval), uncertain(gain), counted(tokens)]
            rows.append([group.name, level, int(at_P.sum()), c.label, *told])
    columns = f"suite, level, #problems, configuration, #base, #accuracy, #gain in points, {UNCERTAIN}, #tokens"
    return table("levels", "By level", "Gains by difficulty; intervals are not corrected for their number.", columns, rows)


SECTION = Section("levels", "By level", tables=lambda analysis: [levels(analysis)])
