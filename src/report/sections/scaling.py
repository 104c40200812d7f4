"""The scaling laws of the sweeps that `python -m src.scaling` has analysed."""

from src.report.section import Section

SECTION = Section(
    "scaling",
    "Scaling laws",
    figures=lambda analysis: analysis.scaling_figures,
    tables=lambda analysis: analysis.scaling_tables,
)
