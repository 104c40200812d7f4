"""Every group and key, read from the pydantic classes and the files of conf/: what may be given, its default, and what it means."""

import inspect
import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from src.common.base import Choice
from src.config.tree import LabConfig
from src.run import composed
from src.sweep.config import SweepConfig

CONF = Path(__file__).parent.parent / "conf"
SWEEP = CONF / "hydra" / "sweeper" / "optuna.yaml"
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def remarks(text: str) -> dict[str, str]:
    """The comment behind each key of a file, or behind each field of a class and above it; keys are dotted."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    above: list[str] = []
    for line in text.splitlines():
        if key := re.match(r"(\s*)(?:- )?(\w+):(?:\s|$)", line):
            indent = len(key[1])
            path = [*((depth, name) for depth, name in path if depth < indent), (indent, key[2])]
            behind = re.search(r"\s#\s(.*)$", line)
            found[".".join(name for _, name in path)] = behind[1] if behind else " ".join(above)
            above = []
        elif alone := re.match(r"(\s*)#\s?(.*)$", line):
            if path and len(alone[1]) > path[-1][0] + 4:  # goes on from the line before
                found[".".join(name for _, name in path)] += f" {alone[2]}"
            else:
                above.append(alone[2])
        else:
            above = []
    return {key: remark.strip() for key, remark in found.items()}


def of_files(folder: Path) -> dict[str, str]:
    """What the options of a group say of its keys; the first file that says something counts."""
    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.yaml")):
        body = re.sub(r"\A(?:#.*\n)*", "", file.read_text(encoding="utf-8"))
        found = {key: remark for key, remark in remarks(body).items() if remark} | found
    return found


def of_class(cls: type) -> dict[str, str]:
    """What the classes from the base on say of their fields."""
    bases = [base for base in reversed(cls.__mro__) if issubclass(base, BaseModel) and base is not BaseModel]
    return {key: remark for base in bases for key, remark in remarks(inspect.cleandoc(inspect.getsource(base))).items()}


def kind(annotation: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(kind(part) for part in inner))
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (tuple, list):
        return f"list of {kind(inner[0])}"
    if origin is dict:
        return f"mapping to {kind(inner[1])}"
    return {NoneType: "null", str: "text", Any: "anything"}.get(annotation) or getattr(annotation, "__name__", str(annotation))


def bounds(field: FieldInfo) -> str:
    said = [f"{sign} {value}" for part in field.metadata for name, sign in BOUNDS.items() if (value := getattr(part, name, None)) is not None]
    return f" {', '.join(said)}" if said else ""


def nested(annotation: Any) -> tuple[str, type[BaseModel]] | None:
    """A config class below a key, and what stands between; None where the key has a plain value."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "", annotation
    between = ".<name>" if get_origin(annotation) is dict else ""
    found = [below for part in get_args(annotation) if (below := nested(part))]
    return (between + found[0][0], found[0][1]) if found else None


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def shown(value: Any) -> str:
    if value is PydanticUndefined:
        return ""
    return f"`{yaml.safe_dump(value, default_flow_style=True, width=math.inf).splitlines()[0]}`".replace("|", "\\|")


def rows(cls: type[BaseModel], at: str, values: Any, said: dict[str, str]) -> Iterator[str]:
    """A line for each key of a class and of the classes below it."""
    own = of_class(cls)
    for name, field in cls.model_fields.items():
        key = f"{at}.{name}" if at else name
        given = values.get(name, PydanticUndefined) if isinstance(values, dict) else PydanticUndefined
        below = nested(field.annotation)
        if below and not issubclass(below[1], Choice):
            yield from rows(below[1], key + below[0], {} if below[0] else given, said)
            continue
        default = field.get_default(call_default_factory=True) if given is PydanticUndefined else given
        meaning = own.get(name) or said.get(key, "")
        yield f"| `{key}` | {cell(kind(field.annotation) + bounds(field))} | {shown(default)} | {cell(meaning)} |"


HEAD = ("| key | takes | by default | means |", "| --- | --- | --- | --- |")


def table(cls: type[BaseModel], values: Any, said: dict[str, str], at: str = "") -> list[str]:
    return [*HEAD, *rows(cls, at, values, said), ""]


def words(cls: type) -> tuple[str, ...]:
    """A class's own docstring, as a paragraph."""
    return (inspect.cleandoc(cls.__doc__), "") if cls.__dict__.get("__doc__") else ()


def head(file: Path) -> str:
    """The comment that a file begins with."""
    lines = re.match(r"(?:#.*\n)*", file.read_text(encoding="utf-8"))[0].splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines if "@package" not in line)


def options(name: str) -> Iterator[str]:
    heads = {file.stem: head(file) for file in sorted((CONF / name).glob("[!_]*.yaml"))}
    if any(heads.values()):
        yield from ("| option | |", "| --- | --- |")
        yield from (f"| `{name}={option}` | {cell(said)} |" for option, said in heads.items() if said)
        yield ""
    if bare := [f"`{option}`" for option, said in heads.items() if not said]:
        yield from (f"{'Also' if len(bare) < len(heads) else 'Options:'} {', '.join(bare)}.", "")


def kinds(cls: type[Choice], values: Any, said: dict[str, str], at: str = "") -> Iterator[str]:
    """A table for each kind of a choice, which is a group or stands at a key."""
    for chosen, one in sorted(cls.kinds().items()):
        yield from (f"### {at}{'.' if at else ''}{cls.chosen_by}: {chosen}", "", *words(one))
        yield from table(one, values if values.get(cls.chosen_by) == chosen else {}, said, at)


def group(name: str, cls: type[BaseModel], values: Any, said: dict[str, str]) -> Iterator[str]:
    said = {key.removeprefix(f"{name}."): remark for key, remark in said.items() if key.startswith(f"{name}.")} | of_files(CONF / name)
    yield from (f"## {name}", "", *words(cls), *options(name))
    if issubclass(cls, Choice):
        yield from kinds(cls, values, said)
        return
    yield from table(cls, values, said)
    for key, field in cls.model_fields.items():
        if (below := nested(field.annotation)) and not below[0] and issubclass(below[1], Choice):
            yield from kinds(below[1], values.get(key) or {}, said, key)


def reference() -> str:
    """The page, as Markdown."""
    values = composed([])
    groups = {key: below[1] for key, field in LabConfig.model_fields.items() if (below := nested(field.annotation))}
    plain = {key: field for key, field in LabConfig.model_fields.items() if key not in (*groups, "choices")}
    said = remarks((CONF / "config.yaml").read_text(encoding="utf-8"))
    lines = [
        "# Every group and key", "",
        "Made from the code. Defaults are those of `python -m src.run` without more, `scale=micro`; `--cfg job` prints those of any",
        "command line. A key is given as `group.key=value`.", "",
        "## Top level", "", *HEAD,
    ]  # fmt: skip
    for key, field in plain.items():
        lines.append(f"| `{key}` | {cell(kind(field.annotation))} | {shown(values.get(key))} | {cell(said.get(key, ''))} |")
    lines.append("")
    for name, cls in groups.items():
        lines += group(name, cls, values.get(name) or {}, said)
    sweep = remarks(SWEEP.read_text(encoding="utf-8"))
    lines += ["## sweep", "", *words(SweepConfig), *table(SweepConfig, yaml.safe_load(SWEEP.read_text(encoding="utf-8")), sweep)]
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference())
