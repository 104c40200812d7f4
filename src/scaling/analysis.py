"""From a sweep's folder to results: everything the study asks, in one place, and the files it leaves.

`scaling/results.json`: `scale` and `seeds`, then `laws`, `forecasts`, `compute_optimal` and `reuse`. Each of these has a list
`all` of plain records, and the figures of the study with the most sizes by name: laws.compute and laws.data (saturating:
k_max, n0, r2), laws.compute_less_data (k_max, paired), forecasts.within and forecasts.across (r2 of held-out points, the mean
over sizes; across as published, with E refitted; across_without_refit), compute_optimal.largest_budget,
reuse.<repeats>. Every estimate is {value, low, high} with a 95 % interval. Where a law is tested, `ceiling` is the R² that it would reach were it exactly true, and
`share_of_ceiling` what it has of that (src/scaling/noise.py). Beside them: `comparisons`, `orders`, `notes` and `left_out`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.common.files import write_json, write_whole
from src.drawing.chart import Figure
from src.drawing.images import write_images
from src.drawing.table import write_tables
from src.record.read import Run
from src.scaling.bootstrap import interval
from src.scaling.curves import AXES, Study
from src.scaling.figures import against_truth, loss_against, slopes
from src.scaling.fitted import Fitted, compared, described, fit_laws, paired
from src.scaling.forecast import ACROSS, Forecast, forecasts, r2_simulated, scored
from src.scaling.laws import fit_saturating_all
from src.scaling.noise import noise_of, r2_pooled, share_of_ceiling, simulated
from src.scaling.optimal import compute_optimal, order_of_sizes
from src.scaling.results import keep_figures
from src.scaling.reuse import data_reuse
from src.scaling.tables import all_tables

FOLDER = "scaling"  # in the sweep's


@dataclass(frozen=True)
class Analysed:
    """Results for results.json, and the figures that go with them."""

    results: dict[str, Any]
    figures: list[Figure]


def analyse(studies: Sequence[Study], runs: Sequence[Run], draws: int, say: Callable[[str], None]) -> Analysed:
    """Fit, compare, forecast and price; `say` is told what is being done."""
    seeds = min((len({c.seed for c in s.curves if c.size == n}) for s in studies for n in s.sizes), default=0)
    results = {"scale": runs[0].summary["scale"] if runs else None, "seeds": seeds} | nothing_yet()
    figures: list[Figure] = []
    for number, study in enumerate(studies, 1):
        say(f"{study.name}: {len(study.curves)} curves of {len(study.sizes)} sizes, {draws} resamples")
        found = [fitted for axis in AXES for fitted in fit_laws(study, axis, draws)]
        made, notes = forecasts(study, draws)
        add(results, found, made)
        results["notes"] += [f"{study.name}: {note}" for note in (*study.notes, *notes)]
        figures += _figures(study, found, made, number)
    results["reuse"]["all"] = data_reuse(runs)
    name_the_figures(results, max(studies, key=lambda study: len(study.sizes)).name if studies else "")
    return Analysed(results, figures)


def nothing_yet() -> dict[str, Any]:
    """Results of no study."""
    listed = {key: {"all": []} for key in ("laws", "forecasts", "compute_optimal", "reuse")}
    return {**listed, "paired": [], "comparisons": [], "orders": [], "notes": []}


def add(results: dict[str, Any], found: Sequence[Fitted], made: Sequence[Forecast]) -> None:
    """Put what a study's fits and forecasts say into the results."""
    laws = [described(fitted) for fitted in found]
    scores = [(forecast, row) for forecast in made for row in scored(found[0].study, forecast)]
    results["laws"]["all"] += laws
    results["forecasts"]["all"] += [row for _, row in scores]
    results["paired"] += paired(found)
    for axis in AXES:
        results["comparisons"] += compared([fitted for fitted in found if fitted.axis == axis])
    for fitted, law in zip(found, laws, strict=True):
        if fitted.law == "saturating":
            tested = [(each, row) for each, row in scores if (each.axis, each.law) == (fitted.axis, fitted.law)]
            _add_ceilings(fitted, law, [(each, row) for each, row in tested if row["refitted_e"] == (each.kind == ACROSS)])
            results["orders"] += [order] if (order := order_of_sizes(fitted)) else []
            results["compute_optimal"]["all"] += compute_optimal(fitted) if fitted.axis == "compute" else []


