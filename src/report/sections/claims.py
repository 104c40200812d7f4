"""The published claims."""


from src.drawing.table import Table, table
from src.report.analysis import Analysis


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
        "Each claim is tested on runs at its own scale; the test on the embedded micro model stands apart, and says nothing "
        "of the published model. Not measured: the runs that it needs are not among the records."
    )
    columns = "claim, what is claimed, source, published figure, test, at the published scale, why, on the micro model, why (micro)"
    return table("claims", "The published claims", note, columns, rows)
