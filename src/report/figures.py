"""All figures of the page."""

from src.report.accuracy_figures import cells, effects, gains, several_samples
from src.report.analysis import Analysis
from src.report.chart import Figure
from src.report.cost_figures import by_phase
from src.report.curves import curves
from src.report.efficiency_figures import efficiency_figures
from src.report.front_figures import fronts
from src.report.sweep_figures import of_sweep


def all_figures(analysis: Analysis) -> list[Figure]:
    """In the order of the page."""
    figures = [gains(analysis, group) for group in analysis.ranked]
    figures += curves(analysis)
    figures += [figure for group in analysis.ranked for figure in fronts(analysis, group)]
    figures += efficiency_figures(analysis)
    figures += [several_samples(analysis, group) for group in analysis.ranked if group.measure.samples > 1]
    figures += by_phase(analysis)
    figures += [figure for factorial in analysis.factorials for figure in (cells(factorial), effects(factorial))]
    figures += [figure for number, sweep in enumerate(analysis.sweeps) for figure in of_sweep(sweep, number)]
    return [*figures, *analysis.scaling_figures]
