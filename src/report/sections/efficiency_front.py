"""Figures of what shorter answers cost: accuracy against tokens beside the two controls, and tokens saved by difficulty."""

from collections.abc import Sequence

from src.drawing.chart import COLOURS, Figure, Row, chart, colour_of, crosses, hues, short, spread
from src.report.analysis import Analysis
from src.report.findings.configurations import Group
from src.report.findings.cut_answers import read_answers
from src.report.findings.efficiency import MAIN, Family, families, trade
from src.statistics import Interval, mean_of, share_of

BASE, CUT = "base", "base, cut at a limit"
SHADES = ("#9CD0F0", "#6DB6E3", "#3F97CE", "#1F78B4", "#0F5A94", "#08406E")  # of rising alpha


def efficiency_figures(analysis: Analysis) -> list[Figure]:
    """None where the records hold no alpha axis."""
    found = families(analysis.configurations)
    figures = []
    for number, family in enumerate(found):
        groups = [group for group in analysis.ranked if family.within(group)]
        ending = f"_{number}" if len(found) > 1 else ""
        figures += [_front(family, group, ending) for group in groups]
        if groups:
            figures.append(_levels(family, groups, ending))
    return figures


def _front(family: Family, group: Group, ending: str) -> Figure:
    recipes = family.within(group)
    first = trade(group, recipes[0].configuration)
    rows = [_point(BASE, BASE, mean_of(first.base_tokens), share_of(first.base_accuracy))]
    for recipe in recipes:
        found = trade(group, recipe.configuration)
        rows.append(_point(recipe.series, "" if recipe.alpha is None else f"{recipe.alpha:g}", found.tokens, found.accuracy))
    answers = read_answers(group.measures(recipes[0].configuration, "before"))
    leftmost = min(row["x_low"] for row in rows)
    curve = [(tokens, accuracy) for _, tokens, accuracy in answers.curve() if tokens >= 0.9 * leftmost]
    names = {len(curve) // 2: CUT}  # in its middle
    rows += [
        {"series": CUT, "what": names.get(at, ""), "x": short(tokens), "accuracy": short(accuracy), "point": 0}
        for at, (tokens, accuracy) in enumerate(curve)
    ]
    x = {"field": "x", "type": "quantitative", "title": "mean tokens", "scale": {"zero": False, "padding": 20}}
    scale = {"zero": False, "padding": 16, "nice": False}  # a rounded axis would reach beyond 100 %
    y = {"field": "accuracy", "type": "quantitative", "title": "accuracy", "scale": scale, "axis": {"format": ".0%"}}
    others = list(dict.fromkeys(recipe.series for recipe in recipes))
    legend = {"orient": "bottom", "columns": 2, "labelLimit": 400, "symbolOpacity": 1, "values": others}
    colours = {BASE: "#888888", CUT: "#888888"} | {name: colour_of(number) for number, name in enumerate(others)}
    tooltip = [
        {"field": "series"},
        {"field": "what", "title": "alpha"},
        *({"field": field, "format": ".1%"} for field in ("accuracy", "low", "high")),
        {"field": "x", "title": "mean tokens", "format": ",.1~f"},
    ]
    layers = [
        {"transform": [{"filter": "datum.point == 0"}], "mark": {"type": "line", "strokeDash": [4, 3]}},
        {
            "transform": [{"filter": f"datum.point == 1 && datum.series != '{BASE}'"}],
            "mark": {"type": "line", "opacity": 0.5},
            "encoding": {"order": {"field": "order", "type": "quantitative"}},
        },
        {"transform": [{"filter": "datum.point == 1"}], "layer": crosses(80, tooltip)},
        *(  # neighbours in a series take turns above and below their points, so that near ones can be read
            {
                "transform": [{"filter": f"isValid(datum.what) && datum.point == {point} && datum.order % 2 == {turn}"}],
                "mark": {"type": "text", "dx": 7, "dy": below, "align": "left"},
                "encoding": {"text": {"field": "what"}},
            }
            for point, turn, below in ((1, 0, -8), (1, 1, 12), (0, 0, 14), (0, 1, 14))
        ),
    ]
    rows = [{**row, "order": order} for order, row in enumerate(rows)]
    spec = chart(rows, height=320, encoding={"x": x, "y": y, "color": hues("series", colours, **legend)}, layer=layers)
    caption = (
        "Numbers are alphas. Bars: 95 % intervals over seeds and problems; differences, which are paired, are surer than they "
        "look. Dashed: the untrained base, where an answer longer than a limit counts as wrong and ends there."
    )
    return Figure(f"efficiency_{group.file_name}{ending}", f"{group.name}{family.told}: what shorter answers cost", caption, spec)


def _point(series: str, what: str, tokens: Interval, accuracy: Interval) -> Row:
    x, y = spread("x", tokens, low="x_low", high="x_high"), spread("accuracy", accuracy)
    return {"series": series, "what": what, **x, **y, "point": 1}


def _levels(family: Family, groups: Sequence[Group], ending: str) -> Figure:
    """The main series and the supervised control: tokens against the base's, suite by suite and level by level."""
    rows: list[Row] = []
    for group in groups:
        recipes = [recipe for recipe in family.within(group) if recipe.series == MAIN or recipe.alpha is None]
        for level, at_P in group.levels:
            base = mean_of(trade(group, family.within(group)[0].configuration, at_P).base_tokens).mean
            place = {"problems": f"{group.name}, {level}|{base:.0f} tokens", "base_tokens": base}
            changes = [(recipe.label, trade(group, recipe.configuration, at_P).change) for recipe in recipes]
            rows += [{"recipe": label, **place, **spread("change", change)} for label, change in changes]
    rows.sort(key=lambda row: row["base_tokens"])
    main = [recipe.label for recipe in family.recipes if recipe.series == MAIN]
    supervised = [recipe.label for recipe in family.recipes if recipe.alpha is None]
    colours = {name: SHADES[round(at * (len(SHADES) - 1) / max(len(main) - 1, 1))] for at, name in enumerate(main)}
    colours |= {name: COLOURS[1 + at % (len(COLOURS) - 1)] for at, name in enumerate(supervised)}
    label = {"labelAngle": 0, "labelExpr": "split(datum.label, '|')"}
    encoding = {
        "x": {"field": "problems", "type": "nominal", "title": None, "sort": None, "axis": label},
        "xOffset": {"field": "recipe", "sort": list(colours)},
        "color": hues("recipe", colours, orient="bottom", columns=4) | {"sort": list(colours)},
    }
    y = {"type": "quantitative", "title": "tokens against the base", "axis": {"format": "+.0%"}}
    tooltip = [
        {"field": "recipe"},
        {"field": "problems"},
        {"field": "base_tokens", "title": "tokens of the base", "format": ".0f"},
        *({"field": field, "format": "+.1%"} for field in ("change", "low", "high")),
    ]
    bars = {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}}}
    point = {"type": "point", "filled": True, "size": 60, "opacity": 1}
    points = {"mark": point, "encoding": {"y": {**y, "field": "change"}, "tooltip": tooltip}}
    zero = {"mark": {"type": "rule", "color": "#888888"}, "encoding": {"y": {"datum": 0}}}
    caption = (
        "The problems that take the base the fewest tokens stand first; below them, how many. Bars: 95 % intervals, paired by "
        "problem."
    )
    spec = chart(rows, height=240, layer=[{"encoding": encoding, "layer": [bars, points]}, zero])
    return Figure(f"efficiency_levels{ending}", f"Tokens saved by difficulty{family.told}", caption, spec)
