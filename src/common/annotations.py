"""The settings that a library's class takes, read from its source: what they are called and their types, without the second
that importing it takes."""

import ast
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any


@cache
def annotations(package: str, file: str, class_name: str) -> dict[str, str]:
    """The annotated fields of a class in a package's file, with their types as written there; not those that it inherits."""
    spec = importlib.util.find_spec(package)
    assert spec and spec.origin
    tree = ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))
    found = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    items = [item for node in found for item in node.body if isinstance(item, ast.AnnAssign)]
    return {ast.unparse(item.target): ast.unparse(item.annotation) for item in items}


def type_fault(value: Any, annotation: str) -> str | None:
    """What a plain type says against a value, such as "must be a float, not 'abc'"; types that are not plain say nothing."""
    types = {"bool": (bool,), "int": (int,), "float": (int, float), "str": (str,), "None": (type(None),)}
    names = [name.strip() for name in annotation.split("|")]
    if not all(name in types for name in names):
        return None
    fits = isinstance(value, tuple(kind for name in names for kind in types[name]))
    if isinstance(value, bool) and "bool" not in names:  # Python counts True among the integers
        fits = False
    return None if fits else f"must be {' or '.join(names)}, not {value!r}"
