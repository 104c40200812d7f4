"""Code of one's own: a function from outside the project, which is run because the user names it.

`my_lab.rewards.partial_credit` is looked for in the current folder and on Python's path, `rewards.py:partial_credit` is a
file and a function in it. What such code does belongs to a recipe, so the hash of its file goes with its name; of what the
file itself imports there is no hash. A record is read without running or finding it.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from pydantic import model_validator

from src.common.base import Config
from src.common.errors import UserError, nearest, said_by
from src.common.files import file_hash


class OwnCode(Config):
    """A function's place, or that alone as text; its hash is that of the file as it was when a run was asked for."""

    path: str
    sha256: str

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        given = {"path": given} if isinstance(given, str) else given
        if isinstance(given, dict) and isinstance(given.get("path"), str) and not given.get("sha256"):
            return given | {"sha256": file_hash(_file_of(given["path"]))}
        return given

    def function(self, key: str) -> Callable[..., Any]:
        """The function. Raises UserError, with `key` for its place in the configuration, where there is none, and where its
        file is no longer what it was when this is first asked."""
        return _function(key, self.path, self.sha256)

    def __str__(self) -> str:
        return f"{self.path} (SHA-256 {self.sha256[:12]})"


def _parts(path: str) -> tuple[str, str]:
    """A file or a module, and the name of a function there."""
    place, sign, name = path.rpartition(":" if ".py:" in path else ".")
    if not (sign and place and name.isidentifier()):
        raise ValueError(f"{path!r} names no function; give my_lab.rewards.partial_credit, or rewards.py:partial_credit")
    return place, name


def _file_of(path: str) -> Path:
    """The file that holds the function at `path`; nothing is imported for it."""
    place, _ = _parts(path)
    if place.endswith(".py"):
        if not Path(place).expanduser().is_file():
            raise ValueError(f"there is no file {place}")
        return Path(place).expanduser().resolve()
    folders: Any = [os.getcwd(), *sys.path]
    for part in place.split("."):
        spec = PathFinder.find_spec(part, folders)
        if spec is None:
            raise ValueError(f"there is no module {place} in this folder or on Python's path; set PYTHONPATH, or name a file.py:function")
        folders = spec.submodule_search_locations or []
    if not (spec.origin and Path(spec.origin).is_file()):
        raise ValueError(f"{place} is a folder of modules, not one that holds a function")
    return Path(spec.origin)


@cache
def _function(key: str, path: str, sha256: str) -> Callable[..., Any]:
    place, name = _parts(path)
    try:
        file = _file_of(path)
    except ValueError as error:
        raise UserError(f"{key}: {error}") from error
    if file_hash(file) != sha256:
        raise UserError(f"{key}: {file} is not what it was when this run was asked for; restore it, or start a new run")
    try:
        module = _module_in(file) if place.endswith(".py") else _module(place)
    except Exception as error:
        raise UserError(f"{key}: {place} does not import ({said_by(error)})") from error
    found = getattr(module, name, None)
    if not callable(found):
        functions = [other for other, value in vars(module).items() if callable(value) and not other.startswith("_")]
        raise UserError(f"{key}: {place} has no function {name}; {nearest(name, functions)}")
    return found


def _module(name: str) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return importlib.import_module(name)


def _module_in(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
