"""Models that were measured without training (`python -m src.evaluate`): each by itself, and each against each other one."""

from src.drawing.table import Cell, Table, gain_with, p_value, percent, share_with, table
from src.report.analysis import Analysis
from src.report.findings.models import ModelGroup, side
from src.report.section import Section
from src.statistics import detectable_by, share_of


def models(analysis: Analysis) -> Table:
    rows = [
        [
            group.suite,
            name,
            share_with(share_of(side(measure))),
            None if measure.anywhere is None else percent(measure.anywhere),
            Cell(f"{measure.tokens:.0f}", round(measure.tokens, 2)),
            percent(measure.truncated_share),
            asked(group),
        ]
        for group in analysis.models
        for name, measure in group.measures.items()
    ]
    note = "Intervals are 95 %, over problems. With unboxed: where an answer that is right but in no box counts too."
    return table("models", "Models measured", note, "suite, model, #accuracy, #with unboxed, #tokens, #truncated, measured as", rows, brief=True)


def asked(group: ModelGroup) -> str:
    protocol = group.protocol
    return (
        f"{protocol['problem count']} problems [{protocol['set of problems']}] × {protocol['samples per problem']}, prompt {protocol['prompt']}, "
        f"{protocol['reader']} answers, {protocol['grader'].split(',')[0]}"
    )


def model_pairs(analysis: Analysis) -> Table:
    rows = [
        [
            group.suite,
            pair.first,
            pair.second,
            gain_with(pair.difference.interval),
            p_value(pair.p),
            pair.standing,
            Cell(f"{100 * (found := detectable_by(pair.difference)):.1f}", round(found, 5)),
            Cell(f"{100 * pair.difference.equal_within:.1f}", round(pair.difference.equal_within, 5)),
        ]
        for group in analysis.models
        for pair in group.pairs
    ]
    note = (
        "First minus second, paired by problem; only what was measured on the same problems in the same way. p is corrected for all "
        "pairs (Holm). The difference is one of these weights: it says nothing of the recipe that another seed would give."
    )
    columns = "suite, first, second, #difference in points, #p, first is, #detectable in points, #equal within points"
    return table("model_pairs", "Models against each other", note, columns, rows, brief=True)


SECTION = Section("models", "Models", tables=lambda analysis: [models(analysis), model_pairs(analysis)])
