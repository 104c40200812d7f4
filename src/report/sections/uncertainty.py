"""Where the uncertainty of a figure is from, and what would lower it most: a column of every table with intervals."""

from collections.abc import Mapping

from src.drawing.table import Cell, gain_with, p_value, points
from src.statistics import Difference, Source, detectable_by

SOURCES: tuple[Source, ...] = ("samples", "problems", "seeds")

UNCERTAIN = "uncertain from samples/problems/seeds"  # its column; CSV files hold what to buy next


def sources(shares: Mapping[Source, float], seeds: int) -> list[Cell | str | None]:
    """Shares of the variance from samples, problems and seeds, and which of them to buy next. One seed says nothing of seeds."""
    told = [Cell(f"{100 * shares[source]:.0f} %", round(shares[source], 3)) if shares else None for source in SOURCES]
    if seeds < 2:
        return [*told[:2], None, "seeds"]
    return [*told, max(SOURCES, key=shares.__getitem__) if shares else None]


def found(difference: Difference) -> Cell:
    """The smallest true difference that is found in 4 of 5 tries, in points; where nothing varied it is not known."""
    return points(detectable_by(difference) if difference.split.shares() else 0.0)


def uncertain(difference: Difference) -> Cell:
    """The same in one cell: `12/38/50 %: seeds`."""
    return uncertain_by(difference.split.shares(), difference.seeds)


COMPARED = f"#difference in points, #p, first is, #detectable in points, #equal within points, {UNCERTAIN}"


def compared(difference: Difference, p: float, standing: str) -> list[Cell | str]:
    """The columns of COMPARED."""
    within = points(difference.equal_within)
    return [gain_with(difference.interval), p_value(p), standing, found(difference), within, uncertain(difference)]


def uncertain_by(shares: Mapping[Source, float], seeds: int) -> Cell:
    *parts, bought = sources(shares, seeds)
    told = "/".join(part.text.removesuffix(" %") if isinstance(part, Cell) else "–" for part in parts)
    return Cell(f"{told} %: {bought}" if bought else "–", bought)
