"""Rows of a data set as plain dicts, each with its place, so that an error can name file and line.

To read another file format, add a function to READERS under its file suffix.
"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.hub import hub_reachable, mirrored



@dataclass(frozen=True, slots=True)
class Row:
    """One record and where it stands: "line 12" of a text file, "row 12" of a table; both count from 1."""

    place: str
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one data set; `source` is its name or path."""

    source: str
    rows: list[Row]


def read_file(path: str) -> Table:
    """All rows of a JSONL, Parquet or CSV file. Raises UserError, naming the line where there is one."""
    file = check_file(path)
    rows = READERS[file.suffix.lower()](file)
    if not rows:
        raise UserError(f"{path} holds no rows")
    return Table(path, rows)


def check_file(path: str) -> Path:
    """The file at `path`; UserError where it does not exist or its suffix is not one of READERS."""
    file = Path(path).expanduser()
    if not file.is_file():
        fault = "is a folder, not a file" if file.is_dir() else "does not exist"
        raise UserError(f"{path} {fault}; name a JSONL, Parquet or CSV file")
    if file.suffix.lower() not in READERS:
        raise UserError(f"{path} is not JSONL, Parquet or CSV by its name: it must end in {', '.join(READERS)}")
    return file


def read_jsonl(file: Path) -> list[Row]:
    """One JSON object a line; blank lines are passed over."""
    rows = []
    # Not splitlines(): JSON strings may hold U+2028, which is no line end in a file.
    for number, line in enumerate(_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{file}, line {number}: not a JSON object ({error.msg}, column {error.colno})") from error
        if not isinstance(record, dict):
            raise UserError(f"{file}, line {number}: one JSON object a line is needed, this is a {_kind(record)}")
        rows.append(Row(f"line {number}", record))
    return rows


def read_csv(file: Path) -> list[Row]:
    """Comma-separated values, the first line naming the columns; all values are text."""
    reader = csv.reader(io.StringIO(_text(file), newline=""), strict=True)
    rows: list[Row] = []
    try:
        header = next(reader, [])
        start = reader.line_num + 1  # a quoted value may span lines: a record is named by its first
        for values in reader:
            if values and len(values) != len(header):
                raise UserError(f"{file}, line {start}: {len(values)} values where the header has {len(header)}")
            if values:
                rows.append(Row(f"line {start}", dict(zip(header, values, strict=True))))
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: not CSV ({error})") from error
    return rows


def read_parquet(file: Path) -> list[Row]:
    """A Parquet table."""
    import pyarrow
    import pyarrow.parquet

    try:
        records = pyarrow.parquet.read_table(file).to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{file} is not a Parquet file ({_first_line(error)})") from error
    return _numbered(records)


READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_jsonl,
    ".parquet": read_parquet,
    ".csv": read_csv,
}


def read_hub(
    dataset: str, config: str | None, split: str, revision: str | None, alternative: str, files: str | None = None
) -> Table:
    """All rows of a data set on the hub, of its cached copy where the hub is out of reach, or of a local clone of it.

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
        rows = _numbered(datasets.load_dataset(source, config, **wanted).to_list())
    except (datasets.exceptions.DatasetsError, HfHubHTTPError, ValueError, RuntimeError) as error:
        raise UserError(f"{dataset} (split {split}) cannot be loaded: {_first_line(error)}; {alternative}") from error
    except (httpx.TransportError, OSError) as error:
        raise UserError(f"the hub cannot be reached for {dataset}, and no copy is cached; {alternative}") from error
    finally:
        datasets.config.HF_HUB_OFFLINE = before
    if not rows:
        raise UserError(f"{dataset} (split {split}) holds no rows")
    return Table(dataset, rows)


def _text(file: Path) -> str:
    data = file.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}, line {line}: not UTF-8 text") from error


def _numbered(records: list[dict[str, Any]]) -> list[Row]:
    return [Row(f"row {number}", record) for number, record in enumerate(records, start=1)]


def _kind(value: Any) -> str:
    return {list: "list", str: "text", type(None): "null", bool: "true or false"}.get(type(value), "number")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
