"""Pruners by name. To add one, name a function of its options in PRUNERS.

A pruner sees the value of each validation as an intermediate value at the step of training. With several objectives,
where Optuna has no intermediate values, a mirror of the study with the one objective to prune on is kept in memory.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from src.common.errors import UserError
from src.sweep.config import named
from src.sweep.curves import Curves, chance_among_best

OUTCOMES = "outcomes"  # user attribute: by step, the share of samples solved of each problem
ERRORS = "errors"  # user attribute: by step, the standard error of the value
REFIT_AT = 1.1  # times the trials that had ended at the last fit of the curves, which solves 48 times what an answer solves once
KEPT = {"wilcoxon": OUTCOMES, "likely": ERRORS}  # what a pruner wants kept of a report besides the value


class WilcoxonOnProblems(BasePruner):
    """Optuna's Wilcoxon pruner on the problems of one validation, paired with the best trial's at the same step.

    Pooling the problems of several validations would count each problem several times, and prune too boldly.
    """

    def __init__(self, **options: Any) -> None:
        self.test = optuna.pruners.WilcoxonPruner(**options)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        step = str(trial.last_step)
        finished = [
            other
            for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if step in other.user_attrs.get(OUTCOMES, {})
        ]
        if not finished or step not in trial.user_attrs.get(OUTCOMES, {}):
            return False
        sign = 1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1
        best = max(finished, key=lambda other: sign * (other.value or 0.0))
        pair = optuna.create_study(direction="maximize" if sign > 0 else "minimize")
        pair.add_trial(_of_problems(best.user_attrs[OUTCOMES][step], TrialState.COMPLETE))
        return self.test.prune(pair, _of_problems(trial.user_attrs[OUTCOMES][step], TrialState.RUNNING))


class LikelyPruner(BasePruner):
    """Stops a trial that is unlikely, by the probability that is stated, to be among the best `k` at the end: see `curves`.

    Of those that were stopped none will be, so they only tell how curves go. It looks at the last `most` trials, so in a longer
    study the best are the best of these. `said` is what it thought of the last one.
    """

    def __init__(self, k: int = 1, probability: float = 0.02, n_startup_trials: int = 4, most: int = 100) -> None:
        if not (k >= 1 and 0 < probability < 1):
            raise ValueError("k is at least 1, and probability between 0 and 1")
        self.k, self.probability, self.n_startup_trials, self.most = k, probability, n_startup_trials, most
        self.said = ""
        self.fit: tuple[int, tuple[float, float, float]] = (-1, (1.0, 1.0, 1.0))  # when so many trials had ended

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        told = [t for t in study.get_trials(deepcopy=False) if t.intermediate_values and t.number != trial.number]
        if sum(t.state == TrialState.COMPLETE for t in told) < self.n_startup_trials:
            return False
        ended = sum(t.state.is_finished() for t in told)  # of all: among the last `most` it would grow no more
        told = [*told[-self.most :], trial]
        sign = 1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1
        curves = curves_of(told, sign)
        if ended > REFIT_AT * self.fit[0]:
            self.fit = ended, curves.fitted()
        means, variances = curves.ends(*self.fit[1])
        living = [place for place, t in enumerate(told) if t.state != TrialState.PRUNED and t.state != TrialState.FAIL]
        chance = chance_among_best(means[living], variances[living], len(living) - 1, self.k)
        self.said = f"{chance:.2f} likely to be among the best {self.k}"
        return trial.last_step != max(step for t in told for step in t.intermediate_values) and chance < self.probability


def curves_of(trials: Sequence[FrozenTrial], sign: int) -> Curves:
    """What trials have reported, times `sign`. Where the noise of none is known, it is taken to be as large as all values' spread."""
    steps = sorted({step for trial in trials for step in trial.intermediate_values})
    values = np.array([[sign * trial.intermediate_values.get(step, np.nan) for step in steps] for trial in trials])
    errors = np.array([[trial.user_attrs.get(ERRORS, {}).get(str(step), 0.0) for step in steps] for trial in trials])
    return Curves(values, errors**2 if errors.any() else np.full_like(values, np.nanvar(values)), np.array(steps) / steps[-1])


def _of_problems(outcomes: list[float], state: TrialState) -> FrozenTrial:
    value = sum(outcomes) / len(outcomes) if state == TrialState.COMPLETE else None
    return create_trial(state=state, value=value, intermediate_values=dict(enumerate(outcomes)))


def _patient(**options: Any) -> BasePruner:
    """`patience` validations without an improvement before `wrapped`, by default median, is asked."""
    wrapped = options.pop("wrapped", "median")
    inner = build_pruner({"name": wrapped} if isinstance(wrapped, str) else wrapped)
    return optuna.pruners.PatientPruner(inner, **({"patience": 1} | options))


def _percentile(**options: Any) -> BasePruner:
    return optuna.pruners.PercentilePruner(**({"percentile": 25.0} | options))


PRUNERS: dict[str, Callable[..., BasePruner]] = {
    "none": optuna.pruners.NopPruner,
    "median": optuna.pruners.MedianPruner,
    "percentile": _percentile,
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "patient": _patient,
    "wilcoxon": WilcoxonOnProblems,
    "likely": LikelyPruner,
}


def build_pruner(options: Mapping[str, Any]) -> BasePruner:
    """The pruner of a sweep. Raises UserError for an unknown name or option."""
    name, rest = named("pruner", options, PRUNERS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return PRUNERS[name](**rest)
    except (TypeError, ValueError) as error:
        raise UserError(f"sweep.pruner: {name} refuses its options ({error})") from error


class Mirror:
    """A study of one objective beside one of several: the same trials, numbers and states, intermediate values too."""

    REPORTS = "reports"  # user attribute of the study's trials: value by step

    def __init__(self, study: Study, objective: int, pruner: BasePruner) -> None:
        self.study, self.objective = study, objective
        self.copy = optuna.create_study(
            direction=study.directions[objective].name.lower(), pruner=pruner, study_name=study.study_name
        )
        self.finished: set[int] = set()

    def should_prune(self, number: int) -> bool:
        """What the pruner says of a running trial after its newest report."""
        self._follow()
        frozen = self.copy.get_trials(deepcopy=False)[number]
        pruner = self.copy.pruner
        view = optuna.pruners._filter_study(self.copy, frozen)  # hyperband compares within a bracket only
        return bool(frozen.intermediate_values) and pruner.prune(view, frozen)

    def _follow(self) -> None:
        storage = self.copy._storage
        for trial in self.study.get_trials(deepcopy=False):
            if trial.number in self.finished:
                continue
            while len(self.copy.get_trials(deepcopy=False)) <= trial.number:
                self.copy.ask()
            mine = self.copy.get_trials(deepcopy=False)[trial.number]
            for step, value in trial.user_attrs.get(self.REPORTS, {}).items():
                if int(step) not in mine.intermediate_values:
                    storage.set_trial_intermediate_value(mine._trial_id, int(step), value)
            for kept in KEPT.values():
                if known := trial.user_attrs.get(kept):
                    storage.set_trial_user_attr(mine._trial_id, kept, known)
            if trial.state.is_finished():
                values = [trial.values[self.objective]] if trial.state == TrialState.COMPLETE else None
                storage.set_trial_state_values(mine._trial_id, trial.state, values)
                self.finished.add(trial.number)
