"""Fits of a scaling study, as `python -m src.scaling <sweep folder>` leaves them in `scaling/results.json` there.

Of that file this is read, and whatever else is in it does not matter: `scale` (as in a run's summary), `seeds` (how many the
fits rest on), and numbers at any depth under `laws`, `forecasts`, `reuse` and `compute_optimal`. A number stands alone or
as {"value": …, "low": …, "high": …} with its 95 % interval.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.report.left_out import LeftOut
from src.statistics import Interval

FILE = Path("scaling", "results.json")


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
        file.resolve() for path in paths for below in ("", "*", "*/*") for file in sorted(path.glob(str(Path(below) / FILE)))
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
