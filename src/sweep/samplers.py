"""Samplers by name. To add one, write a function of (seed, space, options) and name it in SAMPLERS.

A sampler is made anew for each trial, with a seed of the sweep's seed and the trial's number: what it draws does not
depend on how often the sweep was interrupted. What samplers have to remember they keep in Optuna's storage.

A run is determined by its configuration, so no point is proposed twice; and a seed that is varied repeats each configuration,
whatever the sampler.
"""

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study
from optuna.trial import FrozenTrial

from src.common.errors import UserError
from src.sweep.composer import ends
from src.sweep.config import SweepConfig, named
from src.sweep.fidelity import on_rungs
from src.sweep.pending import Pending
from src.sweep.seeds import SEED
from src.sweep.space import Space, on_step

USUAL_TRIALS = 20  # of a search, where nobody says how many
ATTEMPTS = 10  # at a proposal that repeats none, before another point is taken: the first that is left, or any


class Tried:
    """The points of a study's trials."""

    def __init__(self, space: Space) -> None:
        self.space, self.pending = space, Pending(lambda trial: space.point(trial.params) is not None)
        self.numbers: dict[tuple[str, ...], set[int]] = {}  # of the trials at a point

    def read(self, trials: Sequence[FrozenTrial]) -> None:
        for trial in self.pending.read(trials):
            if point := self.space.point(trial.params):
                self.numbers.setdefault(point, set()).add(trial.number)

    def by_another(self, number: int, params: Mapping[str, Any]) -> bool:
        """Whether a trial of another number is at this point."""
        return bool(self.numbers.get(self.space.point(params) or (), set()) - {number})


class Untried(BaseSampler):
    """The first of a list of points that no trial has: a grid, in the order of the list or else of the command line."""

    def __init__(self, space: Space, tried: Tried, points: Sequence[Mapping[str, Any]] = ()) -> None:
        self.space, self.tried, self.points = space, tried, points

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self.space.distributions)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        self.tried.read(study.get_trials(deepcopy=False))
        for begun in (trial.params, {}) if trial.params else ({},):  # what a kill has left, where a point has it
            for point in self.proposals(study, trial):
                if not self.tried.by_another(trial.number, point) and begun.items() <= point.items():
                    return {name: point[name] for name in search_space}
        return {}

    def proposals(self, study: Study, trial: FrozenTrial) -> Iterable[Mapping[str, Any]]:
        return self.points or grid(self.space)

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        return ends(distribution)[0]  # of a parameter that a kill has left to be drawn alone


class Unrepeated(Untried):
    """Another sampler's proposals, anew where one repeats a point; each with every seed before the next."""

    def __init__(self, space: Space, tried: Tried, made: Callable[[int], BaseSampler]) -> None:
        super().__init__(space, tried)
        self.made = made  # for an attempt
        self.varied = {name: each for name, each in space.distributions.items() if name != SEED}

    def proposals(self, study: Study, trial: FrozenTrial) -> Iterator[Mapping[str, Any]]:
        seeds = [{SEED: seed} for seed in self.space.seeds] or [{}]
        for other in study.get_trials(deepcopy=False) if len(seeds) > 1 else []:
            if self.space.point(other.params):
                yield from (other.params | seed for seed in seeds)
        for attempt in range(ATTEMPTS):
            yield self._drawn(self.made(attempt), study, trial) | seeds[0]
        yield from grid(self.space) if self.space.size else (self._drawn(RandomSampler(trial.number), study, trial) | seeds[0],)

    def _drawn(self, sampler: BaseSampler, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        jointly = {name: each for name, each in sampler.infer_relative_search_space(study, trial).items() if name != SEED}
        drawn = sampler.sample_relative(study, trial, jointly)
        for name, each in self.varied.items():
            if each.single():
                drawn[name] = ends(each)[0]
            elif name not in drawn:
                drawn[name] = sampler.sample_independent(study, trial, name, each)
        return {name: on_step(value, self.varied[name]) for name, value in drawn.items()}


def grid(space: Space) -> Iterator[dict[str, Any]]:
    """Its points, the last key varying fastest. Raises UserError where there is no end to them."""
    values = space.points()
    return (dict(zip(values, point, strict=True)) for point in itertools.product(*values.values()))


def _grid(seed: int, space: Space, options: dict[str, Any]) -> BaseSampler:
    space.points()  # which refuses what has no end
    return Untried(space, Tried(space), **options)


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
    "grid": Sampler(_grid),
}

# Options of hydra-optuna-sweeper's configs that Optuna 5 no longer has; they are left out.
GONE = {"consider_prior", "consider_magic_clip", "consider_endpoints"}


def build_sampler(options: Mapping[str, Any], space: Space, number: int, attempt: int = 0) -> BaseSampler:
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
            return SAMPLERS[name].build((seed * 1_000_003 + number + attempt * 15_485_863) % 2**32, space, rest)
    except (TypeError, ValueError) as error:
        raise UserError(f"sweep.sampler: {name} refuses its options ({error})") from error
    except ImportError as error:
        raise UserError(f"sweep.sampler: {name} needs a package that is not installed ({error})") from error


class SamplerMaker:
    """Makes the sampler of each trial of a sweep, by the trial's number.

    Optuna's samplers infer the space from the trials that have ended, of which they remember how far they have read.
    That one memory is handed on: read anew for each trial it would cost as much as the sampling itself.
    """

    def __init__(self, options: Mapping[str, Any], space: Space, grid: Sequence[Mapping[str, Any]] = ()) -> None:
        """`grid`: the points of one in the order in which they are to be tried; by default that of the command line."""
        self.options, self.space, self.grid, self.tried = options, space, grid, Tried(space)
        self.inferred: dict[str, IntersectionSearchSpace] = {}  # by the name of a sampler's attribute

    def __call__(self, number: int) -> BaseSampler:
        if self.options["name"] == "grid":
            return Untried(self.space, self.tried, self.grid)
        if self.space.extended or not self.space.distributions:
            return self._made(number, 0)
        return Unrepeated(self.space, self.tried, partial(self._made, number))

    def _made(self, number: int, attempt: int) -> BaseSampler:
        sampler = build_sampler(self.options, self.space, number, attempt)
        vars(sampler).update(self.inferred)
        self.inferred = {k: v for k, v in vars(sampler).items() if isinstance(v, IntersectionSearchSpace)}
        return sampler


def settled(config: SweepConfig, space: Space) -> SweepConfig:
    """With what was left open: listed values are a grid, each point of which is run once and to its end, as Hydra's own sweeper
    does it; a space with intervals is searched. Raises UserError for an unknown sampler, and for rungs at which nobody would end."""
    named("sampler", config.sampler, SAMPLERS)
    n_trials = config.n_trials or (space.size if not space.intervals else None) or USUAL_TRIALS * max(1, len(space.seeds))
    whole = space.size is not None and n_trials >= space.size
    changes: dict[str, Any] = {"n_trials": space.size if whole else n_trials}
    if whole:
        changes["sampler"] = {"name": "grid"}
    if config.pruner["name"] == "auto":
        if whole and config.fidelity:
            raise UserError(
                f"sweep.fidelity: each of the {space.size} points is run to its end, so small rungs would only add to it; give fewer "
                "sweep.n_trials, or a pruner (sweep.pruner=successive_halving, or none to see how the rungs rank all of them)"
            )
        changes["pruner"] = {"name": "none" if whole else "successive_halving" if config.fidelity else "median"}
    return on_rungs(config.model_copy(update=changes))


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
