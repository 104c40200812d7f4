"""Loaders: problems from a data set on the hub, a local file, a generator, or code of one's own.

To add one, write its class, a PoolConfig with its name as `loader`; a file in conf/problems/ uses it.
"""

import hashlib
import itertools
import unicodedata
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from src.common.base import Choice, Seed
from src.common.errors import UserError, said_by
from src.common.files import file_hash
from src.common.own_code import OwnCode
from src.common.types import Problem
from src.data.choices import ChoicesConfig, with_choices
from src.data.columns import ColumnMap, Fields, check_columns, fields_of
from src.data.guess import guessed
from src.data.gym import draw, entries
from src.data.rows import Malformed, RawTable, Row, check_file, open_hub, read_file, stream_file, stream_hub
from src.grading.spelling import halved, is_doubled

if TYPE_CHECKING:
    import datasets

# Why a problem may not be trained on. Besides these: "in evaluation suite X" and "in role X".
NO_QUESTION, NO_ANSWER, NO_PASS_RATE = "no question", "no answer", "no pass rate"
OUTSIDE_THRESHOLDS, DUPLICATE, MALFORMED = "outside the pass-rate thresholds", "duplicate", "malformed row"
ROWS_CHECKED = 1_000  # the first ones of a source, among which every column must occur
EASY_FROM = 0.5  # pass rate from which one's own problems are easy
TEST_PROBLEMS = 200  # of one's own at most
UNSET = "???"  # what OmegaConf leaves where a value must be given on the command line


@dataclass(frozen=True, slots=True)
class Drop:
    """A row that is not trained on, and why."""

    reason: str
    place: str  # such as "line 12"
    question: str
    detail: str = ""  # what is wrong with it


@dataclass(frozen=True, slots=True)
class Placed:
    """A problem and its place; `source` is what the row itself says of it."""

    place: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pool as it was read: problems and their places, and the rows that are no problem of it."""

    source: str
    rows: int
    problems: list[Problem]
    places: list[str]
    unfit: list[Drop]
    said: str = ""  # a remark on how it was read


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


class PoolConfig(Choice):
    """What is asked of every pool of problems. `load` alone has to be written."""

    chosen_by: ClassVar[str] = "loader"

    @abstractmethod
    def load(self, key: str) -> Loaded:
        """Read the pool without checking its problems. `key` is its place in the configuration, for hints.

        Raises UserError for data that cannot be had or read, with file and line where there is one.
        """

    def stream(self) -> Iterator[Placed | Drop]:
        """The rows one after the other; what cannot be read is dropped, where `load` raises."""
        loaded = self.load("")
        for problem, place in zip(loaded.problems, loaded.places, strict=True):
            yield Placed(place, replace(problem, source=""))
        yield from loaded.unfit

    def check(self, key: str, reach: bool = False) -> None:
        """Raise UserError for faults that show without reading rows; with `reach`, also where a hub has no such data set."""

    def size(self) -> int | None:
        """Problems, as far as that is known without reading them."""
        return None

    def identity(self) -> list[Any]:
        """What identifies the content: the settings, and a hash of what they do not fix."""
        return [self.model_dump(mode="json"), ""]

    def remark(self, rows: int) -> str | None:
        """A remark where a data set has not as many rows as its publication counted."""
        return None


class TableConfig(PoolConfig):
    """What pools made of rows have in common, from the hub or from a file."""

    level: Literal["easy", "hard"]  # of rows without a level of their own
    columns: ColumnMap
    min_pass_rate: float | None = Field(default=None, ge=0, le=1)  # inclusive
    max_pass_rate: float | None = Field(default=None, ge=0, le=1)  # inclusive
    published_rows: int | None = Field(default=None, ge=1)  # as the publication counted them
    choices: ChoicesConfig | None = None  # of multiple-choice questions
    license: str | None = None  # as the data set's card states it; null = it states none; unknown = not seen

    @model_validator(mode="after")
    def _thresholds(self) -> Self:
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

    @abstractmethod
    def table(self, key: str) -> RawTable:
        """All rows; `key` as in `load`."""

    @abstractmethod
    def rows(self) -> tuple[str, Iterator[Row | Malformed]]:
        """The name of the source, and its rows one after the other."""

    def load(self, key: str) -> Loaded:
        return self.problems_of(self.table(key))

    def problems_of(self, table: RawTable) -> Loaded:
        """What a table's rows are to this pool."""
        check_columns(table, self.columns)
        pool = Loaded(table.source, len(table.rows), [], [], [])
        for row in table.rows:
            problem = self._problem(self._fields(table.source, row))
            if isinstance(problem, Drop):
                pool.unfit.append(problem)
            else:
                pool.problems.append(replace(problem, source=problem.source or table.source))
                pool.places.append(row.place)
        return pool

    def stream(self) -> Iterator[Placed | Drop]:
        source, rows = self.rows()
        first = list(itertools.islice(rows, ROWS_CHECKED))
        if not first:
            raise UserError(f"{source} holds no rows")
        whole = [row for row in first if isinstance(row, Row)]
        if whole:
            part = f" (in its first {ROWS_CHECKED:,} rows)" if len(first) == ROWS_CHECKED else ""
            check_columns(RawTable(f"{source}{part}", whole), self.columns)
        return (self._placed(source, row) for row in itertools.chain(first, rows))

    def _placed(self, source: str, row: Row | Malformed) -> Placed | Drop:
        place = f"{source}, {row.place}"
        if isinstance(row, Malformed):
            return Drop(MALFORMED, place, "", row.fault)
        try:
            problem = self._problem(self._fields(source, row))
        except UserError as error:
            return Drop(MALFORMED, place, "", str(error).removeprefix(f"{place}: "))
        return replace(problem, place=place) if isinstance(problem, Drop) else Placed(place, problem)

    def _fields(self, source: str, row: Row) -> Fields:
        fields = fields_of(source, row, self.columns)
        return with_choices(fields, row.record, self.choices, source) if self.choices else fields

    def _problem(self, fields: Fields) -> Problem | Drop:
        if reason := self.unfit(fields):
            return Drop(reason, fields.place, fields.question)
        id, level = fields.id or question_id(fields.question), fields.level or self.level
        return Problem(id, fields.question, fields.answer, level, fields.pass_rate, fields.source, fields.columns)

    def remark(self, rows: int) -> str | None:
        if self.published_rows in (None, rows):
            return None
        return f"{rows} rows where the publication counts {self.published_rows}"


