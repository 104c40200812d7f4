"""Figures of what shorter answers cost: accuracy against tokens beside the two controls, and tokens saved by difficulty."""

from collections.abc import Sequence

from src.drawing.chart import COLOURS, Figure, Row, chart, short, zoom
from src.report.analysis import Analysis
from src.report.findings.configurations import Group
from src.report.findings.cut_answers import read_answers
from src.report.findings.efficiency import MAIN, Family, difficulties, families, named, trade
from src.statistics import Interval, mean_of, share_of

BASE, CUT = "base", "base, cut at a limit"
SHADES = ("#9CD0F0", "#6DB6E3", "#3F97CE", "#1F78B4", "#0F5A94", "#08406E")  # of rising alpha


def efficiency_figures(analysis: Analysis) -> list[Figure]:
    """None where the records hold no alpha axis."""
    found = families(analysis.configurations)
    several = len(found) > 1
    figures = []
    for number, family in enumerate(found):
        groups = [group for group in analysis.ranked if family.within(group)]
        ending = f"_{number}" if several else ""
        figures += [_front(family, group, named(family, group, several), ending) for group in groups]
        if groups:
            figures.append(_levels(family, groups, f" ({family.model})" if several else "", ending))
    return figures


def _front(family: Family, group: Group, title: str, ending: str) -> Figure:
    recipes = family.within(group)
    first = trade(group, recipes[0].configuration)
    base_tokens, base_accuracy = mean_of(first.base_tokens), share_of(first.base_accuracy)
    rows = [_point(BASE, BASE, base_tokens, base_accuracy)]
    for recipe in recipes:
        found = trade(group, recipe.configuration)
        label = "" if recipe.alpha is None else f"{recipe.alpha:g}"
        rows.append(_point(recipe.series, label, found.tokens, found.accuracy))
    answers = read_answers(group.measures(recipes[0].configuration, "before"))
    leftmost = min(row["x_low"] for row in rows)
    curve = [(tokens, accuracy) for _, tokens, accuracy in answers.curve() if tokens >= 0.9 * leftmost]
    for number, (tokens, accuracy) in enumerate(curve):
        name = {"what": CUT} if number == len(curve) // 2 else {}
        rows.append({"series": CUT, "x": short(tokens), "accuracy": short(accuracy), "point": 0, **name})
    x = {"field": "x", "type": "quantitative", "title": "mean tokens", "scale": {"zero": False, "padding": 20}}
    y = {
        "field": "accuracy",
        "type": "quantitative",
        "title": "accuracy",
        "scale": {"zero": False, "padding": 16, "nice": False},  # a rounded axis would reach beyond 100 %
        "axis": {"format": ".0%"},
    }
    colour = _colour([BASE, CUT, *dict.fromkeys(recipe.series for recipe in recipes)])
    points = [{"filter": "datum.point == 1"}]
    tooltip = [
        {"field": "series"},
        {"field": "what", "title": "alpha"},
        {"field": "accuracy", "format": ".1%"},
        {"field": "low", "format": ".1%"},
        {"field": "high", "format": ".1%"},
        {"field": "x", "title": "mean tokens", "format": ",.1~f"},
    ]
    layers = [
        {
            "transform": [{"filter": "datum.point == 0"}],
            "mark": {"type": "line", "strokeDash": [4, 3]},
            "encoding": {"x": x, "y": y, "color": colour},
        },
        {
            "transform": [{"filter": f"datum.point == 1 && datum.series != '{BASE}'"}],
            "mark": {"type": "line", "opacity": 0.5},
            "encoding": {"x": x, "y": y, "color": colour, "order": {"field": "order", "type": "quantitative"}},
        },
        {
            "transform": points,
            "mark": "rule",
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour},
        },
        {
            "transform": points,
            "mark": "rule",
            "encoding": {"x": {**x, "field": "x_low"}, "x2": {"field": "x_high"}, "y": y, "color": colour},
        },
        {
            "transform": points,
            "params": [zoom()],
            "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip},
        },
        *(  # neighbours in a series take turns above and below their points, so that near ones can be read
            {
                "transform": [{"filter": f"isValid(datum.what) && datum.point == {point} && datum.order % 2 == {turn}"}],
                "mark": {"type": "text", "dx": 7, "dy": below, "align": "left"},
                "encoding": {"x": x, "y": y, "text": {"field": "what"}, "color": colour},
            }
            for point, turn, below in ((1, 0, -8), (1, 1, 12), (0, 0, 14), (0, 1, 14))
        ),
    ]
    spec = chart([{**row, "order": order} for order, row in enumerate(rows)], layer=layers, height=320)
    caption = (
        "Numbers are alphas. Bars: 95 % intervals over seeds and problems; differences, which are paired, are surer than they "
        "look. Dashed: the untrained base, where an answer longer than a limit counts as wrong and ends there."
    )
    name = f"efficiency_{group.file_name}{ending}"
    return Figure(name, f"{title}: what shorter answers cost", caption, spec)


