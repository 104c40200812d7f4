"""What messages and documents advise is there: commands, their options, keys of the configuration, and extras to install."""

import ast
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

from src.config.faults import has_key
from src.config.tree import LabConfig
from src.sweep.config import SweepConfig

SOURCES = sorted((ROOT / "src").rglob("*.py"))
DOCUMENTS = [*SOURCES, *(ROOT / "benchmarks").glob("*.py"), ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "conf").rglob("*.yaml"),
             *(ROOT / "sweeps").glob("*.yaml")]  # fmt: skip
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)


def messages(path: Path) -> list[str]:
    """The texts of a file, but for its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare]


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m (src[.\w]*\w)", TEXT))))
def test_every_command_is_one(module):
    found = importlib.util.find_spec(module)
    assert found, f"there is no {module}"
    entry = Path(found.origin).with_name("__main__.py") if found.submodule_search_locations else Path(found.origin)
    assert entry.is_file() and "__name__" in entry.read_text(encoding="utf-8")


@pytest.mark.parametrize(("module", "option"), sorted(set(re.findall(r"python -m (src[.\w]*\w)[^\n`]*? (--[a-z][a-z-]+)", TEXT))))
def test_every_option_is_taken(module, option):
    found = importlib.util.find_spec(module)
    folder, hydras = Path(found.origin).parent, {"--cfg", "--multirun", "--help", "--config-dir", "--info"}
    assert f'"{option}"' in "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py")) or option in hydras


@pytest.mark.parametrize("script", sorted(set(re.findall(r"benchmarks/\w+\.py", TEXT))))
def test_every_script_is_there(script):
    assert (ROOT / script).is_file()


def test_every_extra_can_be_installed():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    told = {extra for names in re.findall(r"(?:\.|grpo-lab)\[([\w,-]+)\]", TEXT) for extra in names.split(",")}
    assert told and told <= set(extras)


def test_every_key_that_a_message_says_to_set_is_there():
    groups, told = set(LabConfig.model_fields) | {"sweep"}, {}
    for path in SOURCES:
        for text in messages(path):
            told |= {key: path.name for key in re.findall(r"(?<![\w.*/+])([a-z]\w*(?:\.\w+)+)(?==)", text) if key.partition(".")[0] in groups}
    missing = {
        key: where for key, where in told.items()
        if not has_key(LabConfig, key) and not (key.startswith("sweep.") and has_key(SweepConfig, key.removeprefix("sweep.")))
    }
    assert len(told) > 25 and missing == {"hardware.seen": "auto.py"}  # a mark of our own between two steps of composing
