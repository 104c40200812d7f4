"""The study's plots: loss against compute and data with the fitted law, k(N), and forecasts against the truth."""

import numpy as np

from src.report.chart import COLOURS, Figure, Row, chart, short, zoom
from src.scaling.curves import Curve
from src.scaling.fitted import Fitted
from src.scaling.forecast import Forecast

SECTION = "scaling"
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
    return Figure(name, title, caption, SECTION, _log_log(rows, LABELS[fitted.axis]))


def _point(size: int, x: float, y: float, kind: str) -> Row:
    return {"size": f"{size:,}", "x": short(x), "loss": short(y), "kind": kind}


def _log_log(rows: list[Row], x_title: str) -> dict:
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    x = {"field": "x", "type": "quantitative", "title": x_title, "scale": {"type": "log"}, "axis": {"format": "~e"}}
    y = {"field": "loss", "type": "quantitative", "title": "loss = 1 - accuracy", "scale": {"type": "log"}}
    colour = {
        "field": "size", "type": "nominal", "title": "parameters", "sort": sizes,
        "scale": {"domain": sizes, "range": [COLOURS[n % len(COLOURS)] for n in range(len(sizes))]},
    }
    return chart(
        None,
        rows,
        height=280,
        layer=[
            {
                "params": [zoom()],
                "transform": [{"filter": "datum.kind == 'measured'"}],
                "mark": {"type": "point", "filled": True, "size": 14, "opacity": 0.45},
                "encoding": {"x": x, "y": y, "color": colour, "tooltip": [{"field": f} for f in ("size", "x", "loss")]},
            },
            {
                "transform": [{"filter": "datum.kind != 'measured'"}],
                "mark": {"type": "line", "strokeWidth": 2},
                "encoding": {"x": x, "y": y, "color": colour},
            },
        ],
    )


def slopes(found: list[Fitted], number: int) -> Figure:
    """k of each size with its interval, and the saturating curve through them, for compute and data."""
    rows: list[Row] = []
    for fitted in found:
        if fitted.law == "free":
            low_S, high_S = np.percentile(fitted.resampled.k_BS, (2.5, 97.5), axis=0)
            rows += [
                {"x": fitted.axis, "size": size, "k": short(k), "low": short(low), "high": short(high), "kind": "free"}
                for size, k, low, high in zip(fitted.best.sizes_S, fitted.best.k_BS[0], low_S, high_S, strict=True)
            ]
        elif fitted.law == "saturating":
            sizes = np.geomspace(fitted.best.sizes_S.min(), fitted.best.sizes_S.max(), STEPS_OF_A_LINE)
            rows += [{"x": fitted.axis, "size": short(s), "k": short(fitted.best.k_of(s)[0]), "kind": "law"} for s in sizes]
    x = {"field": "size", "type": "quantitative", "title": "parameters", "scale": {"type": "log"}, "axis": {"format": "~e"}}
    colour = {"field": "x", "type": "nominal", "title": None, "scale": {"range": list(COLOURS[:2])}}
    spec = chart(
        None,
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
    return Figure(f"scaling{number}_k", title, caption, SECTION, spec)


def against_truth(curves: tuple[Curve, ...], forecast: Forecast, number: int, place: int) -> Figure:
    """The held-out losses and what was forecast for them."""
    held, rows = forecast.held_out, []
    for x, y, size, guess in zip(held.x_P, held.y_P, held.size_P, forecast.log_loss_BP[0], strict=True):
        name = int(held.sizes_S[size])
        rows += [_point(name, np.exp(x), np.exp(y), "measured"), _point(name, np.exp(x), np.exp(guess), "forecast")]
    rows += [
        _point(curve.size, x, y, "measured")
        for curve in curves
        for x, y in zip(curve.compute_T if forecast.axis == "compute" else curve.data_T, curve.loss_T, strict=True)
        if np.log(x) < held.x_P.min()
    ]
    rows.sort(key=lambda row: (float(row["size"].replace(",", "")), row["x"]))
    title = f"forecast {forecast.kind} from {forecast.seen} ({forecast.law}, {forecast.axis})"
    name = f"scaling{number}_forecast{place}"
    return Figure(name, title, "Dots: measured losses. Lines: the forecast.", SECTION, _log_log(rows, LABELS[forecast.axis]))
