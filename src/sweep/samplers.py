"""Samplers by name. To add one, write a function of (seed, space, options) and name it in SAMPLERS.

A sampler is made anew for each trial, with a seed of the sweep's seed and the trial's number: what it draws does not
depend on how often the sweep was interrupted. What samplers have to remember they keep in Optuna's storage.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace

from src.common.errors import UserError
from src.sweep.config import named
from src.sweep.space import Space


class GridSampler(optuna.samplers.GridSampler):
    """Optuna's, for a loop that knows by itself when the grid is done."""

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        pass  # Optuna's asks the study to stop, which is an error outside study.optimize


def _grid(seed: int, space: Space, options: dict[str, Any]) -> BaseSampler:
    return GridSampler(space.points(), seed=options.pop("fixed_seed"), **options)


def _qmc(seed: int, space: Space, options: dict[str, Any]) -> BaseSampler:
    # The sequence must be the same at every trial; only what it does not cover is drawn by the trial's own seed.
    independent = optuna.samplers.RandomSampler(seed=seed)
    usual = {"independent_sampler": independent, "warn_independent_sampling": False}
    return optuna.samplers.QMCSampler(seed=options.pop("fixed_seed"), **(usual | options))


def _nsgaiii(seed: int, space: Space, options: dict[str, Any]) -> BaseSampler:
    import numpy

    if points := options.pop("reference_points", None):
        options["reference_points"] = numpy.asarray(points, dtype=float)
    return optuna.samplers.NSGAIIISampler(seed=seed, **options)


def _plain(kind: Callable[..., BaseSampler], **defaults: Any) -> Callable[[int, Space, dict[str, Any]], BaseSampler]:
    return lambda seed, space, options: kind(seed=seed, **(defaults | options))


@dataclass(frozen=True, slots=True)
class Sampler:
    build: Callable[[int, Space, dict[str, Any]], BaseSampler]
    several_objectives: bool = True
    fixed_seed: bool = False  # draws from one sequence, so it needs the same seed at every trial


SAMPLERS: dict[str, Sampler] = {
    "tpe": Sampler(_plain(optuna.samplers.TPESampler, constant_liar=True)),
    "gp": Sampler(_plain(optuna.samplers.GPSampler, warn_independent_sampling=False)),
    "cmaes": Sampler(
        _plain(optuna.samplers.CmaEsSampler, warn_independent_sampling=False), several_objectives=False
    ),
    "nsgaii": Sampler(_plain(optuna.samplers.NSGAIISampler)),
    "nsgaiii": Sampler(_nsgaiii),
    "qmc": Sampler(_qmc, fixed_seed=True),
    "random": Sampler(_plain(optuna.samplers.RandomSampler)),
    "grid": Sampler(_grid, fixed_seed=True),
}

# Options of hydra-optuna-sweeper's configs that Optuna 5 no longer has; they are left out.
GONE = {"consider_prior", "consider_magic_clip", "consider_endpoints"}


def build_sampler(options: Mapping[str, Any], space: Space, number: int) -> BaseSampler:
    """The sampler for the trial `number`. Raises UserError for an unknown name or option."""
    name, rest = named("sampler", options, SAMPLERS)
    rest = {key: value for key, value in rest.items() if key not in GONE}
    seed = int(rest.pop("seed", 0))
    if SAMPLERS[name].fixed_seed:
        rest["fixed_seed"] = seed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.simplefilter("ignore", FutureWarning)  # options that Optuna will drop, of configs dumped for an older one
            return SAMPLERS[name].build((seed * 1_000_003 + number) % 2**32, space, rest)
    except (TypeError, ValueError) as error:
        raise UserError(f"sweep.sampler: {name} refuses its options ({error})") from error
    except ImportError as error:
        raise UserError(f"sweep.sampler: {name} needs a package that is not installed ({error})") from error


class SamplerMaker:
    """Makes the sampler of each trial of a sweep, by the trial's number.

    Optuna's samplers infer the space from the trials that have ended, of which they remember how far they have read.
    That one memory is handed on: read anew for each trial it would cost as much as the sampling itself.
    """

    def __init__(self, options: Mapping[str, Any], space: Space) -> None:
        self.options, self.space = options, space
        self.inferred: dict[str, IntersectionSearchSpace] = {}  # by the name of a sampler's attribute

    def __call__(self, number: int) -> BaseSampler:
        sampler = build_sampler(self.options, self.space, number)
        vars(sampler).update(self.inferred)
        self.inferred = {k: v for k, v in vars(sampler).items() if isinstance(v, IntersectionSearchSpace)}
        return sampler


def check_sampler(options: Mapping[str, Any], space: Space, objectives: int) -> None:
    """Raise UserError for a sampler that cannot do what is asked of it."""
    name, _ = named("sampler", options, SAMPLERS)
    if objectives > 1 and not SAMPLERS[name].several_objectives:
        able = ", ".join(sorted(other for other, sampler in SAMPLERS.items() if sampler.several_objectives))
        raise UserError(f"sweep.sampler: {name} cannot do {objectives} objectives; choose one of: {able}")
    build_sampler(options, space, 0)
    if name == "cmaes":
        import importlib.util

        if importlib.util.find_spec("cmaes") is None:
            raise UserError("sweep.sampler: cmaes needs the package cmaes; pip install cmaes")
