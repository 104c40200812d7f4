"""Recipes at equal cost: validation over what had been computed, and the verdict where the cheapest run ended."""

from collections.abc import Iterator

import numpy as np

from src.drawing.chart import Figure, Row, short, zoom
from src.drawing.table import Cell, Table, gain_with, p_value, share_with, table
from src.report.analysis import Analysis
from src.report.findings.configurations import Configuration
from src.report.findings.equal_cost import COST, EqualCost
from src.report.section import Section
from src.report.sections.factors import effects, effects_figure
from src.report.sections.shown import chart_of, colour
from src.report.sections.uncertainty import UNCERTAIN, uncertain
from src.report.sections.verdict import pairs, standing
from src.statistics import share_of


def reached(analysis: Analysis) -> Table:
    rows = [[each.group.name, *_reached(each, c)] for each in analysis.equal_costs for c in each.group.configurations]
    note = (
        "Validation of the last weights: at the end of runs that took as many steps, and where the cheapest run had ended, between two "
        "validations on the straight line, which understates dearer ones where curves flatten. Operations: of all that was sampled, what "
        "was thrown away too, scored and trained on. The learning rate stands there where a run's own schedule has it. Gain: over the "
        "base at equal cost; p is Holm's, over these alone."
    )
    columns = (
        "suite, configuration, #seeds, #operations a run, #times the cheapest, #steps at equal cost, #accuracy at equal steps, "
        f"#accuracy at equal cost, #gain in points, #p, against the base, {UNCERTAIN}"
    )
    return table("equal_cost", "At equal steps and at equal cost", note, columns, rows, brief=True)


def _reached(each: EqualCost, c: Configuration) -> list:
    finding, spent = each.verdict.of(each.group, c), each.spent(c)
    return [
        c.label,
        len(each.group.runs[c.key]),
        Cell(f"{spent:.3g}", spent),
        round(spent / min(map(each.spent, each.group.configurations)), 3),
        round(each.steps(c), 1),
        share_with(share_of(each.at_end.side(c))),
        share_with(share_of(each.group.side(c))),
        gain_with(finding.difference.interval),
        p_value(finding.p),
        standing(finding),
        uncertain(finding.difference),
    ]


def over_cost(analysis: Analysis, each: EqualCost) -> Figure:
    """Validation over operations, the mean over seeds; dashed: where the table compares."""
    rows = [row for c in each.at_end.configurations for row in _curve(each, c)]
    x = {"field": "operations", "type": "quantitative", "title": "operations of a run", "axis": {"format": ".1e"}}
    y = {"type": "quantitative", "title": "validation accuracy", "axis": {"format": ".0%"}, "scale": {"zero": False}}
    tooltip = [{"field": "configuration"}, {"field": "step"}, {"field": "accuracy", "format": ".1%"}, {"field": "operations", "format": ".2e"}]
    hue = colour(analysis)
    layers = [
        {"mark": {"type": "area", "opacity": 0.12}, "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": hue}},
        {"mark": {"type": "rule", "strokeDash": [4, 3], "color": "#888888"}, "encoding": {"x": {"datum": short(each.cost)}}},
        {
            "params": [zoom()],
            "mark": {"type": "line", "point": {"size": 40}},
            "encoding": {"x": x, "y": {**y, "field": "accuracy"}, "color": hue, "tooltip": tooltip},
        },
    ]
    caption = "Mean over seeds; the band reaches from the lowest seed to the highest. Dashed: where the cheapest run ended."
    spec = chart_of(analysis, rows, layer=layers, height=260)
    return Figure(f"over_cost_{each.at_end.file_name}", f"{each.group.name}: accuracy over operations", caption, spec)


def _curve(each: EqualCost, c: Configuration) -> Iterator[Row]:
    runs = each.at_end.runs[c.key]
    measured = zip(*(run.steps["validation/accuracy"] for run in runs), strict=True)
    before = [run.measures["validation", "before"].accuracy for run in runs]
    costs = [0.0, *np.mean([run.steps[COST] for run in runs], axis=0).tolist()]
    for step, accuracies in enumerate([before, *measured]):
        if None not in accuracies:
            yield {
                "configuration": c.label, "step": step, "operations": short(costs[step]), "accuracy": short(float(np.mean(accuracies))),
                "low": short(min(accuracies)), "high": short(max(accuracies)),
            }  # fmt: skip


def figures(analysis: Analysis) -> list[Figure]:
    found = []
    for each in analysis.equal_costs:
        found += [over_cost(analysis, each), *(effects_figure(design) for design in each.factorials if design.group is each.group)]
    return found


SECTION = Section(
    "equal_cost",
    "At equal cost",
    "Recipes that took as many steps and did not cost the same, compared where they had.",
    figures,
    lambda analysis: [
        reached(analysis),
        effects("effects_equal_cost", "Factorial effects at equal cost", [f for each in analysis.equal_costs for f in each.factorials]),
        pairs("pairs_equal_cost", "Configurations at equal cost", [f for each in analysis.equal_costs for f in each.verdict.between]),
    ],
    legend=True,
)
