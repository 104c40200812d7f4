"""What could not be used, and why: named in the report, and nothing else depends on it."""

from collections.abc import Iterable
from dataclasses import dataclass


class Unreadable(Exception):
    """A record that cannot be used, and why."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    folder: str
    reason: str


def by_reason(entries: Iterable[LeftOut]) -> list[tuple[str, str]]:
    """Each reason once, behind the folders that it is of: the first, and how many more."""
    folders: dict[str, list[str]] = {}
    for entry in entries:
        folders.setdefault(entry.reason, []).append(entry.folder)
    return [(some[0] + (f" and {len(some) - 1} more" if some[1:] else ""), reason) for reason, some in folders.items()]
