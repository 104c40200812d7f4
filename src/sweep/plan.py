"""The bill of a sweep: `plan=true` says what all its trials would take, and which cannot fit. Nothing is run or loaded.

A grid is priced cell by cell. Of a search nobody knows the points beforehand: it is priced at its dearest and its cheapest,
every choice and both ends of every range tried.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from src.common.errors import UserError
from src.common.files import write_json
from src.common.screen import duration
from src.config.tree import LabConfig
from src.hardware.launch import needs_launch
from src.plan.answer import answers, in_words
from src.plan.cost_model import GB
from src.plan.disk import check_room, size_of
from src.plan.plan import Plan, disk_in_words, make_plan, plan_of
from src.sweep.beginnings import STEMS, Beginnings
from src.sweep.composer import Composer, ends
from src.sweep.config import SweepConfig
from src.sweep.fidelity import expected_climbs, rungs_of
from src.sweep.space import Space, written

MOST_CELLS = 500  # that are priced one by one; composing one takes some hundredths of a second
MOST_CORNERS = 64  # of a search's space; beyond, one parameter at a time
FIGURES = ("hours", "gpu_hours", "usd", "tokens", "flops")  # of the bill, in the order of its columns


@dataclass(frozen=True, slots=True)
class PlanCell:
    """A point of the space and the plan of one run there."""

    params: dict[str, Any]
    config: LabConfig
    plan: Plan

    @property
    def title(self) -> str:
        return titled(self.params)

    @property
    def cost(self) -> dict[str, float]:
        """Of one run."""
        plan = self.plan
        return {
            "hours": plan.hours, "gpu_hours": plan.gpu_hours, "usd": plan.usd, "tokens": sum(plan.tokens.values()),
            "flops": sum(plan.flops.values()),
        }


def titled(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={written(value)}" for key, value in values.items())


def points(space: Space, grid: bool) -> list[dict[str, Any]]:
    """The points to price: of a grid all of them, else the corners of the space."""
    values = space.points() if grid else {name: ends(one) for name, one in space.distributions.items()}
    if grid or math.prod(map(len, values.values())) <= MOST_CORNERS:
        return [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
    lows, highs = ({name: some[place] for name, some in values.items()} for place in (0, -1))
    several = [base | {name: value} for base in (lows, highs) for name, some in values.items() for value in some]
    return [dict(point) for point in dict.fromkeys(tuple(point.items()) for point in several)]


def priced_whole(space: Space, n_trials: int) -> bool:
    """Whether every trial is known beforehand: all the points of a grid, and not too many of them."""
    return space.size == n_trials <= MOST_CELLS


def longest_first(composer: Composer, space: Space, n_trials: int) -> list[tuple[dict[str, Any], LabConfig | None]]:
    """The points of a grid with their configurations, by the time that one takes, so that no slot stands idle beside the last of
    the long ones; nothing where the trials are not known beforehand. None is a configuration that does not hold together."""
    if not priced_whole(space, n_trials):
        return []
    found = [(point, _composed_at(point, composer, space)) for point in points(space, True)]
    return sorted(found, key=lambda each: -round(plan.hours, 9) if each[1] and (plan := plan_of(each[1])) else 0.0)


def _composed_at(point: Mapping[str, Any], composer: Composer, space: Space) -> LabConfig | None:
    try:
        return composer.of_trial(space, point)
    except UserError:  # its trial will say why
        return None


def beginnings_of(grid: Sequence[tuple[dict[str, Any], LabConfig | None]], space: Space, sweep: SweepConfig, folder: Path) -> Beginnings:
    """What the points of a grid share; nothing where validations are looked at, since each trial needs its own then."""
    shared = sweep.share_beginnings and sweep.pruner["name"] == "none" and not sweep.fidelity
    several = [(space.point(point), config) for point, config in grid if config and not needs_launch(config.hardware)]
    return Beginnings(dict(several) if shared else {}, folder / STEMS)


def bill(
    composer: Composer, spaces: Sequence[Space], sweep: SweepConfig, n_trials: int, name: str, first: LabConfig,
    note: Callable[[str], None],
) -> dict[str, Any]:
    """Print and write what the sweep would take, `spaces` being those of its rungs; returns it. Raises UserError that names the cells
    that cannot fit."""
    space, whole = spaces[-1], priced_whole(spaces[-1], n_trials)
    rungs = [priced(composer, each, whole) for each in spaces]
    cells = rungs[-1]
    low, high = bounds(rungs, [n_trials] * len(rungs), whole, sweep)
    for line in said(rungs, whole, sweep, n_trials, low, high):
        note(line)
    ladder = ladder_of(rungs, whole, sweep, n_trials) if sweep.fidelity else {}
    for line in said_of_ladder(ladder, sweep) if ladder else ():
        note(line)
    saved, steps = beginnings_of([(cell.params, cell.config) for cell in cells] if whole else [], space, sweep, Path()).saved()
    if saved:
        note(f"  not in it: what shared beginnings save, {saved} of {steps} steps ({saved / steps:.0%})")
    answered = answers(first, sweep.seeds * max(1, len(space.seeds)))
    for about, line in in_words(answered).items():
        note(f"  {about}: {line}")
    if answered and n_trials > 2 * max(1, len(space.seeds)):
        note("  these are of two configurations; of many the report corrects for their number")
    found = {
        "sweep": name, "scale": first.scale.name, "trials": n_trials, "seeds": sweep.seeds, "low": low, "high": high,
        "answers": list(map(asdict, answered)), "steps_saved": saved, **ladder,
        "cells": [{"params": cell.params, "run": cell.cost, "plan": asdict(cell.plan)} for cell in cells],
    }
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    path = Path(first.output_root) / "plans" / f"{name}_{first.scale.name}_sweep_{stamp}.json"
    write_json(path, found)
    note(f"written to {path}")
    at_rungs = zip(rungs_of(sweep.fidelity), rungs, strict=True)
    if refused := [replace(cell, params=own | cell.params) for own, rung in at_rungs for cell in rung if cell.plan.faults]:
        raise UserError(refusal(refused, sum(map(len, rungs)), whole))
    return found


def priced(composer: Composer, space: Space, whole: bool) -> list[PlanCell]:
    """The points of a space that are priced, with their plans."""
    cells = []
    for point in points(space, whole):
        config = composer.of_trial(space, point)
        config = config.model_copy(update={"record": config.record.of_a_trial()})
        cells.append(PlanCell(point, config, make_plan(config)))
    return cells


def bounds(
    rungs: Sequence[Sequence[PlanCell]], climbs: Sequence[float], whole: bool, sweep: SweepConfig
) -> tuple[dict[str, float], dict[str, float]]:
    """Each figure over all runs, with so many trials at each rung: of a grid from the mean of its cells, of a search as if each run
    were the cheapest of them, and the dearest."""
    runs = [*(trials * sweep.seeds for trials in climbs[:-1]), sweep.runs(climbs[-1])]

    def total(of_run: Callable[[list[float]], float]) -> dict[str, float]:
        costs = [{key: of_run([cell.cost[key] for cell in cells]) for key in FIGURES} for cells in rungs]
        return {key: sum(n * cost[key] for n, cost in zip(runs, costs, strict=True)) for key in FIGURES}

    return (total(fmean), total(fmean)) if whole else (total(min), total(max))


def ladder_of(rungs: Sequence[Sequence[PlanCell]], whole: bool, sweep: SweepConfig, n_trials: int) -> dict[str, Any]:
    """What a run takes at each rung, how many trials are expected there, and what that comes to."""
    climbs = expected_climbs(sweep, n_trials)
    low, high = bounds(rungs, climbs, whole, sweep)
    rows = []
    for settings, trials, cells in zip(rungs_of(sweep.fidelity), climbs, rungs, strict=True):
        cheapest, dearest = ({key: pick(cell.cost[key] for cell in cells) for key in FIGURES} for pick in (min, max))
        rows.append({"settings": settings, "trials_expected": trials, "cheapest": cheapest, "dearest": dearest})
    return {"rungs": rows, "expected": {"low": low, "high": high}}


# What is said --------------------------------------------------------------------------------------------------------


def said(
    rungs: Sequence[Sequence[PlanCell]], whole: bool, sweep: SweepConfig, n_trials: int, low: Mapping[str, float],
    high: Mapping[str, float],
) -> Iterator[str]:
    """The bill in lines: by model where that is varied, the cheapest and the dearest run, the total, and what it leaves out."""
    cells = rungs[-1]
    seeds = f" x {sweep.seeds} seeds" if sweep.seeds > 1 else ""
    yield f"  {n_trials} trials{seeds}" + ("" if whole else f", priced at {len(cells)} corners of the space")
    if sweep.confirm:
        best = min(sweep.confirm.top, n_trials)
        yield f"  then the best {best} and the default recipe on {sweep.confirm.seeds} fresh seeds, {(best + 1) * sweep.confirm.seeds} runs"
    if "model" in cells[0].params:
        runs = n_trials * sweep.seeds / len(cells)
        for model, some in itertools.groupby(sorted(cells, key=_model), key=_model):
            yield f"  {_labelled(model, list(some), whole, runs)}"
    else:
        for label, cell in (("cheapest", min(cells, key=_usd)), ("dearest", max(cells, key=_usd))):
            yield f"  {label} run: {_figures(cell.cost)}  {cell.title}"
    what = "in all, every trial at every rung" if sweep.fidelity else "in all"
    at_once = _spread(low, high, lambda c: _hours(c["hours"] / sweep.n_jobs))
    yield f"  {what}: {_range(low, high)}; {sweep.n_jobs} at once: {at_once}"
    disk = disk_gb([[cell.plan for cell in each] for each in rungs], sweep, n_trials)
    yield f"  disk: {disk:,.1f} GB at most, of the dearest run {disk_in_words(max(cells, key=_usd).plan)}"
    yield from left_out(sweep, high)


def said_of_ladder(ladder: Mapping[str, Any], sweep: SweepConfig) -> Iterator[str]:
    for number, row in enumerate(ladder["rungs"], 1):
        costs = _range(row["cheapest"], row["dearest"])
        yield f"  rung {number}, {titled(row['settings'])}: {row['trials_expected']:.1f} trials expected, a run {costs}"
    if sweep.pruner["name"] != "none":
        yield (
            f"  expected with the {sweep.pruner['name']} pruner: {_range(**ladder['expected'])}, where every rung ranks the trials alike; "
            "more where the search gets better as it goes"
        )


def disk_gb(rungs: Sequence[Sequence[Plan]], sweep: SweepConfig, n_trials: int, ended: int = 0) -> float:
    """Of all checkpoints: those of the trials that run at once, and what the finished ones keep; by the dearest of each rung. Without
    those of trials that have ended."""
    runs, below = sweep.runs(n_trials) - ended * sweep.seeds, (n_trials - ended) * sweep.seeds * sweep.keep_pruned_checkpoints
    last = max(min(sweep.n_jobs, runs) * plan.disk_gb["at once"] + runs * plan.disk_gb["kept"] for plan in rungs[-1])
    return last + below * sum(max(plan.disk_gb["kept"] for plan in plans) for plans in rungs[:-1])


def check_sweep_disk(firsts: Sequence[LabConfig], sweep: SweepConfig, n_trials: int, folder: Path) -> None:
    """Raise UserError where the sweep's checkpoints would not find room, judged by its first trial at each rung."""
    plans = [plan_of(first.model_copy(update={"record": first.record.of_a_trial()})) for first in firsts]
    if all(plans):
        ended = _ended(folder)
        there = sum(size_of(trial) for trial in (folder / "trials").glob("*") if trial.name not in ended)
        needed = disk_gb([[plan] for plan in plans], sweep, n_trials, len(ended)) * GB - there
        check_room(folder, needed, "record.checkpoints_kept=1, fewer sweep.n_trials or output_root=<a folder with more room>")