class HubPool(TableConfig):
    """A data set on the hub, or a local clone of one."""

    loader: Literal["hub"]
    dataset: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    files: str | None = None  # one data file of the repository; null = all of the split

    def table(self, key: str) -> RawTable:
        opened = self._opened(f"a local file will do: '+{key}={{loader: file, path: FILE}}'")
        return RawTable(self.dataset, list(stream_hub(opened)))

    def rows(self) -> tuple[str, Iterator[Row | Malformed]]:
        return self.dataset, stream_hub(self._opened())

    def check(self, key: str, reach: bool = False) -> None:
        if reach:
            self._opened(f"a local file will do: {key}={{loader: file, path: FILE, ...}}")

    def size(self) -> int | None:
        return self.published_rows

    def identity(self) -> list[Any]:
        return [self.model_dump(mode="json"), self._opened()._fingerprint]

    def _opened(self, alternative: str = "it was there at first") -> "datasets.Dataset":
        return open_hub(self.dataset, self.config, self.split, self.revision, alternative, self.files)


class MicroPool(PoolConfig):
    """Generated chain arithmetic."""

    loader: Literal["micro"]
    role: str
    count: int = Field(ge=1)
    seed: int = Field(ge=0)
    level: Literal["easy", "hard"] | None = None  # null = as generated

    def load(self, key: str) -> Loaded:
        from src.micro.tasks import make_problems

        problems = make_problems(self.role, self.count, self.seed)
        if self.level:
            problems = [replace(problem, level=self.level) for problem in problems]
        return generated(f"micro/{self.role}", problems)

    def size(self) -> int | None:
        return self.count


class GymPool(PoolConfig):
    """Problems of reasoning-gym's task generators; see `src.data.gym`."""

    loader: Literal["reasoning_gym"]
    tasks: dict[str, dict[str, Any]] = Field(min_length=1)  # each with reasoning-gym's own settings, its difficulty
    count: int = Field(ge=1)  # of all tasks together, the same of each
    seed: Seed
    level: Literal["easy", "hard"]

    def load(self, key: str) -> Loaded:
        return generated("reasoning-gym", [
            Problem(question_id(question), question, answer, self.level, None, f"reasoning-gym/{task}")
            for task, question, answer in draw(self.tasks, self.count, self.seed)
        ])

    def identity(self) -> list[Any]:
        return [self.model_dump(mode="json"), version("reasoning-gym")]

    def check(self, key: str, reach: bool = False) -> None:
        for task, settings in self.tasks.items():
            entries(task, settings, 1, self.seed)

    def size(self) -> int | None:
        return self.count


def generated(source: str, problems: list[Problem]) -> Loaded:
    """Problems that were made, not read: all are fit, and a place is a number."""
    return Loaded(source, len(problems), problems, [f"problem {number}" for number in range(1, len(problems) + 1)], [])


