"""The budget of a study: what was spent, what the next trial will probably take, and whether that is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from src.sweep.config import BudgetConfig
from src.sweep.pending import Pending

HOURS = "hours"  # begins study attributes, one for each sweeper
CONFIRMED = "confirmation"  # study attribute: what the confirmation took, usd and hours


@dataclass
class Spending:
    """What a study took so far, finished trials and those running."""

    trials: int = 0
    hours: float = 0.0  # of sweeping
    usd: float = 0.0
    full: int = 0  # trials that went to their end
    full_seconds: float = 0.0  # that these took together
    full_usd: float = 0.0
    running_seconds: float = 0.0  # still to come of the running trials, by the mean of full ones
    running_usd: float = 0.0


class Accounts:
    """What the trials took. Each is added up once, when it has ended."""

    def __init__(self) -> None:
        self.pending = Pending()
        self._settled = Spending()

    def read(self, trials: Sequence[FrozenTrial]) -> Spending:
        """The spending of finished trials, and of earlier sessions on those that are to go on. `trials` are all, by number."""
        begun = 0.0
        for trial in self.pending.read(trials):
            account = trial.user_attrs.get("account", {"usd": 0.0, "seconds": 0.0})
            if trial.state.is_finished():
                self._settle(account, trial.state == TrialState.COMPLETE and "repeats" not in account)
            else:
                begun += account["usd"]
        return replace(self._settled, trials=len(trials), usd=self._settled.usd + begun)

    def _settle(self, account: Mapping[str, Any], to_the_end: bool) -> None:
        self._settled.usd += account["usd"]
        if to_the_end:
            self._settled.full += 1
            self._settled.full_seconds += account["seconds"]
            self._settled.full_usd += account["usd"]


class Budget:
    """Says whether a trial may start and whether those running must end."""

    def __init__(self, limits: BudgetConfig, seconds_expected: float | None, usd_expected: float | None) -> None:
        """`seconds_expected` and `usd_expected` of a trial, before the first was measured; None if nobody knows."""
        self.limits = limits
        self.seconds_expected, self.usd_expected = seconds_expected, usd_expected

    def trial_seconds(self, spending: Spending) -> float | None:
        """Seconds that a trial to its end takes, by those there were."""
        return spending.full_seconds / spending.full if spending.full else self.seconds_expected

    def trial_usd(self, spending: Spending) -> float | None:
        return spending.full_usd / spending.full if spending.full else self.usd_expected

    def refuses(self, spending: Spending) -> str | None:
        """Why no further trial may start; None if one may."""
        limits = self.limits
        if limits.trials is not None and spending.trials >= limits.trials:
            return f"budget.trials={limits.trials} is spent"
        if limits.hours is not None:
            left = limits.hours - spending.hours
            if left <= 0 or (self.trial_seconds(spending) or 0) / 3600 > left:
                return f"budget.hours={limits.hours:g} has no room for another trial"
        if limits.usd is not None:
            left = limits.usd - spending.usd - spending.running_usd
            if left <= 0 or (self.trial_usd(spending) or 0) > left + 1e-9:
                return f"budget.usd={limits.usd:g} has no room for another trial"
        return None

    def spent(self, spending: Spending) -> str | None:
        """Why the running trials must end now; None if they need not."""
        if self.limits.hours is not None and spending.hours >= self.limits.hours:
            return f"budget.hours={self.limits.hours:g} is spent"
        if self.limits.usd is not None and spending.usd > self.limits.usd:
            return f"budget.usd={self.limits.usd:g} is spent"
        return None
