"""A section of the page: what it shows of an analysis. Each is a module in src/report/sections, and a name in SECTIONS there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from src.drawing.chart import Figure
from src.drawing.table import Table
from src.report.analysis import Analysis


def _nothing(analysis: Analysis) -> Sequence:
    return ()


@dataclass(frozen=True)
class Section:
    """What it makes is left out where it is empty: tables without rows, and a section without tables and figures."""

    id: str
    title: str
    lead: str = ""
    figures: Callable[[Analysis], Sequence[Figure]] = _nothing
    tables: Callable[[Analysis], Sequence[Table]] = _nothing
    legend: bool = False  # its figures show configurations, to be chosen
    besides: Callable[[Analysis], object] = _nothing  # what the template shows under this id besides; false: nothing


@dataclass(frozen=True)
class Part:
    """A section with what it shows of one analysis."""

    section: Section
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]


def parts(sections: Sequence[Section], analysis: Analysis) -> list[Part]:
    """The sections that have something to show, in their order."""
    made = []
    for section in sections:
        tables = tuple(table for table in section.tables(analysis) if table.rows)
        figures = tuple(section.figures(analysis))
        if figures or tables or section.besides(analysis):
            made.append(Part(section, figures, tables))
    return made
