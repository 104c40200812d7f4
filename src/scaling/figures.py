"""The study's plots: loss against compute and data with the fitted law, k(N), and forecasts against the truth."""

import numpy as np

from src.drawing.chart import COLOURS, Figure, Row, chart, short, zoom
from src.scaling.curves import Curve
from src.scaling.fitted import Fitted
from src.scaling.forecast import Forecast

LABELS = {"compute": "training compute, operations", "data": "prompts presented"}
STEPS_OF_A_LINE = 40


def loss_against(fitted: Fitted, number: int) -> Figure:
    """Measured losses and the law's lines, both axes logarithmic."""
    rows: list[Row] = []
    for curve in fitted.study.curves:
        x_T = curve.compute_T if fitted.axis == "compute" else curve.data_T
        rows += [_point(curve.size, x, y, "measured") for x, y in zip(x_T, curve.loss_T, strict=True)]
    for place, size in enumerate(fitted.best.sizes_S):
        x_P = fitted.points.x_P[fitted.points.size_P == place]
        line = np.linspace(x_P.min(), x_P.max(), STEPS_OF_A_LINE)
        loss = np.exp(fitted.best.log_loss(line, np.full(len(line), place))[0])
        rows += [_point(int(size), np.exp(x), y, "law") for x, y in zip(line, loss, strict=True)]
    name = f"scaling{number}_loss_{fitted.axis}"
    title = f"{fitted.study.name}: loss against {fitted.axis}"
    caption = f"Dots: validation losses of every run. Lines: the {fitted.law} law."
    return Figure(name, title, caption, _log_log(rows, LABELS[fitted.axis]))


def _point(size: int, x: float, y: float, kind: str) -> Row:
    return {"size": named(size), "x": short(x), "loss": short(y), "kind": kind}


