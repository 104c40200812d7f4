"""Whether the work of this process advances. Whoever does it says so at each piece; whoever watches for hangs asks here.

That a thread lives says nothing of the work: it beats on beside one that waits for ever.
"""

import time
from collections.abc import Callable

LEAST_S = 600.0  # where nobody says otherwise
HANGS = 10.0  # work hangs that has not advanced for so many times as long as it ever took to advance


class Pace:
    """Seconds by a clock that does not jump. Nothing is expected before the first advance, such as while a model loads."""

    def __init__(self) -> None:
        self.least_s = LEAST_S  # that a piece may always take
        self.planned_s = 0.0  # that it may take by what was planned before any was measured
        self.tell: Callable[[float], None] = lambda patience_s: None  # another process, at each advance
        self._longest_s = 0.0  # between two advances
        self._at: float | None = None

    @property
    def patience_s(self) -> float:
        """Seconds without an advance that are no hang yet."""
        return max(self.least_s, self.planned_s, HANGS * self._longest_s)

    def advance(self) -> None:
        now = time.monotonic()
        if self._at is not None:
            self._longest_s = max(self._longest_s, now - self._at)
        self._at = now
        self.tell(self.patience_s)

    def rest(self) -> None:
        """Expect nothing until the next advance."""
        self._at = None
        self.tell(float("inf"))

    def stalled_s(self) -> float:
        """Seconds since the last advance."""
        return 0.0 if self._at is None else time.monotonic() - self._at


PACE = Pace()
