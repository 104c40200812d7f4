"""Trials about which there is more to come. A study may have thousands, so each is looked at until it is settled and not again."""

from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial


class Pending:
    """`settled` says of a trial that nothing more will come."""

    def __init__(self, settled: Callable[[FrozenTrial], bool] = lambda trial: trial.state.is_finished()) -> None:
        self.settled, self._seen = settled, 0
        self.numbers: list[int] = []

    def read(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Of all trials, by number, those that were not settled when they were read last."""
        found = [trials[number] for number in (*self.numbers, *range(self._seen, len(trials)))]
        self.numbers, self._seen = [trial.number for trial in found if not self.settled(trial)], len(trials)
        return found
