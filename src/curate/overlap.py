"""Step 3, overlap: problems that also stand in an evaluation suite are set aside, each with its twin.

Three kinds: exact, equal but for case and spaces, and by n-grams: at least `ngram_share` of the suite problem's n-grams
occur in the problem, and all of its numbers do (see `src.curate.canonical`).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, TypeAdapter, model_validator

from src.common.base import Config
from src.common.errors import UserError, nearest
from src.common.files import of_project
from src.curate.canonical import canonical, covers, ngrams
from src.curate.store import Candidate, Finished, Writer
from src.data.loaders import PoolConfig, normalise

EVALUATIONS = of_project("conf") / "evaluation"


class OverlapConfig(Config):
    """Which suites, and what counts as overlap with one."""

    evaluation: str | None = None  # an option of conf/evaluation, all of whose suites are taken
    suites: dict[str, PoolConfig] = {}  # further ones by name, or in the place of those
    ngram: int = Field(default=3, ge=1)  # tokens
    ngram_share: float = Field(default=0.6, gt=0, le=1)  # of a suite problem's n-grams found / all of them

    @model_validator(mode="after")
    def _some(self) -> "OverlapConfig":
        if self.evaluation is None and not self.suites:
            raise ValueError("name an evaluation or suites; without this step, overlap: null")
        return self

    def pools(self) -> dict[str, PoolConfig]:
        """All suites by name. Raises UserError for an evaluation that conf/evaluation does not have."""
        return (_suites_of(self.evaluation) if self.evaluation else {}) | self.suites


def _suites_of(evaluation: str) -> dict[str, PoolConfig]:
    from omegaconf import OmegaConf

    path = EVALUATIONS / f"{evaluation}.yaml"
    if not path.is_file():
        known = [option.stem for option in EVALUATIONS.glob("*.yaml")]
        raise UserError(f"overlap.evaluation: no evaluation is called {evaluation}; {nearest(evaluation, known)}")
    suites: Any = OmegaConf.to_container(OmegaConf.load(path).suites)
    pool = TypeAdapter(PoolConfig)
    return {name: pool.validate_python(suite["pool"]) for name, suite in suites.items()}


@dataclass(frozen=True, slots=True)
class Twin:
    """The suite problem that a problem overlaps with."""

    kind: str  # "exact", "normalised" or "n-grams"
    suite: str
    problem: Candidate
    share: float  # of its n-grams


class SuiteIndex:
    """All suite problems, to look up what overlaps with them. A suite is small: it is held in memory."""

    def __init__(self, config: OverlapConfig, suites: Mapping[str, Sequence[Candidate]]) -> None:
        self.config = config
        self.problems = [(name, problem) for name, problems in suites.items() for problem in problems]
        self.forms = [canonical(problem.question) for _, problem in self.problems]
        self.exact: dict[str, int] = {}
        self.normalised: dict[str, int] = {}
        self.by_ngram: dict[int, list[int]] = defaultdict(list)
        self.sizes: list[int] = []
        for number, ((_, problem), form) in enumerate(zip(self.problems, self.forms, strict=True)):
            self.exact.setdefault(problem.question, number)
            self.normalised.setdefault(normalise(problem.question), number)
            grams = ngrams(form.tokens, config.ngram)
            self.sizes.append(len(grams))
            for gram in grams:
                self.by_ngram[gram].append(number)

    def twin(self, question: str) -> Twin | None:
        """The suite problem that a question overlaps with most, if any."""
        if (number := self.exact.get(question)) is not None:
            return self._twin("exact", number, 1.0)
        if (number := self.normalised.get(normalise(question))) is not None:
            return self._twin("normalised", number, 1.0)
        form = canonical(question)
        shared = Counter(
            number for gram in ngrams(form.tokens, self.config.ngram) for number in self.by_ngram.get(gram, ())
        )
        shares = {number: count / self.sizes[number] for number, count in shared.items()}
        near = [n for n in shares if shares[n] >= self.config.ngram_share and covers(form.numbers, self.forms[n].numbers)]
        best = max(near, key=lambda number: (shares[number], -number), default=None)
        return None if best is None else self._twin("n-grams", best, shares[best])

    def _twin(self, kind: str, number: int, share: float) -> Twin:
        name, problem = self.problems[number]
        return Twin(kind, name, problem, share)


def load_suites(config: OverlapConfig) -> dict[str, list[Candidate]]:
    """Every problem of every suite, also those without a gold answer that can be read."""
    suites = {}
    for name, pool in config.pools().items():
        loaded = pool.load(f"overlap.suites.{name}")
        suites[name] = [
            Candidate(p.id, p.question, p.answer, p.level, None, None, None, None, name, f"{loaded.source}, {place}")
            for p, place in zip(loaded.problems, loaded.places, strict=True)
        ]
    return suites


def drop_overlap(config: OverlapConfig, previous: Finished, writer: Writer, done: Callable[[int], None]) -> None:
    """Set aside what a suite holds; each with the suite's problem beside it in dropped.parquet."""
    index = SuiteIndex(config, load_suites(config))
    for candidate in previous.candidates():
        if twin := index.twin(candidate.question):
            writer.drop(candidate, f"in suite {twin.suite} ({twin.kind})", "", twin.problem, round(twin.share, 4))
        else:
            writer.keep(candidate)
        done(1)
