"""What a model said, kept by content: an interrupted measurement goes on where it stopped, and none is done twice."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from src.common.errors import UserError


class Cache:
    """Plain values by key, in a SQLite file; a context manager. What `put` returned from survives a kill."""

    def __init__(self, path: Path) -> None:
        """Raises UserError where the file cannot be opened."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, timeout=60)
            self._db.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
        except sqlite3.Error as error:
            raise UserError(f"{path} cannot be used as a cache ({error}); move it away") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def get(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values that are there."""
        query = "SELECT value FROM entries WHERE key = ?"
        found = {key: self._db.execute(query, (key,)).fetchone() for key in keys}
        return {key: json.loads(row[0]) for key, row in found.items() if row}

    def put(self, values: Mapping[str, Any]) -> None:
        """Add values, all or none. Raises OSError where the disk is full."""
        try:
            with self._db:
                rows = [(key, json.dumps(value, ensure_ascii=False)) for key, value in values.items()]
                self._db.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?)", rows)
        except sqlite3.OperationalError as error:
            raise OSError(f"the cache cannot be written ({error})") from error