def _add_ceilings(fitted: Fitted, law: dict[str, Any], forecasts: Sequence[tuple[Forecast, dict[str, Any]]]) -> None:
    """Beside the scores of a law and of its forecasts what they would be were it exactly true."""
    noise = noise_of(fitted.study.curves, fitted.points, fitted.residuals_P)
    y_BP = simulated(fitted.best, fitted.points, noise)
    rows = [(law, law["r2_pooled"], r2_pooled(fitted.points, y_BP, fit_saturating_all))]
    rows += [(row, row["r2"]["value"], r2_simulated(forecast, fitted.points, y_BP)) for forecast, row in forecasts]
    for row, value, r2_B in rows:
        row["ceiling"] = interval(float(np.median(r2_B)), r2_B)
        row["share_of_ceiling"] = share_of_ceiling(value, r2_B)


def name_the_figures(results: dict[str, Any], study: str) -> None:
    """Put what claims ask for where they look for it."""
    for law in results["laws"]["all"]:
        if (law["study"], law["law"]) == (study, "saturating"):
            results["laws"][law["x"]] = {key: law[key] for key in ("k_max", "n0", "r2", "ceiling", "share_of_ceiling")}
    for pair in results["paired"]:
        if pair["study"] == study:
            results["laws"]["compute_less_data"] = {"k_max": pair["k_max"]}
    for row in results["forecasts"]["all"]:
        if (row["study"], row["x"], row["law"]) != (study, "compute", "saturating"):
            continue
        figures = {key: row[key] for key in ("r2", "ceiling", "share_of_ceiling") if key in row}
        if row["kind"] == ACROSS:
            results["forecasts"]["across" if row["refitted_e"] else "across_without_refit"] = figures
        elif not row["refitted_e"]:
            results["forecasts"].setdefault("within", figures)  # the first is from the fewest points
    if budgets := [each for each in results["compute_optimal"]["all"] if each["study"] == study]:
        results["compute_optimal"]["largest_budget"] = {key: budgets[-1][key] for key in ("budget_flops", "best_parameters")}
    for cost in results["reuse"]["all"]:
        results["reuse"].setdefault(str(cost["repeats"]), cost["extra_loss"])


def _figures(study: Study, found: list[Fitted], made: list[Forecast], number: int) -> list[Figure]:
    best = {fitted.axis: fitted for fitted in reversed(found) if fitted.law != "irreducible"}
    figures = [loss_against(fitted, number) for fitted in best.values()]
    if found:
        figures.append(slopes(found, number))
    law = best["data"].law if best else ""
    shown = [each for each in made if each.law == law]
    return figures + [against_truth(study.curves, each, number, place) for place, each in enumerate(shown, 1)]


def write(analysed: Analysed, folder: Path) -> Path:
    """Write results.json, report.md, tables/ and figures/ into `folder`; returns the path of the results."""
    write_tables(all_tables(analysed.results), folder / "tables")
    write_images(analysed.figures, folder / "figures")
    page = markdown(analysed)
    write_whole(folder / "report.md", lambda path: path.write_text(page, encoding="utf-8"))
    keep_figures(analysed.figures, folder.parent)
    write_json(folder / "results.json", analysed.results)  # last: where it is, the rest is whole
    return folder / "results.json"


def markdown(analysed: Analysed) -> str:
    """The tables, then the figures."""
    lines = ["# Scaling", ""]
    lines += [f"> {note}" for note in analysed.results["notes"]] + [""]
    for each in all_tables(analysed.results):
        lines += [f"## {each.title}", "", each.note, "", each.markdown(), ""]
    for figure in analysed.figures:
        lines += [f"![{figure.title}](figures/{figure.name}.png)", "", f"{figure.title}. {figure.caption}", ""]
    return "\n".join(lines)
