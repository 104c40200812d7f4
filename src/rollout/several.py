"""One engine made of several that hold the same weights: each samples for a part of the prompts, at the same time."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from src.common.errors import said_by
from src.common.threads import in_thread
from src.rollout.engine import Engine, InFront, TokenIds, dealt_back


class Several(InFront):
    """An engine, and others that help it. What one of the others cannot do the first one does, and it is asked no more."""

    def __init__(self, first: Engine, start: Callable[[], Sequence[Engine]], warn: Callable[[str], None]) -> None:
        """`start` gives the others, when the first sample is drawn: where all are known already there is nothing to start."""
        super().__init__(first)
        self.start, self.warn = start, warn
        self.others: list[Engine] | None = None

    def generate(
        self, prompts_P: Sequence[TokenIds], samples: int, *, done: Callable[[int], None] = lambda number: None, **how: Any
    ) -> list[list[TokenIds]]:
        if self.others is None:
            self.others = self._started()
        helping = self.others[: len(prompts_P) - 1]
        mine, *theirs = [prompts_P[place :: len(helping) + 1] for place in range(len(helping) + 1)]
        running = [in_thread(partial(other.generate, part, samples, **how)) for other, part in zip(helping, theirs, strict=True)]
        found = [self.own.generate(mine, samples, done=done, **how)]
        for other, part, answer in zip(helping, theirs, running, strict=True):
            try:
                found.append(answer.result())
                done(samples * len(part))  # from this thread alone
            except Exception as error:  # noqa: BLE001 - whatever it is, the first one can do it
                self.warn(f"one engine that helps to measure failed, and is left out ({said_by(error)})")
                self.others.remove(other)
                found.append(self.own.generate(part, samples, done=done, **how))
        return dealt_back(found)

    def _started(self) -> list[Engine]:
        try:
            return list(self.start())
        except Exception as error:  # noqa: BLE001 - as above
            self.warn(f"measuring with one engine alone ({said_by(error)})")
            return []
