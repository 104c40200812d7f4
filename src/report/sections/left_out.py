"""What the verdict does not rest on."""

from src.drawing.table import Table, table
from src.report.analysis import Analysis
from src.report.section import Section


def left_out(analysis: Analysis) -> Table:
    rows = [[entry.folder, entry.reason] for entry in (*analysis.left_out, *analysis.unfinished)]
    note = "Records that the verdict does not rest on, and why."
    return table("left_out", "Left out", note, "record, reason", rows, brief=True)


SECTION = Section("left", "Left out", tables=lambda analysis: [left_out(analysis)])
