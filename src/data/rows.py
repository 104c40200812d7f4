"""Rows of a data set as plain dicts, each with its place, so that an error can name file and line.

Files are read row by row. To read another file format, add a generator to READERS under its file suffix.
"""

import csv
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.common.errors import UserError
from src.common.hub import hub_reachable, mirrored

if TYPE_CHECKING:
    import datasets
    import pyarrow

ROWS_AT_ONCE = 1_000  # decoded together from a table
BUFFER_BYTES = 2**20  # of a Parquet column read together; otherwise all of a row group is, which may be the whole file


@dataclass(frozen=True, slots=True)
class Row:
    """One record and where it stands: "line 12" of a text file, "row 12" of a table; both count from 1."""

    place: str
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Malformed:
    """What should have been a row and cannot be read, and why."""

    place: str
    fault: str


@dataclass(frozen=True, slots=True)
class RawTable:
    """The rows of one data set; `source` is its name or path."""

    source: str
    rows: list[Row]


def read_file(path: str) -> RawTable:
    """All rows of a JSONL, Parquet or CSV file. Raises UserError, naming the line where there is one."""
    rows = []
    for row in stream_file(path):
        if isinstance(row, Malformed):
            raise UserError(f"{path}, {row.place}: {row.fault}")
        rows.append(row)
    if not rows:
        raise UserError(f"{path} holds no rows")
    return RawTable(path, rows)


def stream_file(path: str) -> Iterator[Row | Malformed]:
    """The rows of a file one after the other. Raises UserError for a file that cannot be read at all."""
    file = check_file(path)
    return READERS[file.suffix.lower()](file)


def check_file(path: str) -> Path:
    """The file at `path`; UserError where it does not exist or its suffix is not one of READERS."""
    file = Path(path).expanduser()
    if not file.is_file():
        fault = "is a folder, not a file" if file.is_dir() else "does not exist"
        raise UserError(f"{path} {fault}; name a JSONL, Parquet or CSV file")
    if file.suffix.lower() not in READERS:
        raise UserError(f"{path} is not JSONL, Parquet or CSV by its name: it must end in {', '.join(READERS)}")
    return file


def read_jsonl(file: Path) -> Iterator[Row | Malformed]:
    """One JSON object a line; blank lines are passed over."""
    for number, line in _lines(file):
        if line.isspace():
            continue
        place = f"line {number}"
        try:
            record = json.loads(line.encode("utf-8", "surrogateescape").decode("utf-8"))
        except UnicodeDecodeError:
            yield Malformed(place, "not UTF-8 text")
        except json.JSONDecodeError as error:
            yield Malformed(place, f"not a JSON object ({error.msg}, column {error.colno})")
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand brackets
            yield Malformed(place, f"not a JSON object ({error})")
        else:
            kind = _kind(record)
            one = isinstance(record, dict)
            yield Row(place, record) if one else Malformed(place, f"one JSON object a line is needed, this is a {kind}")


def read_csv(file: Path) -> Iterator[Row | Malformed]:
    """Comma-separated values, the first line naming the columns; all values are text.

    A record may span lines and is named by its first. What is no record costs its first line alone: reading goes on at
    the next one, so that a quote that is never closed takes no other rows with it.
    """
    lines, again = _lines(file), deque[tuple[int, str]]()
    taken: list[tuple[int, str]] = []  # lines of the record that is being read

    def texts() -> Iterator[str]:
        while line := again.popleft() if again else next(lines, None):
            taken.append(line)
            yield line[1]

    reader, header = csv.reader(texts(), strict=True), None
    while True:
        taken.clear()
        try:
            values = next(reader, None)
        except csv.Error as error:
            yield Malformed(f"line {taken[0][0]}", f"not CSV ({error})")
            again.extendleft(reversed(taken[1:]))
            reader = csv.reader(texts(), strict=True)
            continue
        if values is None:
            return
        place = f"line {taken[0][0]}"
        if any("\udc80" <= letter <= "\udcff" for value in values for letter in value):
            yield Malformed(place, "not UTF-8 text")
        elif header is None:
            header = values
        elif values and len(values) != len(header):
            yield Malformed(place, f"{len(values)} values where the header has {len(header)}")
        elif values:
            yield Row(place, dict(zip(header, values, strict=True)))


def read_parquet(file: Path) -> Iterator[Row | Malformed]:
    """A Parquet table."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False) as table:
            batches = table.iter_batches(batch_size=ROWS_AT_ONCE)
            for row in _numbered(record for batch in batches for record in _records_of(batch)):
                yield Malformed(row.place, "not UTF-8 text") if row.record is None else row
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{file} cannot be read as Parquet ({_first_line(error)})") from error


READERS: dict[str, Callable[[Path], Iterator[Row | Malformed]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_jsonl,
    ".parquet": read_parquet,
    ".csv": read_csv,
}


def stream_hub(loaded: "datasets.Dataset") -> Iterator[Row]:
    """The rows of what `open_hub` gives, one after the other."""
    return _numbered(record for part in loaded.iter(ROWS_AT_ONCE) for record in _records(part))


def open_hub(
    dataset: str, config: str | None, split: str, revision: str | None, alternative: str, files: str | None = None
) -> "datasets.Dataset":
    """A data set on the hub, its cached copy where the hub is out of reach, or a local clone of it; its rows stay on disk.

    `files` names one of its data files, where they differ in layout.

    Raises UserError, which ends in `alternative`, where there is no such data set, or neither hub nor cached copy.
    """
    import datasets
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    source = str(mirrored(dataset) or dataset)
    local = Path(source).is_dir()
    if not local and (dataset.startswith((".", "/", "~")) or dataset.count("/") > 1):
        raise UserError(f"{dataset} is neither a folder nor the name of a data set on the hub; {alternative}")
    # Left alone, the hub client retries for half a minute before it gives up; a single short try decides here.
    offline = not local and not hub_reachable(datasets.config.HF_ENDPOINT)
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or offline
    wanted = {"split": split, "revision": revision} | ({"data_files": {split: files}} if files else {})
    try:
        loaded = datasets.load_dataset(source, config, **wanted)
    except (datasets.exceptions.DatasetsError, HfHubHTTPError, ValueError, RuntimeError) as error:
        raise UserError(f"{dataset} (split {split}) cannot be loaded: {_first_line(error)}; {alternative}") from error
    except (httpx.TransportError, OSError) as error:
        raise UserError(f"the hub cannot be reached for {dataset}, and no copy is cached; {alternative}") from error
    finally:
        datasets.config.HF_HUB_OFFLINE = before
    if not len(loaded):
        raise UserError(f"{dataset} (split {split}) holds no rows")
    return loaded


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; what is not UTF-8 in them is kept as lone surrogates."""
    # Not splitlines(): JSON strings may hold U+2028, which is no line end in a file.
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as lines:
        yield from enumerate(lines, start=1)


def _numbered(records: Iterable[dict[str, Any]]) -> Iterator[Row]:
    return (Row(f"row {number}", record) for number, record in enumerate(records, start=1))


def _records_of(batch: "pyarrow.RecordBatch") -> list[dict[str, Any] | None]:
    """The rows of a batch, None for one whose text is not UTF-8: Parquet says what is text and does not check it."""
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        if len(batch) == 1:
            return [None]
        return [record for row in range(len(batch)) for record in _records_of(batch.slice(row, 1))]


def _records(columns: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    return (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))


def _kind(value: Any) -> str:
    return {list: "list", str: "text", type(None): "null", bool: "true or false"}.get(type(value), "number")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
