"""What differs between configurations, and what they share."""

from src.drawing.table import Table, table
from src.record.recipe import differing
from src.report.analysis import Analysis
from src.report.findings.configurations import Configuration, settings
from src.report.section import Section


def configurations(analysis: Analysis) -> Table:
    found: list[Configuration] = list(analysis.configurations)
    configs = [settings(c.runs[0]) for c in found]
    differ = differing(configs) if len(found) > 1 else []
    rows = [[key, *[config.get(key) for config in configs]] for key in differ]
    columns = ", ".join(["setting", *(c.label.replace(",", ";") for c in found)])
    return table("configurations", "Configurations side by side", "What differs between them.", columns, rows)


def shared_settings(analysis: Analysis) -> Table:
    configs = [settings(c.runs[0]) for c in analysis.configurations]
    differ = set(differing(configs)) if len(configs) > 1 else set()
    rows = [[key, value] for key, value in configs[0].items() if key not in differ] if configs else []
    return table("shared_settings", "Settings that all share", "", "setting, value", rows, closed=True)


SECTION = Section(
    "configurations", "Configurations", tables=lambda analysis: [configurations(analysis), shared_settings(analysis)]
)
