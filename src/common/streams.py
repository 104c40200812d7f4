"""Standard output and error that never raise: what a person sees can end nobody's run.

A terminal may know fewer characters than a run writes, a pipe's reader (`tee`, `head`) may die, a log's disk may be full.
"""

import atexit
import os
import sys
from typing import Any

NOWHERE = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for a stream that whoever started this process has closed
PLAIN = str.maketrans({"→": "->", "×": "x", "−": "-", "–": "-", "…": "..."})  # where a terminal has no such characters


class Unfailing:
    """`sys.stdout` or `sys.stderr`, as it is at each call, without its errors."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._given = getattr(sys, name)  # once `protect` has put this object in its place

    @property
    def _stream(self) -> Any:
        current = getattr(sys, self._name)
        return (self._given if isinstance(current, Unfailing) else current) or NOWHERE

    def write(self, text: str) -> int:
        stream = self._stream
        try:
            return stream.write(text)
        except UnicodeEncodeError:
            known = text.translate(PLAIN).encode(stream.encoding, "replace").decode(stream.encoding)
            return self.write(known)
        except (OSError, ValueError, RuntimeError):  # no reader, no room, closed, or a signal's handler amid another write
            return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError, RuntimeError):
            pass

    def isatty(self) -> bool:
        return not self._stream.closed and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def protect() -> None:
    """Put unfailing streams in the place of this process's own, so that whoever prints, in whatever library, is safe too."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:  # or a file of the run would get the number of a closed stream
        pass
    os.close(handle)
    for name in ("stdout", "stderr"):
        if not isinstance(getattr(sys, name), Unfailing):
            setattr(sys, name, Unfailing(name))
    atexit.register(_let_go)


def _let_go() -> None:
    """Have Python's own last flush succeed: it would end a finished run with exit code 120."""
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
