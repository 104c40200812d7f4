"""`grpo-lab runs` lists runs, and shows, compares and removes them; it reads records alone.

To add a column, add it to COLUMNS; any dotted key of a run's configuration or summary will do in `--where` and `--sort`.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from src.common.errors import BAD_INPUT, UserError, nearest
from src.common.locks import is_held
from src.common.screen import Screen, duration, percent, with_interval
from src.common.streams import protect
from src.plan.disk import size_of
from src.record.checkpoints import Checkpoints
from src.record.left_out import Unreadable
from src.record.read import read_run, run_folders
from src.record.recipe import counts, differing, flat
from src.record.record import read_config, read_summary
from src.statistics.intervals import paired_gain

CONDITION = re.compile(r"([\w.]+)(=|<|>)(.*)")


@dataclass(frozen=True)
class Entry:
    """A record as far as the list goes: its summary and its configuration, both flat by dotted key."""

    folder: Path
    summary: dict[str, Any]
    keys: dict[str, Any]

    @property
    def headline(self) -> dict[str, Any]:
        """Figures of the first suite, of validation where there is none: those of the best weights, or what was measured."""
        suites = self.summary.get("evaluation") or {}
        name = next((suite for suite in suites if suite != "validation"), "validation")
        found = suites.get(name, {})
        return {"suite": name} | (found.get("best") or found.get("measured") or {})

    def value(self, key: str) -> Any:
        """By a column's name or a dotted key; None where this record has no such thing."""
        return COLUMNS[key](self) if key in COLUMNS else self.keys.get(key)


COLUMNS: dict[str, Callable[[Entry], Any]] = {
    "run": lambda entry: str(entry.folder),
    "status": lambda entry: entry.summary["status"],
    "model": lambda entry: entry.keys.get("model.path"),
    "seed": lambda entry: entry.summary.get("seed"),
    "steps": lambda entry: entry.summary.get("steps"),
    "suite": lambda entry: entry.headline["suite"],
    "accuracy": lambda entry: entry.headline.get("accuracy"),
    "gain": lambda entry: entry.headline.get("gain", {}).get("mean"),
    "usd": lambda entry: entry.summary.get("cost", {}).get("usd"),
    "seconds": lambda entry: sum(entry.summary.get("cost", {}).get("seconds", {}).values()),
}
SHOWN: dict[str, Callable[[Any], str]] = {"accuracy": percent, "gain": percent, "usd": "{:.2f}".format, "seconds": duration}


def entries(folders: Sequence[Path]) -> tuple[list[Entry], list[str]]:
    """All records in and below folders, and what cannot be read."""
    found, faults = [], []
    for folder in (each for place in folders if place.is_dir() for each in run_folders(place)):
        try:
            summary, config = read_summary(folder), read_config(folder)
        except UserError as error:
            faults.append(str(error))
        else:
            found.append(Entry(folder, summary, flat(summary) | flat(config)))
    return found, faults


def listed(options: argparse.Namespace, screen: Screen) -> None:
    found, faults = entries(options.folders or [Path("outputs")])
    for condition in options.where:
        found = [entry for entry in found if holds(entry, condition, found)]
    if options.sort:
        refuse_unknown_key(options.sort, found)
        found.sort(key=lambda entry: place(entry.value(options.sort)), reverse=not options.reverse)
    table = Table(box=None)
    for name in COLUMNS:
        table.add_column(name, no_wrap=name == "run", overflow="fold")  # a path that is cut is none
    for entry in found:
        table.add_row(*(in_words(name, entry.value(name)) for name in COLUMNS))
    screen.console.print(table if found else "no runs here; name folders that hold some")
    for fault in faults:
        screen.warn(fault)


def in_words(column: str, value: Any) -> str:
    return "" if value is None else escape(SHOWN.get(column, str)(value))


def holds(entry: Entry, condition: str, among: Sequence[Entry]) -> bool:
    """Whether a record meets `key=value`, `key<value` or `key>value`. Raises UserError for what is none, or no record's key."""
    parts = CONDITION.fullmatch(condition)
    if not parts:
        raise UserError(f"--where {condition}: write key=value, key<value or key>value")
    key, sign, asked = parts.groups()
    refuse_unknown_key(key, among)
    value = entry.value(key)
    if sign == "=":
        return str(value).lower() == asked.lower()
    try:
        limit = float(asked)
    except ValueError as error:
        raise UserError(f"--where {condition}: {asked} is no number") from error
    return isinstance(value, int | float) and (value < limit if sign == "<" else value > limit)


def refuse_unknown_key(key: str, among: Sequence[Entry]) -> None:
    known = {*COLUMNS, *(name for entry in among for name in entry.keys)}
    if among and key not in known:
        raise UserError(f"no run has {key}; {nearest(key, known)}")


def place(value: Any) -> tuple[int, float, str]:
    """Where a value stands in an order: what is missing first, then numbers, then words."""
    if isinstance(value, int | float):
        return 1, float(value), ""
    return (0, 0.0, "") if value is None else (2, 0.0, str(value))


