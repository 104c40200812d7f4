"""The published tables beside this file, each with its own protocol: never in one ranking, nor with own figures."""

import csv
import io
from importlib import resources


def reference(name: str) -> list[dict[str, str]]:
    """Rows of a published table, as text."""
    text = resources.files("src.report.reference").joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))
