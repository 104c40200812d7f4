"""Fits of a scaling study, as `python -m src.scaling <sweep folder>` leaves them in `scaling/results.json` there.

Of that file this is read, and whatever else is in it does not matter: `scale` (as in a run's summary), `seeds` (how many the
fits rest on), and numbers at any depth under `laws`, `forecasts`, `reuse` and `compute_optimal`. A number stands alone or
as {"value": …, "low": …, "high": …} with its 95 % interval.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from src.common.files import write_json
from src.drawing.chart import Figure
from src.drawing.table import Table
from src.record.left_out import LeftOut
from src.scaling.tables import all_tables
from src.statistics import Interval

RESULTS, FIGURES = Path("scaling", "results.json"), Path("scaling", "figures.json")


@dataclass(frozen=True)
class Fits:
    """One study's fits."""

    folder: Path
    content: dict[str, Any]

    @property
    def micro(self) -> bool:
        return self.content.get("scale") == "micro"

    @property
    def seeds(self) -> int:
        seeds = self.content.get("seeds")
        return seeds if isinstance(seeds, int) else 1

    def number(self, path: str) -> Interval | None:
        """The number at a dotted path; None if there is none, or one without a finite value."""
        found: Any = self.content
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if isinstance(found, int | float):
            return Interval(float(found), float(found), float(found))
        if not isinstance(found, dict) or not all(isinstance(found.get(key), int | float) for key in ("value", "low", "high")):
            return None
        return Interval(float(found["value"]), float(found["low"]), float(found["high"]))


def read_fits(paths: Sequence[Path]) -> tuple[list[Fits], list[LeftOut]]:
    """The fits in `paths` and in the sweep folders directly or two levels below them, and those that could not be read."""
    files = dict.fromkeys(
        file.resolve() for path in paths for below in ("", "*", "*/*") for file in sorted(path.glob(str(Path(below) / RESULTS)))
    )
    fits, left_out = [], []
    for file in files:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            left_out.append(LeftOut(str(file), f"malformed results of a scaling study ({error})"))
            continue
        if isinstance(content, dict):
            fits.append(Fits(file.parents[1], content))
        else:
            left_out.append(LeftOut(str(file), "malformed results of a scaling study (no object)"))
    return fits, left_out


def keep_figures(figures: Sequence[Figure], folder: Path) -> None:
    """Write the figures' specifications into a sweep's folder, for the report to draw."""
    write_json(folder / FIGURES, [asdict(figure) for figure in figures])


def of_sweeps(sweeps: Mapping[str, Path]) -> tuple[list[Figure], list[Table], list[LeftOut]]:
    """Figures and tables of every sweep (its name: its folder) that was analysed, their names and titles told apart by the sweep's; and the
    results that could not be read."""
    figures: list[Figure] = []
    tables: list[Table] = []
    left_out: list[LeftOut] = []
    for name, folder in sweeps.items():
        if not (folder / RESULTS).is_file() or not (folder / FIGURES).is_file():
            continue
        try:
            of_tables = [_named(each, name) for each in all_tables(_read(folder / RESULTS))]
            of_figures = [_named(_figure(each), name) for each in _read(folder / FIGURES)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"its tables and figures cannot be read ({type(error).__name__}: {error}); run python -m src.scaling again"
            left_out.append(LeftOut(str((folder / RESULTS).parent), reason))
        else:
            tables, figures = tables + of_tables, figures + of_figures
    return figures, tables, left_out


def _figure(content: dict[str, Any]) -> Figure:
    return Figure(**{key: value for key, value in content.items() if key != "section"})  # which earlier versions wrote


def _named(part: Any, sweep: str) -> Any:
    return replace(part, name=f"{part.name}_{sweep}", title=f"{sweep}: {part.title}")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
