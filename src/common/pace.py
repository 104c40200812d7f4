"""Whether the work of this process advances. Whoever does it says so at each piece; whoever watches for hangs asks here.

That a thread lives says nothing of the work: it beats on beside one that waits for ever.
"""

import time


class Pace:
    """Seconds by a clock that does not jump. Nothing is expected before the first advance, such as while a model loads."""

    def __init__(self) -> None:
        self.longest_s = 0.0  # between two advances
        self._at: float | None = None

    def advance(self) -> None:
        now = time.monotonic()
        if self._at is not None:
            self.longest_s = max(self.longest_s, now - self._at)
        self._at = now

    def rest(self) -> None:
        """Expect nothing until the next advance."""
        self._at = None

    def stalled_s(self) -> float:
        """Seconds since the last advance."""
        return 0.0 if self._at is None else time.monotonic() - self._at


PACE = Pace()
