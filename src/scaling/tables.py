"""The results as tables, for the screen, CSV and the report."""

from collections.abc import Mapping, Sequence
from typing import Any

from src.drawing.table import Cell, Table, table

Results = Mapping[str, Any]  # as `src.scaling.analysis` says
BOUNDS = {"at most": "≤ ", "at least": "≥ "}


def all_tables(results: Results) -> list[Table]:
    """The tables that have rows."""
    laws = results["laws"]["all"]
    made = [_laws(laws), _sizes(laws), _comparisons(results["comparisons"]), _forecasts(results["forecasts"]["all"])]
    made += [_optimal(results["compute_optimal"]["all"]), _reuse(results["reuse"]["all"])]
    return [each for each in made if each.rows]


def shown(estimate: Mapping[str, Any] | None, scale: float = 1.0) -> Cell:
    """`0.135 [0.130, 0.141]`; a number that is a bound of the search, and no estimate, as `≤ 40`."""
    if not estimate or estimate["value"] is None:
        return Cell("", None)
    value, low, high = (None if v is None else v * scale for v in (estimate["value"], estimate["low"], estimate["high"]))
    mark = {name: BOUNDS[kind] for name, kind in estimate.get("at_bound", {}).items()}
    ends = "" if low is None or high is None else f" [{mark.get('low', '')}{_short(low, 3)}, {mark.get('high', '')}{_short(high, 3)}]"
    return Cell(f"{mark.get('value', '')}{_short(value, 4)}{ends}", value)


def _short(value: float, digits: int) -> str:
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.{digits}g}"


def _number(value: float | None, form: str = ".4f") -> Cell:
    return Cell("" if value is None else f"{value:{form}}", value)


def _laws(laws: Sequence[dict[str, Any]]) -> Table:
    rows = [
        [
            law["study"], law["x"], law["law"], shown(law.get("k_max")), shown(law.get("n0")), shown(law.get("floor")),
            _number(law["r2_pooled"]), shown(law.get("ceiling")), shown(law.get("share_of_ceiling")), _number(law["bic"], ".1f"),
            "; ".join(law["notes"]),
        ]
        for law in laws
    ]
    columns = "study, against, law, #K_max, #N0, #L_inf, #R² pooled over sizes, #were the law exactly true, #share of that, #BIC, remark"
    note = (
        "log L = -k(N) log X + E(N); 95 % intervals by bootstrap over seeds and points. Were the law exactly true: R² of studies "
        "simulated under it, with as many seeds, problems and samples. ≤ and ≥: a bound of the search, no estimate. Smaller BIC "
        "is better."
    )
    return table("scaling_laws", "Laws", note, columns, rows)


def _sizes(laws: Sequence[dict[str, Any]]) -> Table:
    rows = [
        [
            law["study"], law["x"], law["law"], Cell(f"{size['parameters']:,}", size["parameters"]), size["runs"],
            size["points"], shown(size["k"]), shown(size["e"]), _number(size["r2"]),
        ]
        for law in laws
        for size in law["sizes"]
    ]
    columns = "study, against, law, #parameters, #runs, #points, #k, #E, #R² of the size"
    return table("scaling_sizes", "Sizes", "Parameters without embeddings.", columns, rows)


def _comparisons(comparisons: Sequence[dict[str, Any]]) -> Table:
    rows = [
        [
            each["study"], each["x"], f"{each['first']} or {each['second']}", each["verdict"],
            _number(each["bic_first_less_second"], "+.1f"), _number(each["vuong_z"], "+.2f"),
        ]
        for each in comparisons
    ]
    columns = "study, against, laws, verdict, #BIC of the first less the second, #Vuong z by run"
    return table("scaling_comparisons", "Which law", "", columns, rows)


def _forecasts(forecasts: Sequence[dict[str, Any]]) -> Table:
    rows = [
        [
            each["study"], each["kind"], each["x"], each["law"], each["seen"], "refitted" if each["refitted_e"] else "forecast",
            Cell(f"{size['parameters']:,}", size["parameters"]), size["points"], shown(size["r2"]),
            shown(size["relative_error"], 100), shown(size["last_loss"]), _number(size["last_loss_measured"]),
            _number(each["r2_pooled_over_sizes"], ".3f"), shown(each.get("ceiling")), shown(each.get("share_of_ceiling")),
        ]
        for each in forecasts
        for size in each["sizes"]
    ]
    columns = (
        "study, forecast, against, law, from, E, #parameters, #held-out points, #R² held out, #error %, #last loss forecast, "
        "#last loss measured, #R² pooled over sizes, #mean R² were the law exactly true, #share of that"
    )
    note = (
        "Scored on points that the fit has not seen. R² pooled over sizes also counts the differences between sizes, "
        "which E takes care of: it is near 1 whatever the slopes are worth."
    )
    return table("scaling_forecasts", "Forecasts", note, columns, rows)


def _optimal(budgets: Sequence[dict[str, Any]]) -> Table:
    rows = []
    for each in budgets:
        best = max(each["sizes"], key=lambda size: size["best_in_share_of_resamples"])
        cell = shown(each["best_parameters"])
        rows.append(
            [
                each["study"], Cell(f"{each['budget_flops']:.3g}", each["budget_flops"]), cell,
                _number(100 * best["best_in_share_of_resamples"], ".0f"), shown(best["loss"]),
                "measured" if best["measured"] else "by the law alone",
            ]
        )
    columns = "study, #budget operations, #best size, #in % of resamples, #its loss, at this budget"
    note = "Training compute, 6 · N · tokens; best of the sizes that were trained."
    return table("scaling_compute_optimal", "Size for a budget", note, columns, rows)


def _reuse(reuse: Sequence[dict[str, Any]]) -> Table:
    rows = [
        [
            each["model"], each["repeats"], each["against_repeats"], _number(each["loss"]), shown(each["extra_loss"]),
            _number(each["p"], ".3g"), each["seeds"],
        ]
        for each in reuse
    ]
    columns = "model, #times each problem is used, #against, #loss, #extra loss, #p, #seeds"
    return table("scaling_reuse", "Cost of data reuse", "At equal optimiser steps.", columns, rows)
