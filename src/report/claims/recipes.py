"""The recipes that claims are about, as data beside them: what makes one, what may differ, and why a run is of another."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from src.common.base import Config
from src.drawing.table import plain
from src.record.recipe import AMONG_SEEDS, recipe_of, within

Scale = Literal["full", "micro"]
Settings = dict[str, Any]
MOST_TOLD = 4  # settings in which a run differs


class RecipeConfig(Config):
    """A recipe by its settings: a dotted key with its value, or with a list of values of which each will do. A value that is
    itself a mapping is a whole group, in which what is off (0, false, null, empty) does not count.

    Whatever a run sets besides, and `may_differ` does not hold, makes it another recipe.
    """

    experiment: str  # whose runs are named where they are of another recipe
    settings: Settings
    full: Settings | list[Settings]  # besides, at the published scale; one of several
    micro: Settings | list[Settings] = Field(default={})  # on the embedded model, whose runs are an analogue
    may_differ: list[str]  # keys and groups

    def faults(self, config: Mapping[str, Any], scale: Scale) -> list[str]:
        """In what a flat configuration is not of this recipe, in words; of several alternatives in the one it is closest to."""
        besides = getattr(self, scale)
        alternatives = besides if isinstance(besides, list) else [besides]
        return min((self._faults(config, self.settings | each) for each in alternatives), key=len)

    def _faults(self, config: Mapping[str, Any], wanted: Settings) -> list[str]:
        told = [fault for key, values in wanted.items() for fault in _differing(config, key, values)]
        known = (*wanted, *self.may_differ)
        others = [key for key, value in recipe_of(config, AMONG_SEEDS).items() if value and not within(key, known)]
        return [*told, *(f"{key} {plain(config[key])}, which it does not have" for key in others)]


def _differing(config: Mapping[str, Any], key: str, values: Any) -> Iterable[str]:
    choices = values if isinstance(values, list) else [values]
    if not any(isinstance(choice, dict) for choice in choices):
        found = config.get(key)
        return [] if found in choices else [f"{key} {plain(found)} for {' or '.join(map(plain, choices))}"]
    found = {name.removeprefix(f"{key}."): value for name, value in config.items() if name.startswith(f"{key}.") and value}
    return min((list(_in_group(found, key, choice)) for choice in choices), key=len)


def _in_group(found: Settings, key: str, wanted: Settings) -> Iterable[str]:
    for name in dict.fromkeys((*wanted, *found)):
        values = wanted.get(name)
        choices = values if isinstance(values, list) else [values]
        value = found.get(name)
        if value not in choices and (value or all(choices)):
            yield f"{key}.{name} {plain(value)} for {' or '.join(map(plain, choices))}"


def in_words(faults: Iterable[str]) -> str:
    """`lr.peak 0.0002 for 1e-06, …`"""
    told = list(faults)
    return ", ".join(told[:MOST_TOLD]) + (f" and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else "")
