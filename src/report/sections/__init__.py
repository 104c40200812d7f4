"""All tables of the report, in the order of the page. Each is shown on it, written as CSV, and short ones stand in report.md."""

from src.drawing.chart import Figure
from src.drawing.table import Table
from src.report.analysis import Analysis
from src.report.sections.claims import claims
from src.report.sections.configurations import configurations, shared_settings
from src.report.sections.cost import by_phase, costs, published_costs
from src.report.sections.curves import curves
from src.report.sections.efficiency import efficiency_tables
from src.report.sections.efficiency_front import efficiency_figures
from src.report.sections.factors import cells, effects, effects_figure, factor_levels
from src.report.sections.fronts import fronts
from src.report.sections.gains import gains
from src.report.sections.left_out import left_out
from src.report.sections.levels import levels
from src.report.sections.published import published
from src.report.sections.samples import several_samples, several_samples_figure
from src.report.sections.sweeps import importances, of_sweep, trials
from src.report.sections.verdict import limits, pairs, results


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


def all_figures(analysis: Analysis) -> list[Figure]:
    """In the order of the page."""
    figures = [gains(analysis, group) for group in analysis.ranked]
    figures += curves(analysis)
    figures += [figure for group in analysis.ranked for figure in fronts(analysis, group)]
    figures += efficiency_figures(analysis)
    figures += [several_samples_figure(analysis, group) for group in analysis.ranked if group.measure.samples > 1]
    figures += by_phase(analysis)
    figures += [figure for factorial in analysis.factorials for figure in (cells(factorial), effects_figure(factorial))]
    figures += [figure for number, sweep in enumerate(analysis.sweeps) for figure in of_sweep(sweep, number)]
    return [*figures, *analysis.scaling_figures]
