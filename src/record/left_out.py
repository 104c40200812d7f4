"""What could not be used, and why: named in the report, and nothing else depends on it."""

from dataclasses import dataclass


class Unreadable(Exception):
    """A record that cannot be used, and why."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    folder: str
    reason: str
