"""What a person sees of a sweep: a live table on a terminal, a line for each event without one."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.live import Live
from rich.table import Table

from src.common.screen import duration
from src.sweep.budget import Spending


class SweepScreen:
    def __init__(self, study: Study, objectives: Sequence[str], n_trials: int) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, soft_wrap=True, width=150)  # a log file has room
        self.study, self.objectives, self.n_trials = study, objectives, n_trials
        self.latest: dict[int, str] = {}  # of each running trial
        self.titles: dict[int, str] = {}
        self.live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live = Live(console=self.console, refresh_per_second=2)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()
            self.live = None

    def note(self, text: str) -> None:
        self.console.print(text, markup=False)

    def event(self, text: str) -> None:
        self.note(f"{time.strftime('%H:%M:%S')}  {text}")

    def started(self, number: int, title: str, continued: bool) -> None:
        self.titles[number], self.latest[number] = title, "starting"
        self.event(f"trial {number} {'continues' if continued else 'starts'}: {title}")

    def reported(self, number: int, step: int, value: float) -> None:
        self.latest[number] = f"step {step}: {value:.4f}"
        if not self.live:
            self.event(f"trial {number} at step {step}: {value:.4f}")

    def ended(
        self, number: int, status: str, values: Sequence[float] | None, reason: str,
        interval: tuple[float | None, float | None] = (None, None),
    ) -> None:
        self.latest.pop(number, None)
        shown = ", ".join(f"{value:.4f}" for value in values or ())
        low, high = interval
        around = f" [{low:.4f}, {high:.4f}]" if shown and low is not None and high is not None else ""
        self.event(" ".join(part for part in (f"trial {number} {status}", shown + around, f"({reason})" if reason else "") if part))

    def tick(self, running: int, slots: int, spending: Spending) -> None:
        """Draw the live table anew: with so many trials running, in so many slots."""
        if self.live:
            self.live.update(self._table(running, slots, spending))

    def _table(self, running: int, slots: int, spending: Spending) -> Table:
        trials = self.study.get_trials(deepcopy=False)
        counts = Counter(trial.state for trial in trials)
        best = best_trials(self.study)
        left = time_left(spending, self.n_trials, slots)
        table = Table(title=f"{self.study.study_name}: {len(trials)} of {self.n_trials} trials", title_justify="left")
        for column in ("running", "finished", "pruned", "failed", "best so far", "cost", "time left"):
            table.add_column(column)
        table.add_row(
            str(running), str(counts[TrialState.COMPLETE]), str(counts[TrialState.PRUNED]),
            str(counts[TrialState.FAIL]), shown(best[0]) if best else "-", f"${spending.usd:.2f}",
            duration(left) if left is not None else "-",
        )
        for number, latest in sorted(self.latest.items()):
            table.add_row(f"trial {number}", "", "", "", f"{latest}  {self.titles[number]}", "", "")
        return table


def best_trials(study: Study) -> list[FrozenTrial]:
    """The best trial, or those of the Pareto front; empty before one is complete."""
    if len(study.directions) > 1:
        return study.best_trials
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
    return [min(complete, key=lambda trial: (-sign * trial.values[0], trial.number))] if complete else []


def shown(trial: FrozenTrial) -> str:
    """`trial 7: 0.6150 [0.5520, 0.6790]`."""
    values = ", ".join(f"{value:.4f}" for value in trial.values or ())
    account: dict[str, Any] = trial.user_attrs.get("account", {})
    low, high = account.get("low"), account.get("high")
    around = f" [{low:.4f}, {high:.4f}]" if low is not None and high is not None else ""
    return f"trial {trial.number}: {values}{around}"


def time_left(spending: Spending, n_trials: int, slots: int) -> float | None:
    """Seconds until all trials are done, if each goes to its end; None before the first did."""
    if not spending.full:
        return None
    mean = spending.full_seconds / spending.full
    return (max(0, n_trials - spending.trials) * mean + spending.running_seconds) / slots
