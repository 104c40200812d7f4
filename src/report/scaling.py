"""The scaling study's tables and figures, as `python -m src.scaling` left them in the folders of the sweeps reported."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from src.files import write_json
from src.report.chart import Figure
from src.report.left_out import LeftOut
from src.report.sweeps import Sweep
from src.report.table import Table
from src.scaling.tables import all_tables

RESULTS, FIGURES = Path("scaling", "results.json"), Path("scaling", "figures.json")
SECTION = "scaling"


def keep_figures(figures: Sequence[Figure], folder: Path) -> None:
    """Write the figures' specifications into a sweep's folder, for the report to draw."""
    write_json(folder / FIGURES, [asdict(figure) for figure in figures])


def of_sweeps(sweeps: Sequence[Sweep]) -> tuple[list[Figure], list[Table], list[LeftOut]]:
    """Figures and tables of every sweep that was analysed, their names and titles told apart by the sweep's; and the
    results that could not be read."""
    figures: list[Figure] = []
    tables: list[Table] = []
    left_out: list[LeftOut] = []
    for sweep in sweeps:
        if not (sweep.folder / RESULTS).is_file() or not (sweep.folder / FIGURES).is_file():
            continue
        try:
            of_tables = [_named(each, sweep) for each in all_tables(_read(sweep.folder / RESULTS))]
            of_figures = [_named(Figure(**each), sweep) for each in _read(sweep.folder / FIGURES)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"its tables and figures cannot be read ({type(error).__name__}: {error}); run python -m src.scaling again"
            left_out.append(LeftOut(str((sweep.folder / RESULTS).parent), reason))
        else:
            tables, figures = tables + of_tables, figures + of_figures
    return figures, tables, left_out


def _named(part: Any, sweep: Sweep) -> Any:
    return replace(part, name=f"{part.name}_{sweep.name}", title=f"{sweep.name}: {part.title}")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
