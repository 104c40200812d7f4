"""What a person sees of a sweep: a line for each event, and on a terminal live lines below them."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Self

from optuna.study import Study
from optuna.trial import TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from src.common.screen import duration
from src.sweep.budget import Spending
from src.sweep.repeats import Configuration, best_of

STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


class SweepScreen:
    def __init__(self, study: Study, objectives: Sequence[str], n_trials: int) -> None:
        self.console = Console(highlight=False)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=150)  # a log file has room
        self.study, self.objectives, self.n_trials = study, objectives, n_trials
        self.latest: dict[int, str] = {}  # of each running trial
        self.titles: dict[int, str] = {}
        self.steps: dict[int, int] = {}
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
        self.console.print(text, markup=False, soft_wrap=True)

    def event(self, text: str) -> None:
        self.note(f"{time.strftime('%H:%M:%S')}  {text}")

    def started(self, number: int, title: str, steps: int, continued: bool) -> None:
        self.titles[number], self.latest[number], self.steps[number] = title, "starting", steps
        self.event(f"trial {number} {'continues' if continued else 'starts'}: {title}")

    def stepped(self, number: int, step: int | None) -> None:
        """A trial has done a step, or none yet."""
        if step is not None:
            _, colon, value = self.latest[number].partition(":")
            self.latest[number] = f"step {step} of {self.steps[number]}{colon}{value}"

    def reported(self, number: int, where: str, value: float) -> None:
        """`where`: its step, or its rung."""
        self.latest[number] = f"{where}: {value:.4f}"
        if not self.live:
            self.event(f"trial {number} at {where}: {value:.4f}")

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
        """Draw the live lines anew: with so many trials running, in so many slots."""
        if self.live:
            self.live.update(Group(*self._lines(running, slots, spending)))

    def _lines(self, running: int, slots: int, spending: Spending) -> Iterator[Text]:
        """None longer than the terminal is wide: a piece of one that wraps would be left behind by the next frame."""
        trials = self.study.get_trials(deepcopy=False)
        counts = Counter(trial.state for trial in trials)
        best, left = best_of(self.study), time_left(spending, self.n_trials, slots)
        states = ", ".join(f"{counts[state]} {word}" for state, word in STATES.items() if counts[state])
        parts = [f"{running} running", states, f"${spending.usd:.2f}", f"{duration(left)} left" if left is not None else ""]
        yield _line(f"{self.study.study_name}: {len(trials)} of {self.n_trials} trials; {', '.join(filter(None, parts))}")
        yield from (_line(f"best so far: {shown(each)}") for each in best[:1])
        yield from (_line(f"trial {number}  {latest}  {self.titles[number]}") for number, latest in sorted(self.latest.items()))


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def shown(best: Configuration) -> str:
    """`trial 7: 0.6150 [0.5520, 0.6790]`; of several seeds `trial 7: 0.6150 ± 0.0210 (3 seeds)`."""
    values, account = ", ".join(f"{value:.4f}" for value in best.values), best.account
    seeds, spreads = len(best.trials), best.spreads
    if seeds == 1:
        seeds, spreads = len(account.get("by_seed", [0])), account.get("spread", [None])
    low, high = account.get("low"), account.get("high")
    around = f" [{low:.4f}, {high:.4f}]" if low is not None and high is not None else ""
    return f"trial {best.number}: {values}" + (f" ± {spreads[0]:.4f} ({seeds} seeds)" if spreads[0] is not None else around)


def time_left(spending: Spending, n_trials: int, slots: int) -> float | None:
    """Seconds until all trials are done, if each goes to its end; None before the first did."""
    if not spending.full:
        return None
    mean = spending.full_seconds / spending.full
    return (max(0, n_trials - spending.trials) * mean + spending.running_seconds) / slots