class OwnTableConfig(TableConfig):
    """Rows of one's own, which on a command line take the place of a shipped pool."""

    @model_validator(mode="before")
    @classmethod
    def _replaces(cls, data: Any) -> Any:
        """Leave out the keys of the pool whose place is taken: Hydra merges, it does not replace."""
        others = {key for kind in PoolConfig.kinds().values() for key in kind.model_fields} - set(cls.model_fields)
        return {key: value for key, value in data.items() if key not in others} if isinstance(data, dict) else data


class FilePool(OwnTableConfig):
    """A local JSONL, Parquet or CSV file."""

    loader: Literal["file"]
    path: str

    def table(self, key: str) -> RawTable:
        return read_file(self.path)

    def rows(self) -> tuple[str, Iterator[Row | Malformed]]:
        return self.path, stream_file(self.path)

    def check(self, key: str, reach: bool = False) -> None:
        if self.path == UNSET:
            raise UserError(f"{key}.path is not set; give it a JSONL, Parquet or CSV file")
        check_file(self.path)

    def identity(self) -> list[Any]:
        return [self.model_dump(mode="json"), file_hash(check_file(self.path))]


class OwnPool(PoolConfig):
    """One's own problems, from a file or from the hub: columns that are not named are guessed, and levels go by the pass rate
    where no column says them."""

    loader: Literal["own"]
    path: str | None = None
    dataset: str | None = None
    config: str | None = None
    split: str = "train"
    columns: dict[str, Any] = {}
    part: Literal["all", "test"] = "all"  # test: those that are held out as a suite, and as such leave the pools

    def load(self, key: str) -> Loaded:
        source = self._source
        table = source.table(key)
        columns, said = guessed(table, self.columns)
        loaded = source.model_copy(update={"columns": columns}).problems_of(table)
        if columns.pass_rate and not columns.level:
            levels = ["easy" if (problem.pass_rate or 0.0) >= EASY_FROM else "hard" for problem in loaded.problems]
            loaded = replace(loaded, problems=[replace(p, level=level) for p, level in zip(loaded.problems, levels, strict=True)])
            said += f", easy from {EASY_FROM} on"
        return _test_part(loaded) if self.part == "test" else replace(loaded, said=f"{table.source}: {said}")

    @property
    def _source(self) -> "FilePool | HubPool":
        common = {"level": "hard", "columns": {"question": "", "answer": ""}}
        if self.path:
            return FilePool(loader="file", path=self.path, **common)
        return HubPool(loader="hub", dataset=self.dataset, config=self.config, split=self.split, **common)

    def check(self, key: str, reach: bool = False) -> None:
        if (self.path is None) == (self.dataset is None):
            raise UserError("problems.path: give it a JSONL, Parquet or CSV file, or problems.dataset a name on the hub; one of both")
        self._source.check(key, reach)

    def identity(self) -> list[Any]:
        return [self.model_dump(mode="json"), self._source.identity()]


def _test_part(loaded: Loaded) -> Loaded:
    """A fifth of the problems, up to TEST_PROBLEMS, the same ones wherever they stand in the file."""
    ranks = [hashlib.sha256(f"test/{normalise(problem.question)}".encode()).digest() for problem in loaded.problems]
    chosen = sorted(range(len(ranks)), key=ranks.__getitem__)[: max(1, min(TEST_PROBLEMS, len(ranks) // 5))]
    return replace(loaded, problems=[loaded.problems[i] for i in chosen], places=[loaded.places[i] for i in chosen], unfit=[])


class CodePool(OwnTableConfig):
    """Rows that a function of one's own gives, one dict after the other, with the columns of `columns`."""

    loader: Literal["code"]
    code: OwnCode
    options: dict[str, Any] = {}  # what the function is given, by name

    def table(self, key: str) -> RawTable:
        rows = list(self._made(key))
        if not rows:
            raise UserError(f"{key}.code: {self.code.path} gave no rows")
        return RawTable(self.code.path, rows)

    def rows(self) -> tuple[str, Iterator[Row | Malformed]]:
        return self.code.path, self._made("pool")

    def check(self, key: str, reach: bool = False) -> None:
        self.code.function(f"{key}.code")

    def _made(self, key: str) -> Iterator[Row]:
        function, number = self.code.function(f"{key}.code"), 0
        try:
            for number, record in enumerate(function(**self.options), 1):
                if not isinstance(record, dict):
                    raise TypeError(f"it gave a {type(record).__name__}, and a dict is needed")
                yield Row(f"row {number}", record)
        except Exception as error:
            fault = said_by(error)
            raise UserError(f"{key}.code: {self.code.path} failed after {number} rows ({fault})") from error
