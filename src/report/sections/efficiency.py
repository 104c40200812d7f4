"""What shorter answers cost: by alpha and suite, by difficulty, and under another loss or normalisation."""

from collections.abc import Sequence

from src.drawing.table import Cell, Table, counted, gain_with, percent, share_with, spanned, table, tokens_with
from src.report.analysis import Analysis
from src.report.findings.configurations import Group
from src.report.findings.cut_answers import read_answers
from src.report.findings.efficiency import MAIN, Family, Recipe, families, token_contrast, trade
from src.report.section import Section
from src.report.sections.efficiency_front import efficiency_figures
from src.report.sections.uncertainty import UNCERTAIN, uncertain
from src.statistics import Interval, Side, difference, mean_of, share_of


def efficiency_tables(analysis: Analysis) -> list[Table]:
    """Empty where the records hold no alpha axis."""
    found = families(analysis.configurations)
    each = [(family, group) for family in found for group in analysis.groups if family.within(group)]
    return [_trades(each), _levels(each), _variants(each)]


def _trades(each: Sequence[tuple[Family, Group]]) -> Table:
    rows = []
    for family, group in each:
        recipes, suite = family.within(group), group.name + family.told
        answers = read_answers(group.measures(recipes[0].configuration, "before"))
        base = trade(group, recipes[0].configuration)
        base_accuracy, base_tokens = share_of(base.base_accuracy), mean_of(base.base_tokens)
        rows.append([suite, "base", None, None, share_with(base_accuracy), None, tokens_with(base_tokens, ",.0f"), None, None, None, None])
        for recipe in recipes:
            found = trade(group, recipe.configuration)
            last = trade(group, recipe.configuration, when="after")
            cut_P, _ = answers.at(answers.limit_for(found.tokens.mean))
            over_cut = difference(found.accuracy_side, Side(cut_P, problems=group.name)).interval
            rows.append(
                [
                    suite,
                    recipe.label,
                    recipe.alpha,
                    found.seeds,
                    share_with(found.accuracy),
                    gain_with(found.gain.interval),
                    tokens_with(found.tokens, ",.0f"),
                    change_with(found.change),
                    change_with(last.change),
                    gain_with(over_cut),
                    uncertain(found.gain),
                ]
            )
    note = (
        "Against the base, paired by problem; over seeds and problems, with one seed over problems alone. Intervals are "
        "95 %, not corrected. Weights: the best by validation accuracy; beside them the change of the last weights' tokens. The "
        "last column is the gain in points over the base's own answers, cut at the limit that leaves them as many tokens."
    )
    columns = (
        "suite, recipe, #alpha, #seeds, #accuracy, #gain in points, #tokens, #tokens against base, "
        f"#tokens of the last weights, #gain over the base cut to as many, {UNCERTAIN}"
    )
    return table("efficiency", "Accuracy and tokens by alpha", note, columns, rows, brief=True)


def _levels(each: Sequence[tuple[Family, Group]]) -> Table:
    parts = []
    for family, group in each:
        recipes = family.within(group)
        for level, at_P in group.levels:
            trades = [(recipe, trade(group, recipe.configuration, at_P)) for recipe in recipes]
            rows = [
                [
                    group.name + family.told,
                    level,
                    int(at_P.sum()),
                    percent(float(found.base_accuracy.values_SP.mean())),
                    counted(mean_of(found.base_tokens).mean),
                    recipe.label,
                    change_with(found.change),
                    gain_with(found.gain.interval),
                    uncertain(found.gain),
                ]
                for recipe, found in trades
            ]
            parts.append((mean_of(trades[0][1].base_tokens).mean, rows))
    rows = [row for _, part in sorted(parts, key=lambda part: part[0]) for row in part]
    note = "The problems that take the base the fewest tokens first. Paired by problem; intervals are 95 %, not corrected."
    columns = f"suite, level, #problems, #base, #base tokens, recipe, #tokens against base, #gain in points, {UNCERTAIN}"
    return table("efficiency_levels", "Tokens saved by difficulty", note, columns, rows)


def _variants(each: Sequence[tuple[Family, Group]]) -> Table:
    """Series that differ from the main one in another setting, at each alpha that both have."""
    rows = []
    for family, group in each:
        recipes = family.within(group)
        main = {recipe.alpha: recipe for recipe in recipes if recipe.series == MAIN}
        for other in recipes:
            if other.series != MAIN and other.alpha in main:
                rows.append([group.name + family.told, other.alpha, *_variant(group, main[other.alpha], other)])
    note = (
        "What another loss or another normalisation of the advantages changes at the same alpha; tokens in % of the base's. "
        "Paired by problem; intervals are 95 %, not corrected."
    )
    columns = f"suite, #alpha, setting, #seeds, #tokens more than without it, #points more than without it, {UNCERTAIN}"
    return table("efficiency_variants", "The same alpha with another loss or normalisation", note, columns, rows)


def _variant(group: Group, main: Recipe, other: Recipe) -> list[object]:
    tokens = token_contrast(group, [(1.0, other.configuration), (-1.0, main.configuration)])
    accuracy = difference(group.side(other.configuration), group.side(main.configuration))
    setting = other.series.removeprefix(f"{MAIN}, ")
    return [setting, tokens.seeds, change_with(tokens.interval), gain_with(accuracy.interval), uncertain(accuracy)]


def change_with(interval: Interval) -> Cell:
    return Cell(spanned(interval, "+.1f", 100, " %"), round(interval.mean, 6))


SECTION = Section(
    "efficiency",
    "What shorter answers cost",
    "Runs under length pressure (reward.alpha) against their base, and against two controls: training on its shortest correct "
    "answers, and its answers cut at a limit.",
    efficiency_figures,
    efficiency_tables,
)
