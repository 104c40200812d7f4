"""How the house stands: names at the root of src/, imports between them, and circles.

    python benchmarks/house.py [checkout ...]

An import counts once for each pair of a file and a name that it imports from, in functions and under TYPE_CHECKING too.
Which imports run upwards is tests/test_layers.py's business, which names them.
"""

import ast
import sys
from pathlib import Path


def imports(root: Path) -> dict[tuple[str, str], int]:
    """Importing and imported name at the root of src/: in how many files."""
    found: dict[tuple[str, str], int] = {}
    for path in (root / "src").rglob("*.py"):
        own = path.relative_to(root / "src").parts[0].removesuffix(".py")
        names = {name.split(".")[1] for name in imported(path) if name.startswith("src.")} - {own}
        for name in names if own != "__init__" else ():
            found[own, name] = found.get((own, name), 0) + 1
    return found


def imported(path: Path) -> set[str]:
    """The dotted names that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {each.name for node in nodes if isinstance(node, ast.Import) for each in node.names}
    return plain | {f"{n.module}.{each.name}" for n in nodes if isinstance(n, ast.ImportFrom) for each in n.names}


def circles(edges: set[tuple[str, str]]) -> list[set[str]]:
    """The sets of names that all import each other, directly or not."""
    names = {name for edge in edges for name in edge}
    reached = {name: {other for one, other in edges if one == name} for name in names}
    for middle in names:  # Warshall's transitive closure
        for name in names:
            if middle in reached[name]:
                reached[name] |= reached[middle]
    rings = [frozenset(other for other in reached[name] if name in reached[other]) for name in names]
    return sorted({ring for ring in rings if len(ring) > 1}, key=len, reverse=True)


def main() -> None:
    for root in map(Path, sys.argv[1:] or ["."]):
        found = imports(root)
        own = {path.stem for path in (root / "src").iterdir()} - {"__init__", "__pycache__"}
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (root / "src").rglob("*.py"))
        print(f"{root}: {len(own)} names, {len(found)} pairs of names that import, {sum(found.values())} imports, {lines} lines")
        for ring in circles(set(found)):
            print(f"  a circle of {len(ring)}: {', '.join(sorted(ring))}")


if __name__ == "__main__":
    main()
