"""Models that were measured without training (`python -m src.evaluate`): each by itself, and each against each other one."""

from src.drawing.table import Table, counted, percent, share_with, table
from src.report.analysis import Analysis
from src.report.findings.configurations import how_much
from src.report.findings.models import ModelGroup, side
from src.report.section import Section
from src.report.sections.uncertainty import COMPARED, compared
from src.statistics import share_of


def models(analysis: Analysis) -> Table:
    rows = [
        [
            group.suite,
            name,
            share_with(share_of(side(measure))),
            None if measure.anywhere is None else percent(measure.anywhere),
            counted(measure.tokens),
            percent(measure.truncated_share),
            asked(group),
        ]
        for group in analysis.models
        for name, measure in group.measures.items()
    ]
    note = "Intervals are 95 %, over problems. With unboxed: where an answer that is right but in no box counts too."
    columns = "suite, model, #accuracy, #with unboxed, #tokens, #truncated, measured as"
    return table("models", "Models measured", note, columns, rows, brief=True)


def asked(group: ModelGroup) -> str:
    protocol = group.protocol
    return f"{how_much(protocol)}, prompt {protocol['prompt']}, answers {protocol['reader']}, {protocol['grader'].split(',')[0]}"


def model_pairs(analysis: Analysis) -> Table:
    rows = [
        [group.suite, pair.first, pair.second, *compared(pair.difference, pair.p, pair.standing)]
        for group in analysis.models
        for pair in group.pairs
    ]
    note = (
        "First minus second, paired by problem; only what was measured on the same problems in the same way. p is corrected for all "
        "pairs (Holm). The difference is one of these weights: it says nothing of the recipe that another seed would give."
    )
    return table("model_pairs", "Models against each other", note, f"suite, first, second, {COMPARED}", rows, brief=True)


SECTION = Section("models", "Models", tables=lambda analysis: [models(analysis), model_pairs(analysis)])