def _ended(folder: Path) -> set[str]:
    """The trials that earlier sessions have ended, as far as their table knows, as their folders are called."""
    import pandas as pd

    try:
        table = pd.read_parquet(folder / "trials.parquet", columns=["number", "state"])
    except (OSError, ValueError):
        return set()
    return {f"{number:04d}" for number in table.loc[table["state"].isin(["complete", "pruned", "fail"]), "number"]}


def left_out(sweep: SweepConfig, high: Mapping[str, float]) -> Iterator[str]:
    """What the figures cannot know."""
    if sweep.pruner["name"] != "none" and not sweep.fidelity:
        yield f"  not in it: what the {sweep.pruner['name']} pruner will save, which depends on what the trials find"
    if sweep.stop_when:
        yield "  not in it: what sweep.stop_when will save"
    if sweep.custom_search_space:
        yield f"  not in it: what {sweep.custom_search_space} adds to the space"
    for key in ("hours", "usd"):
        limit = getattr(sweep.budget, key)
        spent = high["hours"] / sweep.n_jobs if key == "hours" else high["usd"]
        if limit is not None and spent > limit:
            yield f"  budget.{key}={limit:g} may end the sweep before its last trial"


def refusal(cells: Sequence[PlanCell], priced: int, whole: bool) -> str:
    """One line: which cells do not fit, why, and what would make the first one fit."""
    what = "cells" if whole else "corners of the space"
    named = "; ".join(f"{cell.title} ({cell.plan.faults[0]})" for cell in cells[:4])
    rest = f" and {len(cells) - 4} more" if len(cells) > 4 else ""
    fits = cells[0].plan.remedies
    change = f"for {cells[0].title} set one of {', '.join(fits)}" if fits else "leave them out, or choose other hardware"
    return f"plan: {len(cells)} of {priced} {what} cannot fit: {named}{rest}; {change}"


