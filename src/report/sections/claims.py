"""The published claims, and the published tables of src/report/reference beside them."""

from typing import Any

from src.drawing.table import Table, table
from src.report.analysis import Analysis
from src.report.reference.read import reference
from src.report.section import Section


def claims(analysis: Analysis) -> Table:
    rows = [
        [
            v.claim.id,
            v.claim.text,
            v.claim.source,
            v.claim.published,
            v.claim.test,
            v.at_scale,
            v.scale_reason,
            v.at_micro,
            v.micro_reason,
        ]
        for v in analysis.claims
    ]
    note = (
        "Each claim is tested on runs of its recipe at its own scale; the test on the embedded micro model is by analogy, stands "
        "apart, and says nothing of the published model. Not measured: the runs that it needs are not among the records. Runs of "
        "its experiment that are of another recipe are listed with what differs, and decide nothing."
    )
    columns = "claim, what is claimed, source, published figure, test, at the published scale, why, on the micro model, why (micro)"
    return table("claims", "The published claims", note, columns, rows, brief=True)


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
OPEN = ("baselines", "reevaluations", "efficient_reasoning")  # at first


def published() -> list[Table]:
    tables = []
    for name, title in PUBLISHED.items():
        rows, last = [], {}
        for row in reference(name):
            last = {key: last.get(key, "") if value == "same" else value for key, value in row.items()}
            rows.append([_number(value) for value in last.values()])
        columns = ", ".join(("#" if _is_number(rows[0][i]) else "") + key for i, key in enumerate(last))
        note = "Published figures with their own sampling and grader: to read beside one's own, not to rank with them."
        tables.append(table(f"published_{name}", title, note, columns, rows, closed=name not in OPEN))
    return tables


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text or None


def _is_number(value: Any) -> bool:
    return isinstance(value, float)


SECTION = Section(
    "claims",
    "Claims",
    "Published claims, tested on one's own runs. Published figures follow, with their protocols.",
    tables=lambda analysis: [claims(analysis), *published()],
)
