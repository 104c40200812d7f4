"""The floors of the house: a folder of src/ imports from the floors below it, and nowhere else."""

import ast
from collections.abc import Iterator
from pathlib import Path

from conftest import ROOT

FILES = ("run", "evaluate")  # of src/; all others are folders
# Each of them, and those of its own and lower floors that it may use. What a folder may use, those above it may use as well.
FLOORS = {
    "common": (),
    "statistics": (),
    "drawing": ("statistics", "common"),
    "micro": ("common",),
    "hardware": ("common",),
    "grading": ("common",),
    "record": ("grading", "statistics"),
    "scaling": ("record", "drawing"),
    "model": ("micro",),
    "data": ("grading", "micro"),
    "rollout": ("model",),
    "evaluation": ("data", "grading", "rollout", "statistics"),
    "training": ("rollout", "record", "grading", "hardware"),
    "config": ("training", "evaluation", "data", "record", "hardware"),
    "plan": ("config",),
    "curate": ("config", "drawing"),
    "experiment": ("plan", "config"),
    "sweep": ("experiment", "plan", "scaling", "config"),
    "report": ("sweep", "scaling", "record", "drawing"),
    "run": ("sweep", "experiment", "plan", "config"),
    "evaluate": ("run", "experiment"),
    "commands": ("run", "experiment", "record"),
}


def allowed(folder: str) -> set[str]:
    """What a folder may import: what its line names, and what those may."""
    return {name for below in FLOORS[folder] for name in {below, *allowed(below)}} | {folder}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of all that a file imports from src, in functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            names = [f"{node.module}.{each.name}" for each in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.startswith("src."))


def file_of(name: str, root: Path) -> Path:
    """The file of a module, or of the module that a name is in."""
    place = root.joinpath(*name.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py", place.parent.with_suffix(".py")):
        if path.is_file():
            return path
    return place.parent / "__init__.py"


def upward(root: Path) -> list[str]:
    """A line for each import that does not go down, with both files."""
    found = []
    for path in sorted((root / "src").rglob("*.py")):
        folder = path.relative_to(root / "src").parts[0].removesuffix(".py")
        for line, name in imported(path) if folder != "__init__" else ():
            if (imports := name.split(".")[1]) in FLOORS and imports not in allowed(folder):
                found.append(f"{path.relative_to(root)}:{line} imports {file_of(name, root).relative_to(root)}")
    return list(dict.fromkeys(found))


def test_imports_go_down():
    assert not upward(ROOT), "\n".join(upward(ROOT))


def test_an_import_that_runs_up_is_named_with_both_files(tmp_path):
    for name, text in {
        "src/common/errors.py": "",
        "src/grading/looks.py": "from src.common.errors import UserError\n",
        "src/record/read.py": "def read():\n    from src.sweep.space import Space\n",
        "src/sweep/space.py": "if TYPE_CHECKING:\n    from src.report import page\n",
        "src/report/page.py": "import src.record.read\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert upward(tmp_path) == [
        "src/record/read.py:2 imports src/sweep/space.py",
        "src/sweep/space.py:2 imports src/report/page.py",
    ]


def test_every_folder_has_a_floor_and_says_in_a_sentence_what_it_is():
    folders = {path.name for path in (ROOT / "src").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(FLOORS) - set(FILES)
    for path in (ROOT / "src").rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
