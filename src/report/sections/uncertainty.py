"""Where the uncertainty of a figure is from, and what would lower it most: a column of every table with intervals."""

from src.drawing.table import Cell
from src.statistics import Difference

UNCERTAIN = "uncertain from samples/problems/seeds"  # its column; CSV files hold what to buy next


def sources(difference: Difference) -> list[Cell | str | None]:
    """Shares of the variance from samples, problems and seeds, and which of them to buy next."""
    shares = difference.split.shares()
    told = [Cell(f"{shares[source]:.0%}", round(shares[source], 3)) if shares else None for source in ("samples", "problems", "seeds")]
    if difference.seeds < 2:
        return [*told[:2], None, "seeds"]
    return [*told, max(shares, key=shares.__getitem__) if shares else None]


def uncertain(difference: Difference) -> Cell:
    """The same in one cell: `12/38/50 %: seeds`. A single seed says nothing of seeds."""
    *shares, bought = sources(difference)
    told = "/".join(share.text.removesuffix("%") if isinstance(share, Cell) else "–" for share in shares)
    return Cell(f"{told} %: {bought}" if bought else "–", bought)