def named(size: float) -> str:
    """Parameters as 55 K, 1.2 M, 7 B."""
    power = min(int(np.log10(max(size, 1)) // 3), 4)
    return f"{float(f'{size / 1000**power:.2g}'):g} {'_KMBT'[power].replace('_', '')}".strip()


def _log_axis(values: list[float]) -> dict:
    """Labels and lines at powers of ten, over short ranges at twice and five times them too: all run into each other."""
    low, high = np.log10(min(values)), np.log10(max(values))
    steps = (1, 2, 5) if high - low < 2.5 else (1,)
    ticks = [step * 10.0**n for n in range(int(np.floor(low)), int(np.ceil(high)) + 1) for step in steps]
    return {"format": "~e" if high > 5 else "~f", "values": ticks}


def _log_log(rows: list[Row], x_title: str) -> dict:
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    axis = _log_axis([row["x"] for row in rows])
    x = {"field": "x", "type": "quantitative", "title": x_title, "axis": axis}
    x["scale"] = {"type": "log", "nice": False, "padding": 8}
    y = {"field": "loss", "type": "quantitative", "title": "loss = 1 - accuracy", "axis": {"format": ".2~f"}}
    y["scale"] = x["scale"]
    colour = {
        "field": "size", "type": "nominal", "title": "parameters", "sort": sizes,
        "scale": {"domain": sizes, "range": [COLOURS[n % len(COLOURS)] for n in range(len(sizes))]},
    }
    marks = {  # by kind: points that a fit saw are filled, held-out ones are rings
        "measured": {"type": "point", "filled": True, "size": 14, "opacity": 0.45},
        "held out": {"type": "point", "filled": False, "size": 18, "opacity": 0.6, "strokeWidth": 1},
        "law": {"type": "line", "strokeWidth": 2},
        "low": {"type": "line", "strokeWidth": 1, "strokeDash": [3, 3]},
        "high": {"type": "line", "strokeWidth": 1, "strokeDash": [3, 3]},
    }
    layers = [
        {
            "transform": [{"filter": f"datum.kind == '{kind}'"}],
            "mark": mark,
            "encoding": {"x": x, "y": y, "color": colour, "tooltip": [{"field": f} for f in ("size", "x", "loss")]},
        }
        for kind, mark in marks.items()
        if any(row["kind"] == kind for row in rows)
    ]
    layers[0]["params"] = [zoom()]
    return chart(rows, height=280, layer=layers)


def slopes(found: list[Fitted], number: int) -> Figure:
    """k of each size with its interval, and the saturating curve through them, for compute and data."""
    rows: list[Row] = []
    aside = {"compute": 0.97, "data": 1.03}  # so that the two stand beside each other
    for fitted in found:
        if fitted.law == "free":
            low_S, high_S = np.percentile(fitted.resampled.k_BS, (2.5, 97.5), axis=0)
            rows += [
                {"x": fitted.axis, "size": short(size * aside[fitted.axis]), "k": short(k), "low": short(low),
                 "high": short(high), "kind": "free"}
                for size, k, low, high in zip(fitted.best.sizes_S, fitted.best.k_BS[0], low_S, high_S, strict=True)
            ]
        elif fitted.law == "saturating":
            sizes = np.geomspace(fitted.best.sizes_S.min(), fitted.best.sizes_S.max(), STEPS_OF_A_LINE)
            rows += [{"x": fitted.axis, "size": short(s), "k": short(fitted.best.k_of(s)[0]), "kind": "law"} for s in sizes]
    scale = {"type": "log", "nice": False, "padding": 20}
    axis = _log_axis([row["size"] for row in rows])
    x = {"field": "size", "type": "quantitative", "title": "parameters", "scale": scale, "axis": axis}
    colour = {"field": "x", "type": "nominal", "title": None, "scale": {"range": list(COLOURS[:2])}}
    spec = chart(
        rows,
        height=240,
        layer=[
            {
                "transform": [{"filter": "datum.kind == 'free'"}],
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {
                    "x": x, "y": {"field": "low", "type": "quantitative", "title": "k"}, "y2": {"field": "high"},
                    "color": colour,
                },
            },
            {
                "transform": [{"filter": "datum.kind == 'free'"}],
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {"x": x, "y": {"field": "k", "type": "quantitative"}, "color": colour},
            },
            {
                "transform": [{"filter": "datum.kind == 'law'"}],
                "mark": {"type": "line"},
                "encoding": {"x": x, "y": {"field": "k", "type": "quantitative"}, "color": colour},
            },
        ],
    )
    title = f"{found[0].study.name}: k by size"
    caption = "Dots: k of each size by itself, with 95 % intervals. Lines: K_max / (1 + N0 / N)."
    return Figure(f"scaling{number}_k", title, caption, spec)


def against_truth(curves: tuple[Curve, ...], forecast: Forecast, number: int, place: int) -> Figure:
    """The losses that the fit saw, the held-out ones, and what was forecast for them, with its interval."""
    held, rows = forecast.held_out, []
    first = {int(held.sizes_S[s]): held.x_P[held.size_P == s].min() for s in np.unique(held.size_P)}
    for curve in curves:
        x_T = curve.compute_T if forecast.axis == "compute" else curve.data_T
        for x, y in zip(x_T, curve.loss_T, strict=True):
            seen = curve.size not in first or np.log(x) < first[curve.size] - 1e-9
            rows.append(_point(curve.size, x, y, "measured" if seen else "held out"))
    low_P, high_P = np.percentile(forecast.log_loss_BP[1:], (2.5, 97.5), axis=0)
    for kind, guess_P in (("law", forecast.log_loss_BP[0]), ("low", low_P), ("high", high_P)):
        guesses = zip(held.x_P, guess_P, held.size_P, strict=True)
        rows += [_point(int(held.sizes_S[size]), np.exp(x), np.exp(y), kind) for x, y, size in guesses]
    title = f"forecast {forecast.kind} from {forecast.seen} ({forecast.law}, {forecast.axis})"
    caption = "Dots: losses that the fit saw. Rings: held out. Lines: the forecast, dashed its 95 % interval."
    name = f"scaling{number}_forecast{place}"
    return Figure(name, title, caption, _log_log(rows, LABELS[forecast.axis]))
