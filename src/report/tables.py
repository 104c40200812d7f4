"""All tables of the report, in the order of the page. Each is shown on it, written as CSV, and short ones stand in report.md."""

from src.report.accuracy_tables import effects, levels, limits, pairs, results, several_samples
from src.report.analysis import Analysis
from src.report.configurations import Configuration, differing, settings
from src.report.cost_tables import costs, published_costs
from src.report.efficiency_tables import efficiency_tables
from src.report.factor_levels import factor_levels
from src.report.published import published
from src.report.sweep_tables import importances, trials
from src.report.table import Table, table


def all_tables(analysis: Analysis) -> list[Table]:
    """In the order of the page."""
    tables = [
        results(analysis),
        pairs(analysis),
        limits(analysis),
        several_samples(analysis),
        levels(analysis),
        *efficiency_tables(analysis),
        effects(analysis),
        factor_levels(analysis),
        importances(analysis),
        trials(analysis),
        costs(analysis),
        published_costs(),
        configurations(analysis),
        shared_settings(analysis),
        claims(analysis),
        *published(),
        left_out(analysis),
        *analysis.scaling_tables,
    ]
    return [each for each in tables if each.rows]


def configurations(analysis: Analysis) -> Table:
    found: list[Configuration] = list(analysis.configurations)
    configs = [settings(c.runs[0]) for c in found]
    differ = differing(configs) if len(found) > 1 else []
    rows = [[key, *[config.get(key) for config in configs]] for key in differ]
    columns = ", ".join(["setting", *(c.label.replace(",", ";") for c in found)])
    return table("configurations", "Configurations side by side", "What differs between them.", columns, rows)


def shared_settings(analysis: Analysis) -> Table:
    configs = [settings(c.runs[0]) for c in analysis.configurations]
    differ = set(differing(configs)) if len(configs) > 1 else set()
    rows = [[key, value] for key, value in configs[0].items() if key not in differ] if configs else []
    return table("shared_settings", "Settings that all share", "", "setting, value", rows)


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


def left_out(analysis: Analysis) -> Table:
    rows = [[entry.folder, entry.reason] for entry in (*analysis.left_out, *analysis.unfinished)]
    return table("left_out", "Left out", "Records that the verdict does not rest on, and why.", "record, reason", rows)
