"""The answer as a picture: what each configuration gained over the base, or how much each model solves."""

from src.drawing.chart import Figure, Row, hues, intervals, spread
from src.report.analysis import Analysis
from src.report.findings.configurations import Configuration, Group, how_much
from src.report.findings.models import side
from src.report.section import Section
from src.statistics import share_of

MOST = 24  # lines of the picture
HUES = {"better": "#009E73", "worse": "#D55E00", "not resolved": "#888888", "too few seeds": "#56B4E9"}


def picture(analysis: Analysis) -> list[Figure]:
    if analysis.ranked:
        return [_gains(analysis)]
    return [_models(analysis)] if analysis.models else []


def _gains(analysis: Analysis) -> Figure:
    """The best configurations on each suite that counts."""
    several = len(analysis.ranked) > 1
    found = [(group, c) for c in _best(analysis) for group in analysis.ranked if c.key in group.runs]
    rows = [_row(analysis, group, c, f"{c.label} · {group.name}" if several else c.label) for group, c in found]
    left = len(analysis.configurations) - len({c.key for _, c in found})
    where = "" if several else f" on {analysis.ranked[0].name}"
    caption = "Points, with 95 % intervals; dashed: no gain." + (f" The best; {left} more in the table." if left else "")
    there = {row["standing"] for row in rows}
    colour = hues("standing", {name: hue for name, hue in HUES.items() if name in there})
    spec = intervals(rows, "what", {"field": "gain", "title": "points gained"}, colour)
    return Figure("answer", f"Gain over the base{where}", caption, spec)


def _best(analysis: Analysis) -> list[Configuration]:
    first = analysis.ranked[0]
    ranked = sorted(first.configurations, key=lambda c: -analysis.verdict.of(first, c).difference.mean)
    rest = [c for c in analysis.configurations if c not in ranked and any(c.key in group.runs for group in analysis.ranked)]
    return [*ranked, *rest][: max(MOST // len(analysis.ranked), 3)]


def _row(analysis: Analysis, group: Group, configuration: Configuration, what: str) -> Row:
    finding = analysis.verdict.of(group, configuration)
    sure = finding.enough_seeds or finding.standing == "not resolved"
    told = {"standing": finding.standing if sure else "too few seeds", "seeds": finding.difference.seeds}
    return {"what": what, **spread("gain", finding.difference.interval, 100), **told}


def _models(analysis: Analysis) -> Figure:
    several = len(analysis.models) > 1
    rows = [
        {"what": f"{name} · {group.suite}, {how_much(group.protocol)}" if several else name}
        | spread("accuracy", share_of(side(measure)), 100)
        for group in analysis.models
        for name, measure in group.measures.items()
    ][:MOST]
    where = "" if several else f" on {analysis.models[0].suite}"
    spec = intervals(rows, "what", {"field": "accuracy", "title": "accuracy, %"}, {"value": HUES["better"]})
    return Figure("answer", f"Accuracy{where}", "With 95 % intervals over problems.", spec)


SECTION = Section("answer", "Answer", figures=picture, besides=lambda analysis: True)  # its sentence
