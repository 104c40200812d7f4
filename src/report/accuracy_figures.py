"""Figures of accuracy: gains over the base, pass@k, and factorial effects."""

import re

import numpy as np

from src.report.analysis import Analysis
from src.report.chart import COLOURS, Figure, chart, colour, short, zoom
from src.report.configurations import Group
from src.report.effects import Factor, Factorial
from src.statistics import mean_over_seeds

MOST_GAINS = 40  # configurations in one figure of gains


def gains(analysis: Analysis, group: Group) -> Figure:
    """Gain over the base by configuration, with intervals."""
    rows = []
    for c in group.configurations:
        found = analysis.verdict.of(group, c)
        interval = found.difference.interval
        rows.append(
            {
                "configuration": c.label,
                "gain": round(100 * interval.mean, 3),
                "low": round(100 * interval.low, 3),
                "high": round(100 * interval.high, 3),
                "standing": found.standing,
                "seeds": found.difference.seeds,
            }
        )
    rows.sort(key=lambda row: -row["gain"])
    left = max(0, len(rows) - MOST_GAINS)
    rows = rows[:MOST_GAINS]
    tooltip = [{"field": name} for name in ("configuration", "gain", "low", "high", "standing", "seeds")]
    order = [row["configuration"] for row in rows]
    y = {"field": "configuration", "type": "nominal", "title": None, "sort": order, "axis": {"labelLimit": 260}}
    spec = chart(
        None,
        rows,
        height=30 + 24 * len(rows),
        layer=[
            {"mark": {"type": "rule", "strokeDash": [3, 3], "color": "#888888"}, "encoding": {"x": {"datum": 0}}},
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {
                    "y": y,
                    "x": {"field": "low", "type": "quantitative", "title": "gain over the base, points"},
                    "x2": {"field": "high"},
                    "color": colour(analysis),
                    "tooltip": tooltip,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": {"field": "gain", "type": "quantitative"},
                    "color": colour(analysis),
                    "tooltip": tooltip,
                },
            },
        ],
    )
    caption = "Points of accuracy with 95 % intervals." + (
        f" The best {MOST_GAINS}; {left} more in the table." if left else ""
    )
    return Figure(
        f"gains_{group.suite}_{group.protocol['set of problems']}",
        f"{group.name}: gain over the base",
        caption,
        "verdict",
        spec,
    )


def several_samples(analysis: Analysis, group: Group) -> Figure:
    """pass@k over k, of the base and of each configuration."""
    measures = {"base": group.measures(group.configurations[0], "before")[:1]}
    measures |= {c.label: group.measures(c) for c in group.configurations}
    rows = []
    for label, found in measures.items():
        for k in group.measure.ks:
            interval = mean_over_seeds(np.stack([m.pass_at_P(k) for m in found]))
            low, high = short(interval.low), short(interval.high)
            rows.append({"configuration": label, "k": k, "share": short(interval.mean), "low": low, "high": high})
    x = {"field": "k", "type": "quantitative", "scale": {"type": "log", "base": 2}, "axis": {"values": group.measure.ks, "format": "d"}}
    y = {"type": "quantitative", "title": "pass@k", "scale": {"zero": False}, "axis": {"format": ".0%"}}
    tooltip = [{"field": "configuration"}, {"field": "k"}, *({"field": f, "format": ".1%"} for f in ("share", "low", "high"))]
    hue = colour(analysis)
    layers = [
        {"mark": {"type": "area", "opacity": 0.12}, "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": hue}},
        {
            "params": [zoom()],
            "mark": {"type": "line", "point": {"size": 40}},
            "encoding": {"x": x, "y": {**y, "field": "share"}, "color": hue, "tooltip": tooltip},
        },
    ]
    name = f"pass_at_k_{group.suite}_{group.protocol['set of problems']}"
    caption = "The chance that one of k samples is correct. Grey: the base. Bands: 95 % intervals."
    return Figure(name, f"{group.name}: pass@k", caption, "fronts", chart(analysis, rows, layer=layers, height=240))


