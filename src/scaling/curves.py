"""Runs become curves: loss = 1 - accuracy on the validation problems, against compute and data, one curve a run.

Runs that differ only in the model and the seed belong to one study. What cannot be used is named in its notes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from src.common.errors import UserError
from src.record.left_out import LeftOut
from src.record.read import Run, read_records
from src.record.recipe import AMONG_SIZES, recipe_of

AXES = ("compute", "data")
FEWEST_POINTS = 4  # of a curve
FEWEST_SIZES = 2  # for a law over sizes
COLUMNS = {"compute": "flops/training", "data": "samples", "size": "parameters/without_embeddings"}


@dataclass(frozen=True)
class Curve:
    """T measured points of one run."""

    size: int  # parameters without embeddings
    seed: int
    compute_T: np.ndarray  # operations of training so far: 6 · N · tokens, as the study counts
    data_T: np.ndarray  # prompts presented so far
    loss_T: np.ndarray  # above 0, up to 1
    name: str = ""  # of its folder
    solved_P: np.ndarray | None = None  # share of the samples of each validation problem that the end of training solves
    samples: int = 0  # of a validation problem; 0 = not known


@dataclass(frozen=True)
class Study:
    """Curves of one recipe at one or more sizes, and what has to be said about them."""

    name: str
    curves: tuple[Curve, ...]
    notes: tuple[str, ...] = ()
    settings: dict[str, object] = field(default_factory=dict)  # in which it differs from the other studies

    @property
    def sizes(self) -> list[int]:
        return sorted({curve.size for curve in self.curves})


def read_studies(folder: Path) -> tuple[list[Study], list[Run], list[LeftOut]]:
    """The studies in a sweep's folder, their runs, and the records left out. Raises UserError if nothing is usable."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name a sweep's folder, such as outputs/sweeps/scaling")
    runs, left_out = read_records([folder])
    usable = []
    for run in runs:
        if reason := _unusable(run):
            left_out.append(LeftOut(str(run.folder), reason))
        else:
            usable.append(run)
    if not usable:
        why = f" ({left_out[0].folder}: {left_out[0].reason})" if left_out else ""
        raise UserError(f"no run in {folder} has a curve to fit{why}")
    return _grouped(usable), usable, left_out


def _unusable(run: Run) -> str | None:
    if run.status != "complete":
        return f"it is {run.status}, not complete"
    if missing := [column for column in COLUMNS.values() if not run.steps.get(column)]:
        return f"from an older version: metrics.jsonl has no {', '.join(missing)}"
    if not any(value is not None for value in run.steps.get("validation/accuracy", [])):
        return "it has no validation, so no curve"
    return None


def _grouped(runs: Sequence[Run]) -> list[Study]:
    recipes: dict[tuple, list[Run]] = {}
    for run in runs:
        recipes.setdefault(_recipe(run), []).append(run)
    shared = set.intersection(*(set(recipe) for recipe in recipes))
    studies = []
    for recipe, members in recipes.items():
        own = {key: value for key, value in recipe if (key, value) not in shared}
        name = ", ".join(f"{key}={value}" for key, value in sorted(own.items())) or members[0].name
        studies.append(study_of(name, [curve_of(run) for run in members], own))
    if "validation problems" in {key for recipe in recipes for key, _ in set(recipe) - shared}:
        note = "runs were validated on different problems; their curves are not compared"
        studies = [Study(s.name, s.curves, (*s.notes, note), s.settings) for s in studies]
    return sorted(studies, key=lambda study: study.name)


def _recipe(run: Run) -> tuple[tuple[str, str], ...]:
    """All settings that two runs of a study share, and the problems they are validated on."""
    kept = {key: str(value) for key, value in recipe_of(run.config, AMONG_SIZES).items()}
    if "model.variant" in run.config:
        kept["model.variant"] = str(run.config["model.variant"])
    measured = next((measure for (suite, _), measure in run.measures.items() if suite == "validation"), None)
    if measured is not None:
        kept["validation problems"] = sha256("/".join(measured.problems).encode()).hexdigest()[:6]
    return tuple(sorted(kept.items()))


def curve_of(run: Run) -> Curve:
    """The run's curve, at the steps that were validated."""
    columns = [run.steps[COLUMNS["compute"]], run.steps[COLUMNS["data"]], run.steps["validation/accuracy"]]
    rows = [row for row in zip(*columns, strict=True) if row[2] is not None]
    compute, data, accuracy = (np.array(column, float) for column in zip(*rows, strict=True))
    size = next(value for value in run.steps[COLUMNS["size"]] if value)
    after = run.measures.get(("validation", "after"))
    solved, samples = (after.accuracy_P, after.samples) if after else (None, 0)
    return Curve(int(size), run.seed, compute, data, 1 - accuracy, str(run.folder), solved, samples)


def study_of(name: str, curves: Sequence[Curve], settings: dict[str, object] | None = None) -> Study:
    """A study of what of these curves can be used, with a note for each thing that cannot, or that looks wrong."""
    kept, notes = [], []
    for curve in sorted(curves, key=lambda curve: (curve.size, curve.seed)):
        cleaned, said = _cleaned(curve)
        notes += said
        if cleaned is not None:
            kept.append(cleaned)
    notes += _on_seeds(kept) + _on_sizes(kept)
    return Study(name, tuple(kept), tuple(notes), settings or {})


def _cleaned(curve: Curve) -> tuple[Curve | None, list[str]]:
    """The curve without points that have no logarithm; None if too few are left."""
    who, notes = f"N={curve.size:,}, seed {curve.seed}", []
    solved = curve.loss_T <= 0
    if solved.any():
        notes.append(f"{who}: {solved.sum()} points with a loss of 0 are left out: a law in log L has no room for them")
    if (curve.loss_T >= 1).all():
        notes.append(f"{who}: it never solved a problem, so its loss of 1 says nothing of the law; left out")
        return None, notes
    if at_one := int((curve.loss_T >= 1).sum()):
        notes.append(f"{who}: {at_one} points with a loss of 1 are kept, as log L = 0")
    kept = ~solved
    if kept.sum() < FEWEST_POINTS:
        notes.append(f"{who}: {kept.sum()} points, fewer than {FEWEST_POINTS}: left out; validate more often")
        return None, notes
    curve = replace(curve, compute_T=curve.compute_T[kept], data_T=curve.data_T[kept], loss_T=curve.loss_T[kept])
    if np.polyfit(np.log(curve.data_T), np.log(curve.loss_T), 1)[0] > 0:
        notes.append(f"{who}: its loss rises along training; a law with k of at least 0 makes it flat")
    return curve, notes


def _on_seeds(curves: Sequence[Curve]) -> list[str]:
    seeds = {size: {c.seed for c in curves if c.size == size} for size in {c.size for c in curves}}
    all_seeds = set().union(*seeds.values()) if seeds else set()
    return [
        f"N={size:,}: seeds missing: {', '.join(map(str, sorted(all_seeds - there)))}; its interval rests on {len(there)}"
        for size, there in sorted(seeds.items())
        if there != all_seeds
    ]


def _on_sizes(curves: Sequence[Curve]) -> list[str]:
    sizes = {curve.size for curve in curves}
    if len(sizes) >= FEWEST_SIZES:
        return []
    return [f"{len(sizes)} size{'' if len(sizes) == 1 else 's'}: k(N) takes at least {FEWEST_SIZES}; no law over sizes"]
