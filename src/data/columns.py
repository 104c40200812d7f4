"""From rows of any layout to the fields of a problem, by a map of columns."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from src.common.base import Config
from src.common.errors import UserError, nearest
from src.common.types import LEVELS
from src.data.rows import RawTable, Row
from src.grading.extraction import last_box

_HALVES = re.compile("[\ud800-\udfff]")  # of UTF-16 pairs: JSON can spell one alone, a file cannot hold it
MISSING = object()  # what a row holds at a path it does not have; None is a null that it does have


class ColumnMap(Config):
    """Where a row holds what a problem needs: column names, or dotted paths such as `reward_model.ground_truth`."""

    question: str
    answer: str
    id: str | None = None
    pass_rate: str | None = None  # share of tries a reference model solved, 0 to 1
    level: str | None = None  # easy or hard, for data sets that hold both
    source: str | None = None  # where a problem was taken from, for data sets that gather others
    strip_prefix: str = ""  # an instruction that stands before every question
    strip_suffix: str = ""  # a request that stands after every question
    answer_after: str | None = None  # the answer is what follows the last of these, such as #### in GSM8K
    answer_boxed: bool = False  # the answer is what stands in the last box of a solution; without a box there is none

    def paths(self) -> list[str]:
        """The paths that are in use."""
        paths = (self.question, self.answer, self.id, self.pass_rate, self.level, self.source)
        return [path for path in paths if path is not None]


@dataclass(frozen=True, slots=True)
class Fields:
    """What one row says of a problem; "" or None where it says nothing."""

    place: str
    question: str
    answer: str
    id: str
    pass_rate: float | None
    level: str | None
    source: str
    columns: dict[str, Any]  # what else the row holds


def check_columns(table: RawTable, columns: ColumnMap) -> None:
    """Raise UserError for a column that no row has, and for a text to strip that no question has."""
    for path in columns.paths():
        require_path(table, path)
    if columns.strip_prefix or columns.strip_suffix:
        values = [value_at(row.record, columns.question) for row in table.rows]
        asked = [value.strip() for value in values if isinstance(value, str)]  # what is no text is said of its row
        _require_affix(table, "strip_prefix", [text.startswith(columns.strip_prefix) for text in asked], columns)
        _require_affix(table, "strip_suffix", [text.endswith(columns.strip_suffix) for text in asked], columns)


def fields_of(source: str, row: Row, columns: ColumnMap) -> Fields:
    """The fields of one row. Raises UserError, naming source and row, for a value of the wrong kind."""
    question, used = _text(source, row, columns.question, "question"), columns.paths()
    return Fields(
        row.place,
        question.removeprefix(columns.strip_prefix).removesuffix(columns.strip_suffix).strip(),
        _answer(source, row, columns),
        _text(source, row, columns.id, "id") if columns.id else "",
        _pass_rate(source, row, columns.pass_rate) if columns.pass_rate else None,
        _level(source, row, columns.level) if columns.level else None,
        _text(source, row, columns.source, "source") if columns.source else "",
        {name: value for name, value in row.record.items() if name not in used},
    )


def value_at(record: Any, path: str) -> Any:
    """The value at a dotted path such as `prompt.0.content`, or MISSING.

    Names may hold dots themselves (`extra_info.qwen2.5_7b_pass_rate`): the longest name that exists is taken.
    """
    if not path:
        return record
    if isinstance(record, list):
        index, _, rest = path.partition(".")
        return value_at(record[int(index)], rest) if index.isdecimal() and int(index) < len(record) else MISSING
    if not isinstance(record, dict):
        return MISSING
    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        name = ".".join(parts[:cut])
        if name in record:
            return value_at(record[name], ".".join(parts[cut:]))
    return MISSING


def paths_of(record: Any, prefix: str = "") -> list[str]:
    """The dotted paths of all plain values in a record; of a list, those of its first element."""
    if isinstance(record, dict) and record:
        return [path for name, value in record.items() for path in paths_of(value, f"{prefix}{name}.")]
    if isinstance(record, list) and record:
        return paths_of(record[0], f"{prefix}0.")
    return [prefix.removesuffix(".")]


def require_path(table: RawTable, path: str) -> None:
    """Raise UserError, with the nearest name and all of them, where no row has anything at `path`."""
    if any(value_at(row.record, path) is not MISSING for row in table.rows):
        return
    columns = sorted({name for row in table.rows[:100] for name in paths_of(row.record)})
    hint, listed = nearest(path, columns), ", ".join(columns)
    raise UserError(f"{table.source} has no column {path}; {hint}" + ("" if listed in hint else f" It has {listed}"))


def _require_affix(table: RawTable, name: str, found: list[bool], columns: ColumnMap) -> None:
    affix = getattr(columns, name)
    if found and not any(found):
        raise UserError(
            f"{table.source}: columns.{name} {affix!r} was found in no question; give it exactly as it stands"
        )


def _text(source: str, row: Row, path: str, what: str) -> str:
    """The text at a path, "" for a null; numbers are written out, whole ones without a decimal point."""
    value = value_at(row.record, path)
    if _is_null(value):
        return ""
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else f"{Decimal(repr(value)):f}"  # not 1e-07, which reads as e - 7
    if isinstance(value, str) and _HALVES.search(value):
        raise _wrong(source, row, what, "holds half a character (a lone surrogate), which no file can hold")
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value).strip()
    if isinstance(value, dict | list) and value:
        part = paths_of(value, f"{path}.")[0]
        raise _wrong(source, row, what, f"is a {type(value).__name__}, not text; columns.{what} may name a part of it, such as {part}")
    kind = "true or false" if isinstance(value, bool) else f"a {type(value).__name__}{'' if value else ' of nothing'}"
    raise _wrong(source, row, what, f"is {kind}, not text; columns.{what} must name another column")


def _answer(source: str, row: Row, columns: ColumnMap) -> str:
    text = _text(source, row, columns.answer, "answer")
    if columns.answer_boxed:
        return last_box(text)
    if columns.answer_after is None or not text:
        return text
    if columns.answer_after not in text:
        raise _wrong(source, row, "answer", f"holds no {columns.answer_after!r} (columns.answer_after)")
    return text.rpartition(columns.answer_after)[2].strip()


def _pass_rate(source: str, row: Row, path: str) -> float | None:
    value = value_at(row.record, path)
    if _is_null(value) or value == "":
        return None
    rate = _number(value)
    if rate is None or not 0 <= rate <= 1:
        raise _wrong(source, row, "pass rate", f"is {value!r}, not a number from 0 to 1")
    return rate


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _level(source: str, row: Row, path: str) -> str | None:
    text = _text(source, row, path, "level").lower()
    if text and text not in LEVELS:
        raise _wrong(
            source, row, "level", f"is {text!r}, not {' or '.join(LEVELS)}; leave out columns.level to use the pool's"
        )
    return text or None


def _is_null(value: Any) -> bool:
    return value is MISSING or value is None or (isinstance(value, float) and math.isnan(value))


def _wrong(source: str, row: Row, what: str, fault: str) -> UserError:
    return UserError(f"{source}, {row.place}: the {what} {fault}")
