"""After a search, a confirmation: its best configurations and the default recipe beside them, all on the same fresh seeds.

The best of many was picked for its figure, which flatters it; the same figure on other seeds does not. The new runs are trials of a
second study in the same storage, so they are claimed, killed, continued and paid for as those of the search.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from src.common.errors import UserError
from src.common.locks import held
from src.config.tree import LabConfig
from src.record.read import read_run
from src.statistics import Side, corrected, difference, mean_of, steady_p_values
from src.sweep.budget import Budget
from src.sweep.composer import Composer, base_of
from src.sweep.config import BudgetConfig, SweepConfig
from src.sweep.engines.trial import TrialSpec
from src.sweep.read import CONFIRM
from src.sweep.screen import SweepScreen
from src.sweep.space import Space
from src.sweep.study import Claims, open_study
from src.sweep.sweeper import Sweeper

if TYPE_CHECKING:
    from src.sweep.command import SpecMaker

DEFAULT = -1  # in the place of a trial's number: the recipe with nothing varied
FRESH = 1000  # added to the search's seed
CANDIDATES = "candidates"  # study attribute: the search's trial that each trial of the second study runs again


def check_confirm(sweep: SweepConfig, composer: Composer, space: Space, objectives: int) -> None:
    """Raise UserError where what is to be confirmed cannot be, before the first trial."""
    if not sweep.confirm:
        return
    if objectives > 1:
        raise UserError("sweep.confirm: it takes one objective, since the best of a front are not in an order; leave it out")
    if "seed" in space.distributions:
        raise UserError("sweep.confirm: seed is varied here, and it confirms on seeds of its own; leave one of them out")
    try:
        composer.config(space.overrides({}))
    except UserError as error:
        raise UserError(f"sweep.confirm: the default recipe, without what is varied, does not hold together ({error})") from error


def confirmation(search: Sweeper, storage: BaseStorage, first: LabConfig) -> Sweeper:
    """The sweeper of the second study, its trials chosen."""
    sweep, folder = search.sweep, search.sweep.folder / CONFIRM
    assert sweep.config.confirm
    folder.mkdir(exist_ok=True)
    seeds, directions = sweep.config.confirm.seeds, [direction.name.lower() for direction in search.study.directions]
    space = Space({}, {}, sweep.space.fixed)
    base = base_of(first, sweep.space) | {"sweep.confirm.seeds": str(seeds)}
    study = open_study(storage, f"{search.study.study_name}-confirm", folder, directions, space, base)
    numbers = _candidates(study, folder, _best(search.study, sweep.config.confirm.top))
    again: Any = replace(
        sweep, study=study, space=space, folder=folder, pruner=NopPruner(), figure=[], enough=None,
        sampler=lambda number: RandomSampler(seed=number),
        spec=Again(sweep.spec, search.study, first.seed + FRESH, seeds, folder),
        budget=_left(search, seeds),
    )  # fmt: skip
    return Sweeper(again, search.engine, Claims(study, folder, space, len(numbers)), SweepScreen(study, first.objectives, len(numbers)))


def _best(study: Study, top: int) -> list[int]:
    sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
    complete = [t for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if "repeats" not in t.user_attrs.get("account", {})]
    return [trial.number for trial in sorted(complete, key=lambda trial: (-sign * trial.values[0], trial.number))[:top]]


def _candidates(study: Study, folder: Path, best: list[int]) -> list[int]:
    """Those chosen before, and after them those that a longer search has brought; the same for all sweepers."""
    with held(folder / "claim.lock"):
        known = study.user_attrs.get(CANDIDATES, [])
        found = [*known, *(number for number in (DEFAULT, *best) if number not in known)] if best else known
        study.set_user_attr(CANDIDATES, found)
    return found


def _left(search: Sweeper, seeds: int) -> Budget:
    """What the search has left of the budget; a trial here is expected to take as long as its runs took there, lower rungs included."""
    limits, spent, budget = search.sweep.config.budget, search.spending(confirmed=False), search.sweep.budget
    left = {key: None if (limit := getattr(limits, key)) is None else limit - getattr(spent, key) for key in ("trials", "hours", "usd")}
    times = seeds / search.sweep.config.seeds
    seconds, usd = budget.trial_seconds(spent), budget.trial_usd(spent)
    return Budget(BudgetConfig.model_construct(**left), seconds and times * seconds, usd and times * usd)


@dataclass(frozen=True)
class Again:
    """Makes what a trial's process has to know from the search's trial that it runs again."""

    maker: "SpecMaker"
    search: Study
    seed: int
    seeds: int
    folder: Path

    def __call__(self, trial: Trial, now: float) -> TrialSpec:
        number = trial.study.user_attrs[CANDIDATES][trial.number]  # another sweeper may have brought more
        params = {} if number == DEFAULT else self.search.get_trials(deepcopy=False)[number].params
        config = self.maker.composer.of_trial(self.maker.space, params).model_copy(update={"seed": self.seed})
        title = "the default recipe" if number == DEFAULT else f"trial {number} of the search again"
        return replace(self.maker, folder=self.folder, figure=[]).spec(trial.number, title, [config], self.seeds, now)


# What came of it ------------------------------------------------------------------------------------------------------


def found_again(search: Study, again: Study, objective: str, expected: Mapping[int, float]) -> list[dict[str, Any]]:
    """The trials that were run again, the best first, and the default recipe among them: what the search said, what was then to be
    `expected` of it, what the fresh seeds say, and against the default. Intervals are over seeds, and over problems where the
    objective is an accuracy, paired; p is Holm's. Raises Unreadable where a record is damaged."""
    sign = 1 if search.direction == StudyDirection.MAXIMIZE else -1
    numbers, trials = again.user_attrs.get(CANDIDATES, []), search.get_trials(deepcopy=False)
    sides = {
        numbers[trial.number]: _side(trial, objective)
        for trial in again.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if trial.number < len(numbers)
    }  # fmt: skip
    rows = []
    for number, side in sides.items():
        confirmed = mean_of(side)
        row: dict[str, Any] = {"trial": None if number == DEFAULT else number, "by_seed": side.values_SP.mean(axis=1).tolist()}
        row |= {"confirmed": confirmed.mean, "low": confirmed.low, "high": confirmed.high}
        if number != DEFAULT:
            value = trials[number].values[0]
            row |= {"search": value, "expected": expected.get(number, value), "flattered_by": sign * (value - confirmed.mean)}
        rows.append(row)
    for row, against in zip([row for row in rows if row["trial"] is not None], _against_default(sides), strict=False):
        row["against_default"] = against
    return sorted(rows, key=lambda row: -sign * row["confirmed"])


def _side(trial: FrozenTrial, objective: str) -> Side:
    """By seed, and by problem of the measured suite; of a figure that is no accuracy by seed alone."""
    import numpy as np

    account, (_, suite, *figure) = trial.user_attrs["account"], objective.split(".")
    by_seed = np.array(account["by_seed"])[:, :1]
    if figure[1:] != ["accuracy"]:
        return Side(by_seed, tuple(range(len(by_seed))))
    measures = [read_run(folder).measures[suite, figure[0]] for folder in sorted(Path(account["folder"]).glob("seed_*"))]
    return Side(np.stack([each.accuracy_P for each in measures]), tuple(range(len(measures))), samples=measures[0].samples)


def _against_default(sides: dict[int, Side]) -> list[dict[str, Any]]:
    if DEFAULT not in sides:
        return []
    differences = [difference(side, sides[DEFAULT]) for number, side in sides.items() if number != DEFAULT]
    p_values = corrected(differences, steady_p_values(differences, len(differences)))
    return [
        {"mean": each.mean, "low": each.interval.low, "high": each.interval.high, "p": p, "shares": dict(each.split.shares())}
        for each, p in zip(differences, p_values, strict=True)
    ]
