"""Errors for people: one line that says what is wrong and what to do."""

import difflib
from collections.abc import Collection, Iterable

from src.common.files import NO_ROOM, finds_no_room

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes of every command


class UserError(Exception):
    """The request cannot be carried out as asked; shown as one line, exit code 2."""


class RunFailed(RuntimeError):
    """A run that began well cannot go on; shown as one line, exit code 1."""


class ServerDied(Exception):
    """The vLLM server ended while it was asked for completions; every training process raises it at the same place."""


def said_by(error: BaseException) -> str:
    """What an error says, in one line."""
    if finds_no_room(error):
        return f"{NO_ROOM}; make some"
    said = " ".join(str(error).split())[:500]
    return type(error).__name__ + (f": {said}" if said else "")


def in_words(error: BaseException) -> str:
    """An error that nobody foresaw, in one line."""
    return said_by(error) if finds_no_room(error) else f"unexpected {said_by(error)}"


def refuse_unknown(names: Iterable[str], known: Collection[str], what: str) -> None:
    """Raise ValueError, with the nearest right one, for the first name that is none of `known`."""
    for name in names:
        if name not in known:
            raise ValueError(f"no {what} is called {name}; {nearest(name, known)}")


def nearest(name: str, choices: Iterable[str], n: int = 3) -> str:
    """The choices nearest to a misspelt name, as a hint for an error line.

    >>> nearest("easy_hrad", ["easy_hard", "balanced"])
    'did you mean easy_hard?'
    """
    choices = list(choices)
    close = difflib.get_close_matches(name, choices, n=n, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"choose one of: {', '.join(sorted(choices))}" if choices else "it takes no such key"
