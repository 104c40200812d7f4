"""The steps of a curation one after the other; finished ones are taken as they are."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from src.common.errors import UserError
from src.common.screen import Screen
from src.curate.asking import AskConfig
from src.curate.config import CurateConfig
from src.curate.difficulty import label_difficulty
from src.curate.draw import draw
from src.curate.duplicates import drop_duplicates
from src.curate.filters import apply_filters
from src.curate.overlap import drop_overlap
from src.curate.read import read
from src.curate.store import Finished, Writer, discard, finish, finished, key_of, partial_folder
from src.grading.grader import Grader

RULES = 1  # to be raised when a step comes to decide otherwise on the same input and settings


def curate(config: CurateConfig, screen: Screen) -> list[Finished]:
    """Carry out the steps; returns what each did.

    Raises UserError for input that cannot be read, for a disk that cannot be written, and where nothing is left.
    """
    check(config)
    done: list[Finished] = []
    # Three times the usual patience: what is given up here because the machine was busy is lost to every run.
    with Grader(config.read.grading_workers, seconds_per_answer=15.0, rules=config.grading.rules) as grader:
        for name, settings in config.steps().items():
            folder = step_folder(config, name)
            key = key_of(RULES, name, *_input(name, settings, done, grader.version))
            published = config.published.get(name)
            result = finished(folder, key, published)
            taken = " (taken from an earlier call)" if result else ""
            if result is None:
                _carry_out(name, settings, done, folder, key, grader, screen)
                result = finished(folder, key, published)
            assert result is not None  # it was just written
            done.append(result)
            screen.note(f"{line(result)}{taken}")
            if not result.kept:
                first = next(iter(result.examples.values()))[0]
                seen = f" ({first['detail']})" if first["detail"] else ""
                raise UserError(
                    f"nothing is left after the step {name}: {funnel(done)}; see {folder}/dropped.parquet, "
                    f"which begins with {first['place']}{seen}"
                )
    return done


def check(config: CurateConfig) -> None:
    """Raise UserError for faults that show before anything is read: a file, data set, model or engine that is not there."""
    for where, asking in (("difficulty", config.difficulty), ("filter.judge", config.filter and config.filter.judge)):
        if isinstance(asking, AskConfig):
            asking.check(where)
    for name, pool in config.read.sources.items():
        pool.check(f"read.sources.{name}", reach=True)
    for name, pool in (config.overlap.pools() if config.overlap else {}).items():
        pool.check(f"overlap.suites.{name}", reach=True)


def step_folder(config: CurateConfig, name: str) -> Path:
    """Where a step writes."""
    return Path(config.output) / f"{list(STEPS).index(name) + 1}_{name}"


def line(step: Finished) -> str:
    """What a step did, in one line."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in step.dropped.items())
    published = f" (published: {step.published})" if step.published else ""
    return f"{step.name}: {step.rows} -> {step.kept}{published}" + (f"; {reasons}" if reasons else "")


def funnel(steps: Sequence[Finished]) -> str:
    """All steps in one line."""
    return "; then ".join(line(step).replace("; ", ": ") for step in steps)


def _input(name: str, settings: Any, done: Sequence[Finished], version: str) -> list[Any]:
    """What decides a step's result; `version` is that of the grader."""
    if name == "read":
        return [version, [[source, pool.identity()] for source, pool in settings.sources.items()]]
    content: list[Any] = [settings.model_dump(mode="json", exclude={"cache": True}), done[-1].sha256]
    if name == "overlap":
        content.append([[suite, pool.identity()] for suite, pool in settings.pools().items()])
    asked = [asking for asking in (settings, getattr(settings, "judge", None)) if isinstance(asking, AskConfig)]
    return [*content, *(asking.identity() for asking in asked), *([version] if name == "difficulty" else [])]


def _carry_out(
    name: str, settings: Any, done: Sequence[Finished], folder: Path, key: str, grader: Grader, screen: Screen
) -> None:
    """Run one step into a folder beside its own, which takes its place when it is whole."""
    started = time.perf_counter()
    previous = done[-1] if done else None
    try:
        writer = Writer(partial_folder(folder))
        with screen.counting(previous.kept if previous else None, name) as count:
            rows = STEPS[name](settings, previous, grader, writer, count)
        finish(writer.folder, folder, key, writer, previous.kept if previous else rows, started)
    except OSError as error:
        stays = ", ".join(step.name for step in done) or "none yet"
        raise UserError(
            f"step {name}: {folder.parent} cannot be written ({error.strerror or error}); finished steps stay ({stays}): "
            "make room or choose another output, and give the same command again"
        ) from error
    finally:
        discard(folder)


Step = Callable[[Any, Any, Grader, Writer, Callable[[int], None]], Any]  # settings, the step before, …; the rows read
STEPS: dict[str, Step] = {
    "read": lambda config, _, grader, writer, done: read(config, grader, writer, done),
    "duplicates": lambda config, previous, _, writer, done: drop_duplicates(config, previous, writer, done),
    "overlap": lambda config, previous, _, writer, done: drop_overlap(config, previous, writer, done),
    "difficulty": lambda config, previous, grader, writer, done: label_difficulty(
        config, previous, grader, writer, done
    ),
    "filter": lambda config, previous, _, writer, done: apply_filters(config, previous, writer, done),
    "draw": lambda config, previous, _, writer, done: draw(config, previous, writer, done),
}