def _model(cell: PlanCell) -> tuple[int, str]:
    return cell.plan.parameters, str(cell.params["model"])


def _usd(cell: PlanCell) -> tuple[float, float]:
    return cell.plan.usd, cell.plan.hours


def _labelled(model: tuple[int, str], cells: Sequence[PlanCell], whole: bool, runs: float) -> str:
    """One model's share of a grid; of a search, what one run of it takes."""
    hardware = cells[0].config.hardware
    where = f"on {hardware.title}"
    if whole:
        costs = {key: sum(cell.cost[key] for cell in cells) * runs for key in FIGURES}
        return f"{model[1]} ({model[0] / 1e6:,.1f}M): {len(cells) * runs:.0f} runs, {_figures(costs)}, {where}"
    low, high = ({key: pick(cell.cost[key] for cell in cells) for key in FIGURES} for pick in (min, max))
    return f"{model[1]} ({model[0] / 1e6:,.1f}M): a run {_range(low, high)}, {where}"


def _range(low: Mapping[str, float], high: Mapping[str, float]) -> str:
    return _figures(low) if _figures(low) == _figures(high) else f"{_figures(low)} to {_figures(high)}"


def _spread(low: Mapping[str, float], high: Mapping[str, float], shown: Callable[[Mapping[str, float]], str]) -> str:
    return shown(low) if shown(low) == shown(high) else f"{shown(low)} to {shown(high)}"


def _figures(cost: Mapping[str, float]) -> str:
    gpus = f", {cost['gpu_hours']:,.1f} GPU-hours" if cost["gpu_hours"] else ""
    return f"{_hours(cost['hours'])}{gpus}, ${cost['usd']:,.2f}, {cost['tokens'] / 1e6:,.1f}M tokens, {cost['flops']:.2e} FLOPs"


def _hours(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else duration(hours * 3600)
