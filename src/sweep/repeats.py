"""The configurations of a study. Trials that differ in their seed alone are repeats of one, whose values are their means."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import optuna
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from src.sweep.seeds import SEED, spread
from src.sweep.space import written


@dataclass(frozen=True, slots=True)
class Configuration:
    """Complete trials of one configuration, in the order of their numbers; one alone where the seed is not varied."""

    trials: tuple[FrozenTrial, ...]

    @property
    def number(self) -> int:
        return self.trials[0].number

    @property
    def columns(self) -> list[tuple[float, ...]]:
        """Of each objective its values."""
        return list(zip(*(trial.values for trial in self.trials), strict=True))

    @property
    def values(self) -> list[float]:
        return [fmean(column) for column in self.columns] if len(self.trials) > 1 else self.trials[0].values

    @property
    def spreads(self) -> list[float | None]:
        """Standard deviations between seeds."""
        return [spread(column) for column in self.columns]

    @property
    def seeds(self) -> list[int]:
        return [trial.params[SEED] for trial in self.trials if SEED in trial.params]

    @property
    def account(self) -> dict[str, Any]:
        return self.trials[0].user_attrs.get("account", {})


def configurations(study: Study) -> list[Configuration]:
    """Of which some trial is complete, by the number of their first one."""
    found: dict[Any, list[FrozenTrial]] = {}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        found.setdefault(_but_for_its_seed(trial), []).append(trial)
    return [Configuration(tuple(trials)) for trials in found.values()]


def _but_for_its_seed(trial: FrozenTrial) -> Any:
    if SEED not in trial.params:
        return trial.number
    return tuple((name, written(value)) for name, value in sorted(trial.params.items()) if name != SEED)


def best_of(study: Study) -> list[Configuration]:
    """The best, or those of the Pareto front, of the configurations with the most seeds; empty before a trial is complete."""
    found = configurations(study)
    most = max((len(each.trials) for each in found), default=0)
    found = [each for each in found if len(each.trials) == most]
    if len(study.directions) > 1:
        return _front(found, study) if most > 1 else _those(found, study)
    sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
    return [min(found, key=lambda each: (-sign * each.values[0], each.number))] if found else []


def _those(found: Sequence[Configuration], study: Study) -> list[Configuration]:
    numbers = {trial.number for trial in study.best_trials}
    return [each for each in found if each.number in numbers]


def _front(found: Sequence[Configuration], study: Study) -> list[Configuration]:
    means = optuna.create_study(directions=study.directions)
    means.add_trials([create_trial(values=each.values) for each in found])
    return [found[trial.number] for trial in means.best_trials]
