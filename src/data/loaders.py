"""Loaders: problems from a data set on the hub, a local file or a generator.

To add one, add its config class to `PoolConfig` and its function to `LOADERS`; a file in conf/problems/ uses it.
"""

import hashlib
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from src.common.base import Config
from src.common.types import Problem
from src.data.choices import ChoicesConfig, with_choices
from src.data.columns import ColumnMap, Fields, read_fields
from src.data.rows import RawTable, read_file, read_hub
from src.grading.spelling import halved, is_doubled

# Why a problem may not be trained on. Besides these: "in evaluation suite X" and "in role X".
NO_QUESTION, NO_ANSWER, NO_PASS_RATE = "no question", "no answer", "no pass rate"
OUTSIDE_THRESHOLDS, DUPLICATE = "outside the pass-rate thresholds", "duplicate"


class TableConfig(Config):
    """What pools made of rows have in common, from the hub or from a file."""

    level: Literal["easy", "hard"]  # of rows without a level of their own
    columns: ColumnMap
    min_pass_rate: float | None = Field(default=None, ge=0, le=1)  # inclusive
    max_pass_rate: float | None = Field(default=None, ge=0, le=1)  # inclusive
    published_rows: int | None = Field(default=None, ge=1)  # as the publication counted them
    choices: ChoicesConfig | None = None  # of multiple-choice questions
    license: str | None = None  # as the data set's card states it; null = it states none; unknown = not seen

    @model_validator(mode="after")
    def _thresholds(self) -> "TableConfig":
        low, high = self.min_pass_rate, self.max_pass_rate
        if (low, high) != (None, None) and self.columns.pass_rate is None:
            raise ValueError("min_pass_rate and max_pass_rate need columns.pass_rate, the column that holds the rate")
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_pass_rate {low} is above max_pass_rate {high}")
        return self

    def unfit(self, fields: Fields) -> str | None:
        """Why a row is no problem of this pool; None if it is one."""
        if not fields.question or not fields.answer:
            return NO_ANSWER if fields.question else NO_QUESTION
        if self.min_pass_rate is None and self.max_pass_rate is None:
            return None
        if fields.pass_rate is None:
            return NO_PASS_RATE
        high = 1.0 if self.max_pass_rate is None else self.max_pass_rate
        return None if (self.min_pass_rate or 0.0) <= fields.pass_rate <= high else OUTSIDE_THRESHOLDS


class HubPool(TableConfig):
    """A data set on the hub, or a local clone of one."""

    loader: Literal["hub"]
    dataset: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    files: str | None = None  # one data file of the repository; null = all of the split


class MicroPool(Config):
    """Generated chain arithmetic."""

    loader: Literal["micro"]
    role: str
    count: int = Field(ge=1)
    seed: int = Field(ge=0)
    level: Literal["easy", "hard"] | None = None  # null = as generated


class FilePool(TableConfig):
    """A local JSONL, Parquet or CSV file."""

    loader: Literal["file"]
    path: str

    @model_validator(mode="before")
    @classmethod
    def _replaces(cls, data: Any) -> Any:
        """Leave out the keys of the pool that a file takes the place of: Hydra merges, it does not replace."""
        others = (set(HubPool.model_fields) | set(MicroPool.model_fields)) - set(cls.model_fields)
        return {key: value for key, value in data.items() if key not in others} if isinstance(data, dict) else data


PoolConfig = Annotated[HubPool | FilePool | MicroPool, Field(discriminator="loader")]


@dataclass(frozen=True, slots=True)
class Drop:
    """A row that is not trained on, and why."""

    reason: str
    place: str  # such as "line 12"
    question: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pool as it was read: problems and their places, and the rows that are no problem of it."""

    source: str
    rows: int
    problems: list[Problem]
    places: list[str]
    unfit: list[Drop]


def load_pool(config: PoolConfig, key: str) -> Loaded:
    """Read one pool without checking its problems. `key` is its place in the configuration, for hints.

    Raises UserError for data that cannot be had or read, with file and line where there is one.
    """
    return LOADERS[config.loader](config, key)


def normalise(question: str) -> str:
    """A question without what copies of it differ in: case, spaces, and the Unicode form of its characters."""
    return "".join(unicodedata.normalize("NFKC", question).casefold().split())


def question_id(question: str) -> str:
    """Twelve hexadecimal digits, the same for every copy of a question."""
    return hashlib.sha256(normalise(question).encode()).hexdigest()[:12]


def mended(pool: Loaded) -> tuple[Loaded, int]:
    r"""The pool with gold answers as they were before something escaped them once too often, and how many that concerns.

    Where all gold answers with backslashes have them doubled, so has the column, and each is mended; else a row is by itself
    (see `is_doubled`). Programs are no gold answers in this sense: their backslashes are their own.
    """
    answers = [problem.answer for problem in pool.problems]
    slashed = [answer for answer in answers if "\\" in answer]
    whole_column = bool(slashed) and all(r"\\" in answer for answer in slashed) and any(map(is_doubled, slashed))
    doubled = [is_doubled(answer) or whole_column and r"\\" in answer for answer in answers]
    problems = [
        replace(problem, answer=halved(problem.answer)) if faulty else problem
        for problem, faulty in zip(pool.problems, doubled, strict=True)
    ]
    return replace(pool, problems=problems), sum(doubled)


def mended_note(source: str, count: int) -> str:
    """A remark on gold answers that were mended."""
    return f"{source}: {count} gold answers had their backslashes doubled and were mended"


def load_hub(config: HubPool, key: str) -> Loaded:
    """Problems of a data set on the hub."""
    alternative = f"a local file will do: '+{key}={{loader: file, path: FILE}}'"
    table = read_hub(config.dataset, config.config, config.split, config.revision, alternative, config.files)
    return _to_pool(table, config)


def load_file(config: FilePool, key: str) -> Loaded:
    """Problems of a local file."""
    return _to_pool(read_file(config.path), config)


def load_micro(config: MicroPool, key: str) -> Loaded:
    """Generated problems."""
    from src.micro.tasks import make_problems

    problems = make_problems(config.role, config.count, config.seed)
    if config.level:
        problems = [replace(problem, level=config.level) for problem in problems]
    places = [f"problem {number}" for number in range(1, len(problems) + 1)]
    return Loaded(f"micro/{config.role}", len(problems), problems, places, [])


LOADERS: dict[str, Callable[[Any, str], Loaded]] = {"hub": load_hub, "file": load_file, "micro": load_micro}


def _to_pool(table: RawTable, config: HubPool | FilePool) -> Loaded:
    pool = Loaded(table.source, len(table.rows), [], [], [])
    for fields, row in zip(read_fields(table, config.columns), table.rows, strict=True):
        if config.choices:
            fields = with_choices(fields, row.record, config.choices, table.source)
        if reason := config.unfit(fields):
            pool.unfit.append(Drop(reason, fields.place, fields.question))
            continue
        id, level = fields.id or question_id(fields.question), fields.level or config.level
        source = fields.source or table.source
        pool.problems.append(Problem(id, fields.question, fields.answer, level, fields.pass_rate, source))
        pool.places.append(fields.place)
    return pool