def effects(factorial: Factorial) -> Figure:
    """Main effects and interactions with intervals."""
    rows = [
        {
            "effect": e.name,
            "kind": "interaction" if e.interaction else "main effect",
            "points": short(100 * e.difference.interval.mean),
            "low": short(100 * e.difference.interval.low),
            "high": short(100 * e.difference.interval.high),
        }
        for e in factorial.effects
    ]
    y = {"field": "effect", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 420}}
    hue = {
        "field": "kind",
        "type": "nominal",
        "title": None,
        "scale": {"range": list(COLOURS[:2])},
        "legend": {"orient": "top"},
    }
    tooltip = [{"field": name} for name in ("effect", "kind", "points", "low", "high")]
    spec = chart(
        None,
        rows,
        height=30 + 20 * len(rows),
        layer=[
            {"mark": {"type": "rule", "strokeDash": [3, 3], "color": "#888888"}, "encoding": {"x": {"datum": 0}}},
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {
                    "y": y,
                    "x": {"field": "low", "type": "quantitative", "title": "effect on accuracy, points"},
                    "x2": {"field": "high"},
                    "color": hue,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": {"field": "points", "type": "quantitative"},
                    "color": hue,
                    "tooltip": tooltip,
                },
            },
        ],
    )
    name = _named("effects", factorial)
    factors = ", ".join(factor.name for factor in factorial.factors)
    caption = (
        f"Factors: {factors}; {len(factorial.cells)} cells; 95 % intervals over problems and seeds."
    )
    return Figure(name, f"{factorial.name}: what each factor does", caption, "sweeps", spec)


def cells(factorial: Factorial) -> Figure:
    """Accuracy of each cell: a row for each level of the factor that has most; a colour, a shape and a place in the row for
    the others, those with the largest effects first."""
    by_effect = sorted(factorial.factors, key=lambda factor: -_largest(factorial, factor))
    rows_of = max(by_effect, key=lambda factor: len(factor.levels))
    coloured, *others = [factor for factor in by_effect if factor is not rows_of]
    rows = []
    for cell in factorial.cells:
        interval = mean_over_seeds(factorial.group.accuracy_SP(cell))
        values = {"accuracy": interval.mean, "low": interval.low, "high": interval.high}
        levels = {"level": rows_of, "colour": coloured} | ({"shape": others[0]} if others else {})
        told = ", ".join(f"{factor.name}={factor.of_cell[cell.key]}" for factor in factorial.factors)
        rows.append(
            {name: factor.of_cell[cell.key] for name, factor in levels.items()}
            | {"cell": told, "rest": " ".join(factor.of_cell[cell.key] for factor in (coloured, *others))}
            | {key: short(100 * value) for key, value in values.items()}
        )
    legend = {"orient": "top", "titleLimit": 400}
    y = {"field": "level", "type": "nominal", "title": rows_of.name, "axis": {"labelLimit": 240}}
    place = {"y": y, "yOffset": {"field": "rest", "type": "nominal"}}
    hue = {"field": "colour", "type": "nominal", "title": coloured.name, "scale": {"range": list(COLOURS)}, "legend": legend}
    shape = {"shape": {"field": "shape", "type": "nominal", "title": others[0].name, "legend": legend}} if others else {}
    x = {"type": "quantitative", "title": "accuracy, %", "scale": {"zero": False}}
    tooltip = [{"field": name} for name in ("cell", "accuracy", "low", "high")]
    whisker = {"x": {**x, "field": "low"}, "x2": {"field": "high"}}
    point = {"x": {**x, "field": "accuracy"}, **shape, "tooltip": tooltip}
    spec = chart(
        None,
        rows,
        height={"step": 14},
        encoding={**place, "color": hue},
        layer=[
            {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": whisker},
            {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1}, "encoding": point},
        ],
    )
    caption = "Mean over seeds of the weights best by validation; 95 % intervals over problems and seeds, not of differences."
    return Figure(_named("cells", factorial), f"{factorial.name}: the cells", caption, "sweeps", spec)


def _largest(factorial: Factorial, factor: Factor) -> float:
    """The largest effect on accuracy of a change of this factor alone."""
    alone = (e for e in factorial.effects if not e.interaction and e.name.startswith(f"{factor.name}: "))
    return max(abs(e.difference.interval.mean) for e in alone)


def _named(kind: str, factorial: Factorial) -> str:
    return f"{kind}_{re.sub(r'[^A-Za-z0-9]+', '_', factorial.name)}_{factorial.group.protocol['set of problems']}"