def _point(series: str, what: str, tokens: Interval, accuracy: Interval) -> Row:
    return {
        "series": series,
        "what": what,
        "x": short(tokens.mean),
        "x_low": short(tokens.low),
        "x_high": short(tokens.high),
        "accuracy": short(accuracy.mean),
        "low": short(accuracy.low),
        "high": short(accuracy.high),
        "point": 1,
    }


def _colour(series: Sequence[str]) -> dict[str, object]:
    greys = ["#888888", "#888888"]
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(series) - 2)]
    return {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(series), "range": [*greys, *colours]},
        "legend": {"orient": "bottom", "columns": 2, "labelLimit": 400, "symbolOpacity": 1, "values": list(series[2:])},
    }


def _levels(family: Family, groups: Sequence[Group], ending: str, file_ending: str) -> Figure:
    """The main series and the supervised control: tokens against the base's, suite by suite and level by level."""
    rows: list[Row] = []
    for group in groups:
        recipes = [recipe for recipe in family.within(group) if recipe.series == MAIN or recipe.alpha is None]
        for level, at_P in difficulties(group):
            base = mean_of(trade(group, family.within(group)[0].configuration, at_P).base_tokens).mean
            for recipe in recipes:
                change = trade(group, recipe.configuration, at_P).change
                rows.append(
                    {
                        "recipe": recipe.label,
                        "problems": f"{group.name}, {level}|{base:.0f} tokens",
                        "base_tokens": base,
                        "change": short(change.mean),
                        "low": short(change.low),
                        "high": short(change.high),
                    }
                )
    rows.sort(key=lambda row: row["base_tokens"])
    main = [recipe.label for recipe in family.recipes if recipe.series == MAIN]
    supervised = [recipe.label for recipe in family.recipes if recipe.alpha is None]
    shades = [SHADES[round(number * (len(SHADES) - 1) / max(len(main) - 1, 1))] for number in range(len(main))]
    colours = [*shades, *(COLOURS[1 + number % (len(COLOURS) - 1)] for number in range(len(supervised)))]
    labels = [*main, *supervised]
    label = {"labelAngle": 0, "labelExpr": "split(datum.label, '|')"}
    x = {"field": "problems", "type": "nominal", "title": None, "sort": None, "axis": label}
    y = {"type": "quantitative", "title": "tokens against the base", "axis": {"format": "+.0%"}}
    shared = {
        "x": x,
        "xOffset": {"field": "recipe", "sort": labels},
        "color": {
            "field": "recipe", "type": "nominal", "sort": labels, "title": None, "legend": {"orient": "bottom", "columns": 4},
            "scale": {"domain": labels, "range": colours},
        },
    }  # fmt: skip
    tooltip = [
        {"field": "recipe"},
        {"field": "problems"},
        {"field": "base_tokens", "title": "tokens of the base", "format": ".0f"},
        *({"field": field, "format": "+.1%"} for field in ("change", "low", "high")),
    ]
    layers = [
        {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {**shared, "y": {**y, "field": "low"}, "y2": {"field": "high"}}},
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": {**shared, "y": {**y, "field": "change"}, "tooltip": tooltip},
        },
        {"mark": {"type": "rule", "color": "#888888"}, "encoding": {"y": {"datum": 0}}},
    ]
    caption = (
        "The problems that take the base the fewest tokens stand first; below them, how many. Bars: 95 % intervals, paired by "
        "problem."
    )
    spec = chart(rows, layer=layers, height=240)
    return Figure(f"efficiency_levels{file_ending}", f"Tokens saved by difficulty{ending}", caption, spec)
