"""The published claims, and the published tables of src/report/reference beside them."""

from typing import Any

from src.drawing.table import Table, percent, table
from src.report.analysis import Analysis
from src.report.claims.claims import ClaimVerdict
from src.report.claims.decision import Outcome
from src.report.reference.read import reference
from src.report.section import Section
from src.report.sections.uncertainty import UNCERTAIN, uncertain
from src.statistics import Difference


def claims(analysis: Analysis) -> Table:
    """Those of the studies that the runs speak to."""
    rows = [
        [v.claim.id, v.claim.text, where, outcome, why, "; ".join(uncertain(d).text for d in differences) or None, *_published(v)]
        for v in analysis.claims
        if v.study in analysis.studies
        for where, outcome, why, differences in _tested(v)
    ]
    note = (
        "Each claim is tested on runs of its recipe at its own scale; on the embedded micro model by analogy, which says nothing of the "
        "published one. Not measured: the runs that it needs are not among the records."
    )
    columns = f"claim, what is claimed, measured, verdict, why, {UNCERTAIN}, published figure, test, source"
    return table("claims", "The published claims", note, columns, rows, brief=True)


def _tested(v: ClaimVerdict) -> list[tuple[str, Outcome, str, tuple[Difference, ...]]]:
    """Where it was measured; at its own scale, and not, where that is nowhere."""
    at_scale = ("at its own scale", v.at_scale, v.scale_reason, v.scale_differences)
    at_micro = ("by analogy, on the micro model", v.at_micro, v.micro_reason, v.micro_differences)
    return [each for each in (at_scale, at_micro) if each[1] != "not measured"] or [at_scale]


def _published(v: ClaimVerdict) -> list[str]:
    return [v.claim.published, v.claim.test, v.claim.source]


def other_claims(analysis: Analysis) -> Table:
    """Those of studies that no run here speaks to, and what it would take."""
    rows = [
        [v.claim.id, v.claim.text, v.scale_reason, *_published(v)] for v in analysis.claims if v.study not in analysis.studies
    ]
    columns = "claim, what is claimed, what it takes, published figure, test, source"
    return table("other_claims", "Claims of studies that no run here speaks to", "", columns, rows, closed=True)


# The published tables with their studies, each with its own protocol: they are never put into one ranking, nor into one with own
# figures.
PUBLISHED = {
    "baselines": ("A", "As published in Open-RS: one sample a problem"),
    "reevaluations": ("A", "Re-evaluations under many seeds"),
    "efficient_reasoning": ("C", "Training language models to reason efficiently"),
    "scaling_final_pass1": ("B", "Scaling behaviours: final pass@1"),
    "scaling_data_reuse": ("B", "Scaling behaviours: data reuse"),
    "scaling_law_params": ("B", "Scaling behaviours: parameters of the law"),
    "open_rs_checkpoints": ("A", "Open-RS checkpoints, from the released logs"),
}
SHARES = ("pass_at_1",)  # columns of shares, which the page tells in %


def published(analysis: Analysis) -> list[Table]:
    tables = []
    for name, (study, title) in PUBLISHED.items():
        rows, last = [], {}
        for row in reference(name):
            last = {key: last.get(key, "") if value == "same" else value for key, value in row.items()}
            rows.append([percent(float(value)) if key in SHARES else _number(value) for key, value in last.items()])
        columns = ", ".join(("#" if not isinstance(rows[0][i], str | None) else "") + key.replace("_", " ") for i, key in enumerate(last))
        note = "Published figures with their own sampling and grader: to read beside one's own, not to rank with them."
        tables.append(table(f"published_{name}", title, note, columns, rows, closed=study not in analysis.studies))
    return tables


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text or None


SECTION = Section(
    "claims",
    "Claims",
    "Published claims, tested on one's own runs. Published figures follow, with their protocols.",
    tables=lambda analysis: [claims(analysis), other_claims(analysis), *published(analysis)],
)
