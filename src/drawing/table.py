"""What all tables share: cells that are shown one way and sorted another, and a table as CSV and Markdown."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.common.files import write_whole
from src.common.screen import duration
from src.statistics import Interval


@dataclass(frozen=True)
class Cell:
    """What is shown, and the value that it sorts by and that the CSV holds."""

    text: str
    value: Any


@dataclass(frozen=True)
class Table:
    """`columns` pairs a heading with "text" or "number"."""

    name: str
    title: str
    note: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Cell, ...], ...]
    brief: bool = False  # it stands in the short report too
    closed: bool = False  # at first, on a page

    def csv(self) -> str:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([heading for heading, _ in self.columns])
        writer.writerows([["" if cell.value is None else cell.value for cell in row] for row in self.rows])
        return out.getvalue()

    def markdown(self, most: int = 30) -> str:
        lines = ["| " + " | ".join(heading for heading, _ in self.columns) + " |"]
        lines.append("| " + " | ".join("---:" if kind == "number" else "---" for _, kind in self.columns) + " |")
        lines += ["| " + " | ".join(_escape(cell.text) for cell in row) + " |" for row in self.rows[:most]]
        if len(self.rows) > most:
            lines.append(f"\n{len(self.rows) - most} more rows in tables/{self.name}.csv")
        return "\n".join(lines)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def table(
    name: str, title: str, note: str, columns: str, rows: Sequence[Sequence[Any]], *, brief: bool = False, closed: bool = False
) -> Table:
    """`columns` is a comma list of headings, a `#` before those of numbers; plain values become cells."""
    headings = [heading.strip() for heading in columns.split(",")]
    kinds = tuple((heading.removeprefix("#"), "number" if heading.startswith("#") else "text") for heading in headings)
    return Table(name, title, note, kinds, tuple(tuple(map(_cell, row)) for row in rows), brief, closed)


def _cell(value: Any) -> Cell:
    if isinstance(value, Cell):
        return value
    if value is None:
        return Cell("–", None)
    return Cell(plain(value), value)


def write_tables(tables: Iterable[Table], folder: Path) -> None:
    """Every table as a CSV file."""
    for each in tables:
        text = each.csv()
        write_whole(folder / f"{each.name}.csv", lambda path, t=text: path.write_text(t, encoding="utf-8"))


def percent(share: float) -> Cell:
    return Cell(f"{100 * share:.1f} %", round(share, 6))


def points(share: float) -> Cell:
    """A size in points of a percentage, such as a margin. None at all is no margin: nothing was there to know it from."""
    return Cell(f"{100 * share:.1f}", round(100 * share, 3)) if share > 0 else Cell("unknown", None)


def seconds(value: float) -> Cell:
    return Cell(f"{value:.1f} s" if 0 < value < 10 else duration(value), round(value, 2))


def dollars(usd: float) -> Cell:
    return Cell(f"${usd:,.2f}", usd)


def counted(number: float) -> Cell:
    """A large count, such as of tokens."""
    for size, unit in ((1e9, " G"), (1e6, " M")):
        if number >= size:
            return Cell(f"{number / size:,.1f}{unit}", number)
    return Cell(f"{number:,.0f}", number)


def spanned(interval: Interval, form: str, times: float = 1, unit: str = "") -> str:
    """A mean in a format, with its interval: `50.0 % (45.1–54.9)`, and with signs `+4.2 (−1.0 to +9.4)`."""
    mean, low, high = (f"{times * each:{form}}".replace("-", "−") for each in (interval.mean, interval.low, interval.high))
    return f"{mean}{unit} ({low}{' to ' if form.startswith('+') else '–'}{high})"


def share_with(interval: Interval) -> Cell:
    return Cell(spanned(interval, ".1f", 100, " %"), round(interval.mean, 6))


def gain_with(interval: Interval) -> Cell:
    """A difference of shares in points."""
    return Cell(spanned(interval, "+.1f", 100), round(100 * interval.mean, 4))


def tokens_with(interval: Interval, form: str = "+.1f") -> Cell:
    return Cell(spanned(interval, form), round(interval.mean, 3))


def p_value(p: float) -> Cell:
    return Cell("<0.001" if p < 0.001 else f"{p:.3f}", round(p, 5))


def plain(value: Any) -> str:
    """A setting as text: numbers short, no value as a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
    return str(value)
