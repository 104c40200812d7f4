"""Fidelities: a trial climbs a ladder of rungs, from a small run of its configuration to the real one, and is pruned on the way.

Each rung is a run of its own, with other steps, data, samples or another model. What its objective comes to is the trial's value at
the step, or resource, where Optuna's successive halving looks next (asynchronous: arXiv 1810.05934). With TPE, which models a pruned
trial by its last step and the value there, that is BOHB (arXiv 1807.01774).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from src.common.errors import UserError
from src.config.tree import LabConfig
from src.record.recipe import within
from src.statistics import Interval, rank_correlation
from src.sweep.composer import Composer, check_all
from src.sweep.config import SweepConfig
from src.sweep.pruners import build_pruner
from src.sweep.space import Space

FACTOR = 3  # one in so many of the trials at a rung goes on: BOHB's eta
JUDGES = ("none", "median", "percentile", "successive_halving", "hyperband")  # of one value at each rung
SIMULATED = 1000  # trials, to know how many climb how far
RUNG = "rung_"  # begins the folder of a rung's runs in a trial's, and the column of what a rung below the last came to


def rungs_of(fidelity: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Of each rung its values by key, the real one last; one rung without any where there are no fidelities."""
    return [dict(zip(fidelity, values, strict=True)) for values in zip(*fidelity.values(), strict=True)] or [{}]


def resources_of(config: SweepConfig) -> list[int]:
    """The step that Optuna is told for each rung."""
    return [config.pruner.get("reduction_factor", FACTOR) ** rung for rung in range(len(rungs_of(config.fidelity)))]


def on_rungs(config: SweepConfig) -> SweepConfig:
    """With the options by which halving looks at each rung, where there are fidelities. Raises UserError."""
    name, factor = config.pruner["name"], config.pruner.get("reduction_factor", FACTOR)
    if not config.fidelity or name not in ("successive_halving", "hyperband"):
        return config
    if not isinstance(factor, int) or factor < 2:
        raise UserError(f"sweep.pruner: reduction_factor must be a whole number above 1, not {factor}")
    if given := sorted({"min_resource", "max_resource", "min_early_stopping_rate"} & config.pruner.keys()):
        raise UserError(f"sweep.pruner: {given[0]} is of steps, and what is judged here are the rungs of sweep.fidelity; leave it out")
    options = {"reduction_factor": factor, "min_resource": 1}
    if name == "hyperband":
        options["max_resource"] = resources_of(config)[-1] + 1  # of the last itself the logarithm may be rounded down
    return config.model_copy(update={"pruner": options | config.pruner})


def check_fidelity(config: SweepConfig, spaces: Sequence[Space], arguments: Sequence[str], objectives: int) -> None:
    """Raise UserError where the rungs do not go with what else is asked; `arguments` is the command line."""
    if config.fidelity and (fault := next(_faults(config, spaces, arguments, objectives), None)):
        raise UserError(f"sweep.fidelity: {fault}")


def _faults(config: SweepConfig, spaces: Sequence[Space], arguments: Sequence[str], objectives: int) -> Iterator[str]:
    given = {argument.partition("=")[0].lstrip("+~") for argument in (*config.params, *arguments)}
    yield from (f"{key} is given besides; leave one of them out" for key in config.fidelity if key in given)
    yield from (f"{key} takes one value for each rung, not several" for key in config.fidelity for each in spaces if key in each.distributions)
    if any(within(key, ("hardware",)) for key in config.fidelity):
        yield "hardware: what a trial is given, and its price, is that of the last rung; leave hardware out"
    if objectives > 1:
        yield "rungs are judged by one objective; name one"
    if spaces[-1].seeds:
        yield "seed is varied here, and a trial takes all of its seeds along; leave seed out, and give sweep.seeds"
    if config.stop_when:
        yield "sweep.stop_when reads the curves of one size in a trial; leave one of them out"
    if config.pruner["name"] not in JUDGES:
        yield f"sweep.pruner={config.pruner['name']} judges what happens within a run; choose one of {', '.join(JUDGES)}"


def check_rungs(composer: Composer, spaces: Sequence[Space]) -> list[LabConfig]:
    """The configurations of the first values at each rung, all others composed and validated as well. Raises UserError."""
    firsts = []
    for rung, space in enumerate(spaces, 1):
        try:
            firsts.append(check_all(composer, space))
        except UserError as error:
            raise UserError(f"sweep.fidelity: at rung {rung} {error}" if len(spaces) > 1 else str(error)) from error
    return firsts


def expected_climbs(config: SweepConfig, n_trials: int) -> list[float]:
    """How many trials reach each rung, by the pruner itself, where each rung ranks them alike and they come in no order: fewer than
    in a search that gets better, and that promotes what is better than all before."""
    import numpy as np

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    draws, resources, n = np.random.default_rng(0), resources_of(config), min(n_trials, SIMULATED)
    reached, repeats = [0] * len(resources), max(1, SIMULATED // n)
    for repeat in range(repeats):
        study = optuna.create_study(direction="maximize", pruner=build_pruner(config.pruner), study_name=str(repeat))
        for value in draws.random(n):
            trial, pruned = study.ask(), False
            for rung, resource in enumerate(resources):
                if not pruned:
                    reached[rung] += 1
                    trial.report(value, resource)
                    pruned = resource != resources[-1] and trial.should_prune()
            study.tell(trial, None if pruned else value, state=TrialState.PRUNED if pruned else TrialState.COMPLETE)
    return [count / repeats * n_trials / n for count in reached]


# What came of it ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well a rung has ranked a higher one, over the trials that had both."""

    rungs: tuple[int, int]  # from 1
    trials: int
    correlation: Interval  # of the ranks
    best: tuple[int, int]  # number of the trial that is best at the one and at the other


def rankings(values: Mapping[int, Sequence[float]], maximise: bool) -> list[Ranking]:
    """Of each two rungs; `values` are those of a trial's rungs by its number. Without those whose ranks say nothing."""
    found, sign = [], 1 if maximise else -1
    for pair in itertools.combinations(range(max(map(len, values.values()), default=0)), 2):
        both = {number: [sign * own[rung] for rung in pair] for number, own in values.items() if len(own) > pair[1]}
        if correlation := rank_correlation(*zip(*both.values(), strict=True)):
            best = max(both, key=lambda number: both[number][0]), max(both, key=lambda number: both[number][1])
            found.append(Ranking((pair[0] + 1, pair[1] + 1), len(both), correlation, best))
    return found


def values_of(trial: FrozenTrial) -> list[float]:
    """Of each rung that a trial did; a trial that does not climb has one at most."""
    last = trial.values[:1] if trial.state == TrialState.COMPLETE else []  # of a pruned one Optuna takes what was reported last
    return [*trial.user_attrs.get("account", {}).get("rungs", []), *last]
