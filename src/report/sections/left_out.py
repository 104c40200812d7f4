"""What the verdict does not rest on."""


from src.drawing.table import Table, table
from src.report.analysis import Analysis


def left_out(analysis: Analysis) -> Table:
    rows = [[entry.folder, entry.reason] for entry in (*analysis.left_out, *analysis.unfinished)]
    return table("left_out", "Left out", "Records that the verdict does not rest on, and why.", "record, reason", rows)
