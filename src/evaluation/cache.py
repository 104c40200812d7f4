"""Tables by key, each with a checksum: what is damaged counts as not there, and what cannot be kept is made again."""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from src.common.errors import in_words
from src.common.files import file_hash, unfinished, write_whole

if TYPE_CHECKING:
    import pandas as pd

ABANDONED_S = 24 * 3600.0  # after which a file that somebody has begun to write is one that a kill left


class Cache:
    """Files `<key>.<first 16 digits of the SHA-256 of the file>.parquet` in one folder, for runs at the same time too. Under a key
    there may be several, each a part."""

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.folder, self.warn = folder, warn

    def read(self, key: str) -> "pd.DataFrame | None":
        """The table of a key, None if there is none or none that is whole."""
        return next(self._tables(key), None)

    def read_all(self, key: str) -> "pd.DataFrame | None":
        """All tables that were written under a key as one, None if none is whole."""
        import pandas as pd

        tables = list(self._tables(key))
        return pd.concat(tables, ignore_index=True) if tables else None

    def _tables(self, key: str) -> "Iterator[pd.DataFrame]":
        import pandas as pd

        for path in sorted(self.folder.glob(f"{key}.*.parquet")):
            try:
                if path.name == f"{key}.{file_hash(path)[:16]}.parquet":
                    yield pd.read_parquet(path)
                    continue
                self.warn(f"cache: {path} is damaged; it is measured again")
                path.unlink()
            except OSError as error:
                self.warn(f"cache: {path} cannot be used ({error.strerror or error}); it is measured again")

    def write(self, key: str, rows: "pd.DataFrame") -> None:
        """Keep a table. Where that cannot be done it is said, and the run goes on."""
        content: bytes = rows.to_parquet()
        path = self.folder / f"{key}.{hashlib.sha256(content).hexdigest()[:16]}.parquet"
        try:
            self._sweep()
            write_whole(path, lambda temporary: temporary.write_bytes(content))
        except OSError as error:
            self.warn(f"cache: nothing can be kept in {self.folder} ({in_words(error)})")

    def _sweep(self) -> None:
        for path in unfinished(self.folder) if self.folder.is_dir() else ():
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink(missing_ok=True)