def show(options: argparse.Namespace, screen: Screen) -> None:
    for folder in options.folders:
        summary, config = read_summary(folder), flat(read_config(folder))
        cost = summary.get("cost", {})
        checkpoints = Checkpoints(folder / "checkpoints", kept=1)
        screen.announce({
            "run": str(folder),
            "status": " ".join(filter(None, (summary["status"], summary.get("reason")))),
            "options": "  ".join(f"{key.removeprefix('choices.')}={name}" for key, name in config.items() if key.startswith("choices.")),
            "model": str(config.get("model.path")),
            "steps": f"{summary.get('steps', 0)}, the best by validation {summary.get('best_step')}",
            "cost": f"{duration(sum(cost.get('seconds', {}).values()))}, ${cost.get('usd', 0.0):.2f}",
            "checkpoints": ", ".join(str(checkpoints.at(step)) for step in checkpoints.steps()) or "none",
        })  # fmt: skip
        if summary["status"] == "complete" and "kind" not in summary:
            screen.verdict(summary["evaluation"])


def compare(options: argparse.Namespace, screen: Screen) -> None:
    """What differs in two recipes, and by how much the second's weights are better, paired by problem."""
    if len(options.folders) != 2:
        raise UserError("compare: name two runs")
    try:
        first, second = map(read_run, options.folders)
    except Unreadable as error:
        raise UserError(f"compare: {error}") from error
    configs = [{key: value for key, value in run.config.items() if counts(key)} for run in (first, second)]
    keys = differing(configs)
    for key in keys:
        screen.note(f"  {key}: {configs[0].get(key)} | {configs[1].get(key)}")
    if not keys:
        screen.note("  the same recipe and seed")
    table = Table("suite", "problems", str(first.folder), str(second.folder), "difference",
                  title="accuracy in %, best weights; differences paired by problem, with 95 % intervals over problems")
    for suite in (suite for suite in first.suites if suite in second.suites):
        sides = [run.measures[suite, "measured"] if run.only_measured else run.final(suite) for run in (first, second)]
        if sides[0].problems != sides[1].problems:
            screen.note(f"{suite}: other problems, so there is nothing to pair")
            continue
        gain = paired_gain(sides[0].accuracy_P, sides[1].accuracy_P)
        said = with_interval({"mean": gain.mean, "ci_low": gain.low, "ci_high": gain.high}, "mean")
        table.add_row(suite, str(len(sides[0].problems)), *(percent(side.accuracy) for side in sides), said)
    screen.console.print(table)
    screen.note("this is of two trained models; of recipes, grpo-lab report says more from several seeds")


def remove(options: argparse.Namespace, screen: Screen) -> None:
    """Delete runs with all that they hold, after a yes."""
    folders = list(dict.fromkeys(folder.resolve() for folder in options.folders))
    for folder in folders:
        read_summary(folder)
        if is_held(folder / "config.yaml"):
            raise UserError(f"remove: a process is at work in {folder}; end it first")
        if any((parent / "sweep.yaml").is_file() for parent in folder.parents):
            raise UserError(f"remove: {folder} is a trial, which its sweep needs; delete the sweep's whole folder")
    size = sum(map(size_of, folders))
    asked = f"delete {len(folders)} run(s), {size / 1e6:,.1f} MB, with their checkpoints"
    if not options.yes:
        if not sys.stdin.isatty():
            raise UserError(f"remove: this would {asked}; say --yes")
        if input(f"{asked}? [y/N] ").strip().lower() not in ("y", "yes"):
            return
    for folder in folders:
        doomed = folder.with_name(f".removed-{folder.name}")
        shutil.rmtree(doomed, ignore_errors=True)  # left by a kill
        try:
            shutil.rmtree(folder.rename(doomed))  # a kill leaves no half of a record
        except OSError as error:
            raise UserError(f"remove: cannot delete {folder} ({error.strerror})") from error
        screen.note(f"removed {folder}")


WORDS: dict[str, tuple[Callable[[argparse.Namespace, Screen], None], str]] = {
    "list": (listed, "all runs in and below folders (default: outputs)"),
    "show": (show, "what was run, what came of it, and where it lies"),
    "compare": (compare, "what differs between two runs, and the difference in accuracy"),
    "remove": (remove, "delete runs with their checkpoints"),
}


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="grpo-lab runs", description=__doc__.splitlines()[0])
    words = parser.add_subparsers(help="default: list")
    for word, (function, about) in WORDS.items():
        part = words.add_parser(word, help=about, description=about)
        part.set_defaults(do=function)
        part.add_argument("folders", nargs="*" if word == "list" else "+", type=Path)
        if word == "list":
            part.add_argument("--where", action="append", default=[], metavar="KEY=VALUE", help="also < and >; may be repeated")
            part.add_argument("--sort", metavar="KEY", help=f"largest first: {', '.join(COLUMNS)}, or a dotted key such as lr.peak")
            part.add_argument("--reverse", action="store_true", help="smallest first")
        if word == "remove":
            part.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def main() -> None:
    protect()
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in (*WORDS, "-h", "--help"):
        arguments = ["list", *arguments]
    options = parser().parse_args(arguments)
    try:
        options.do(options, Screen())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
