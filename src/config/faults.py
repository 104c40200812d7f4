"""What is wrong with a command line or a config file, in one line with the nearest right names."""

import re
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from src.common.base import Choice
from src.common.errors import UserError, nearest
from src.data.problems import ROLES

# Keys of dicts that no class lists.
FREE_KEYS = {"mix.weights": set(ROLES), "problems.pools": set(ROLES)}
ADDED_GROUPS = ("experiment", "sweep")  # not in the defaults list, so Hydra wants a plus


def describe(root: type[BaseModel], detail: ErrorDetails) -> str:
    """One fault in the words of the command line: `mix.easy_share: must be at most 1, not 1.4`."""
    unknown = detail["type"] == "extra_forbidden"
    loc = [str(part) for part in detail["loc"]]
    loc = loc[:-2] if loc[-1:] == ["[key]"] else loc  # the message names it
    named, last = (loc[:-1], loc[-1:]) if unknown else (loc, [])
    path, models = _walk(root, named)
    key = ".".join(path)
    if unknown:
        where = f"{key} has no key {last[0]}" if key else f"no key or group {last[0]}"
        return f"{where}; {nearest(last[0], _names(models))}"
    if detail["type"] == "missing":
        return f"{key}: missing; give it a value"
    message = detail["msg"].removeprefix("Value error, ").replace("Input should", "must")
    message = message[0].lower() + message[1:]
    if detail["type"] == "value_error" or isinstance(detail["input"], dict | list):
        return f"{key}: {message}" if key else message
    return f"{key}: {message}, not {detail['input']!r}"


def explain_hydra(root: type[BaseModel], error: Exception) -> UserError:
    """Hydra's complaint about a command line."""
    text = str(error)
    if found := re.search(r"Could not override '([^']+)'", text):
        key = found[1].split("@")[0].replace("/", ".")
        *parent, name = key.split(".")
        names = FREE_KEYS.get(".".join(parent)) or _names(_walk(root, parent)[1])
        return UserError(f"no key {key}; {nearest(name, names)}")
    if found := re.search(r"Could not find '([^']+)/([^/']+)'\s+Available options in '[^']+':((?:\n\t\S+)*)", text):
        group, name, options = found[1], found[2], found[3].split()
        return UserError(f"{group}={name}: no such option; {nearest(name, options)}")
    return UserError(" ".join(text.split()))


def has_key(root: type[BaseModel], key: str) -> bool:
    """Whether a dotted key leads anywhere in the config classes, any key of a free dict included."""
    return bool(_types_at(root, key.split(".")))


def names_within(root: type[BaseModel], key: str) -> list[str]:
    """The dotted keys above `key` that are names in a free dict, such as a suite's."""
    parts = key.split(".")
    return [".".join(parts[:n]) for n in range(2, len(parts)) if any(map(_holds_dict, _types_at(root, parts[: n - 1])))]


def _types_at(root: type[BaseModel], path: list[str]) -> list[Any]:
    annotations: list[Any] = [root]
    for part in path:
        annotations = [below for annotation in annotations for below in _below(annotation, part)]
    return annotations


def _below(annotation: Any, part: str) -> list[Any]:
    """The types that stand under a key of a type: a class's field, a dict's value, and those of each part of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        own = [annotation.model_fields[part].annotation] if part in annotation.model_fields else []
        return own + [below for kind in annotation.__subclasses__() for below in _below(kind, part)]  # which may stand there too
    if get_origin(annotation) is dict:
        return [get_args(annotation)[1]]
    if get_origin(annotation) is Literal:
        return []
    return [below for inner in get_args(annotation) for below in _below(inner, part)]


def _walk(root: type[BaseModel], path: list[str]) -> tuple[list[str], list[type[BaseModel]]]:
    """Follow a path of pydantic's through the config classes: what a person types of it, and the classes at its end.

    A discriminated union puts the chosen option into pydantic's path, where nobody types it.
    """
    typed: list[str] = []
    models, in_dict = [root], False
    for part in path:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if not fields and not in_dict and models and part in _tags(models):
            models = [model for model in models if part in _tags([model])]
            continue
        typed.append(part)
        if fields:
            in_dict = any(_holds_dict(field.annotation) for field in fields)
            models = [model for field in fields for model in _models_in(field.annotation)]
        else:
            in_dict = False  # the key of a free dict, such as a suite's name
    return typed, models


def _names(models: list[type[BaseModel]]) -> set[str]:
    return {name for model in models for name in model.model_fields} - {"choices"}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The config classes named in a type annotation, through unions, Annotated, dict and list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return list(annotation.kinds().values()) if issubclass(annotation, Choice) else [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _holds_dict(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _holds_dict(get_args(annotation)[0])
    return get_origin(annotation) is dict


def _tags(models: list[type[BaseModel]]) -> set[str]:
    """Values of the discriminators: fields with a single literal value, such as `schedule: Literal["fixed"]`."""
    annotations = [field.annotation for model in models for field in model.model_fields.values()]
    return {get_args(a)[0] for a in annotations if len(get_args(a)) == 1 and isinstance(get_args(a)[0], str)}
