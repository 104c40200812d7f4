"""The published tables of src/report/reference, each with its own protocol: never in one ranking, nor with own figures."""

import csv
import io
from importlib import resources
from typing import Any

from src.drawing.table import Table, table


def reference(name: str) -> list[dict[str, str]]:
    """Rows of a published table, as text."""
    text = resources.files("src.report.reference").joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


# The published tables, each with its own protocol: they are never put into one ranking, nor into one with own figures.
PUBLISHED = {
    "baselines": "As published in Open-RS: one sample a problem",
    "reevaluations": "Re-evaluations under many seeds",
    "efficient_reasoning": "Training language models to reason efficiently",
    "scaling_final_pass1": "Scaling behaviours: final pass@1",
    "scaling_data_reuse": "Scaling behaviours: data reuse",
    "scaling_law_params": "Scaling behaviours: parameters of the law",
    "open_rs_checkpoints": "Open-RS checkpoints, from the released logs",
}


def published() -> list[Table]:
    tables = []
    for name, title in PUBLISHED.items():
        rows, last = [], {}
        for row in reference(name):
            last = {key: last.get(key, "") if value == "same" else value for key, value in row.items()}
            rows.append([_number(value) for value in last.values()])
        columns = ", ".join(("#" if _is_number(rows[0][i]) else "") + key for i, key in enumerate(last))
        note = "Published figures with their own sampling and grader: to read beside one's own, not to rank with them."
        tables.append(table(f"published_{name}", title, note, columns, rows))
    return tables


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text or None


def _is_number(value: Any) -> bool:
    return isinstance(value, float)
