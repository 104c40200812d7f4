"""The `problems` group: where problems come from, and which of them may be trained on.

A scale fills each role with a pool of its own; a mix draws from the pools. To add a source, see src/data/loaders.py.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import field_validator, model_validator

from src.common.base import Config
from src.common.errors import UserError, refuse_unknown
from src.common.types import Problem
from src.data.loaders import DUPLICATE, NO_ANSWER, NO_QUESTION, Drop, Loaded, PoolConfig, mended, mended_note, normalise
from src.grading.code import remark

if TYPE_CHECKING:
    from src.grading.grader import Grader

ROLES = ("core", "broad", "easy", "released")  # hard and curated; hard and wider; easy; a published selection
EXAMPLES_PER_REASON = 3  # dropped problems that the report shows

GOLD_FAULTS = {  # by the grader's reason
    "unreadable gold": "unreadable gold answer",
    "timeout": "gold answer that takes too long to grade",
    "different": "gold answer that does not equal itself",
    "no answer": "gold answer that does not equal itself",
}


class ProblemsConfig(Config):
    """One pool for each role that the scale offers."""

    name: str
    pools: dict[str, PoolConfig]
    minus: dict[str, str] = {}  # role: another role, whose questions it must not hold
    by_level: bool = False  # core has problems of both levels: its easy ones fill the role easy, and a mix takes what there is
    # Of my_data, whose pools are made of them:
    path: str | None = None
    dataset: str | None = None
    config: str | None = None
    split: str | None = None
    columns: dict[str, Any] | None = None

    @field_validator("pools", "minus")
    @classmethod
    def _known_roles(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_unknown(value, ROLES, "role")
        return value

    @model_validator(mode="after")
    def _minus_has_pools(self) -> "ProblemsConfig":
        for role, other in self.minus.items():
            if role == other or not {role, other} <= set(self.pools):
                raise ValueError(
                    f"minus.{role} must name another role with a pool ({', '.join(self.pools)}), not {other}"
                )
        return self


@dataclass(frozen=True, slots=True)
class Pools:
    """What may be trained on, by role, and what was left out. Equal ids mean equal questions, across roles too."""

    by_role: dict[str, list[Problem]]
    dropped: dict[str, list[Drop]]
    rows: dict[str, int]  # rows read
    sources: dict[str, str]  # name or path of the data set
    licenses: dict[str, str | None]
    notes: list[str]

    @property
    def drops(self) -> list[Drop]:
        """All rows that were left out."""
        return [drop for drops in self.dropped.values() for drop in drops]

    def counts(self, role: str) -> dict[str, int]:
        """How many rows of a role were left out, by reason."""
        return dict(Counter(drop.reason for drop in self.dropped[role]))

    def report(self) -> dict[str, Any]:
        """What was read, kept and dropped, with examples; plain values, for the record."""
        return {"roles": {role: self._role_report(role) for role in self.by_role}, "notes": list(self.notes)}

    def _role_report(self, role: str) -> dict[str, Any]:
        examples: dict[str, list[dict[str, str]]] = {}
        for drop in self.dropped[role]:
            shown = examples.setdefault(drop.reason, [])
            if len(shown) < EXAMPLES_PER_REASON:
                shown.append({"place": drop.place, "question": drop.question[:200]})
        return {
            "source": self.sources[role],
            "license": self.licenses[role],
            "rows": self.rows[role],
            "kept": len(self.by_role[role]),
            "levels": dict(Counter(problem.level for problem in self.by_role[role])),
            "dropped": self.counts(role),
            "examples": examples,
        }


def check_pools(config: ProblemsConfig, roles: Collection[str]) -> None:
    """Raise UserError for faults that show without reading data: a role without a pool, a file that is not there."""
    for role in sorted(roles):
        if role not in config.pools:
            raise UserError(
                f"problems={config.name} has no pool for the role {role}, only for {', '.join(sorted(config.pools))}; "
                f"choose another mix, or add problems.pools.{role}"
            )
        config.pools[role].check(f"problems.pools.{role}")


def load_pools(
    config: ProblemsConfig, roles: Collection[str], suites: Mapping[str, Sequence[Problem]], grader: "Grader"
) -> Pools:
    """Read the pools of `roles` and keep what may be trained on.

    A pool holds each question once, none that also occurs in a suite or in the role it excludes, and only gold answers
    that grade themselves correct. Raises UserError where a pool cannot be read, or nothing of it is left.
    """
    wanted = [role for role in config.pools if role in roles]
    others = {config.minus[role] for role in wanted if role in config.minus}
    check_pools(config, {*roles, *others})
    loaded = {
        role: config.pools[role].load(f"problems.pools.{role}")
        for role in config.pools
        if role in {*wanted, *others}
    }
    pools = Pools({}, {}, {}, {}, {}, [])
    for role in wanted:
        (pool, doubled), other = mended(loaded[role]), config.minus.get(role)
        barred = {f"in evaluation suite {name}": problems for name, problems in suites.items()}
        if other:
            barred[f"in role {other}"] = loaded[other].problems
        pools.by_role[role], pools.dropped[role] = _sift(role, pool, barred, grader)
        pools.rows[role], pools.sources[role] = pool.rows, pool.source
        pools.licenses[role] = getattr(config.pools[role], "license", None)
        if note := config.pools[role].remark(pool.rows):
            pools.notes.append(f"{role}: {pool.source} has {note}")
        if pool.said:
            pools.notes.append(pool.said)
        if doubled:
            pools.notes.append(f"{role}: {mended_note(pool.source, doubled)}")
    return replace(pools, by_role=_align_ids(pools.by_role))


def load_suite(
    config: PoolConfig, name: str, grader: "Grader", grading: str = "math", trusted: bool = False
) -> tuple[list[Problem], list[str]]:
    """An evaluation suite, and remarks on it: every row of its data set, repeated questions included, with ids of
    their own. A gold answer that cannot be read stays, since a suite that lost problems would measure something else;
    it is remarked on, and only its exact letters count as right.

    Raises UserError for a row without question or answer, if no gold answer can be read, and where answers are programs
    that cannot be run safely here.
    """
    pool = config.load(f"evaluation.suites.{name}.pool")
    for drop in pool.unfit:
        if drop.reason in (NO_QUESTION, NO_ANSWER):
            raise UserError(f"suite {name}: {pool.source}, {drop.place} has {drop.reason}")
    if not pool.problems:
        raise UserError(f"suite {name}: no problem of {pool.source} is within the pass-rate thresholds")
    if grading == "code":
        return _with_own_ids(pool.problems), [remark(name, trusted)]
    pool, doubled = mended(pool)
    faults = gold_faults([problem.answer for problem in pool.problems], grader)
    unreadable = [problem.answer for problem, fault in zip(pool.problems, faults, strict=True) if fault]
    if len(unreadable) == len(pool.problems):
        raise UserError(
            f"suite {name}: none of the {len(unreadable)} gold answers of {pool.source} can be read, such as "
            f"{unreadable[0]!r}; is columns.answer right?"
        )
    note = config.remark(pool.rows)
    notes = [f"suite {name}: {pool.source} has {note}"] if note else []
    if pool.said:
        notes.append(f"suite {name}: {pool.said}")
    if doubled:
        notes.append(f"suite {name}: {mended_note(pool.source, doubled)}")
    if unreadable:
        notes.append(f"suite {name}: {len(unreadable)} gold answers cannot be read, such as {unreadable[0]!r}")
    return _with_own_ids(pool.problems), notes


def _with_own_ids(problems: Sequence[Problem]) -> list[Problem]:
    taken: set[str] = set()
    return [replace(problem, id=_new_id(problem.id, taken)) for problem in problems]


def _sift(
    role: str, pool: Loaded, barred: Mapping[str, Iterable[Problem]], grader: "Grader"
) -> tuple[list[Problem], list[Drop]]:
    """What of a pool may be trained on, and what not. `barred` holds problems under the reason for leaving them out."""
    reasons: dict[str, str] = {}  # normalised question: why it may not be added (again)
    for reason, problems in barred.items():
        for problem in problems:
            reasons.setdefault(normalise(problem.question), reason)
    drops, unique = list(pool.unfit), []
    for problem, place in zip(pool.problems, pool.places, strict=True):
        question = normalise(problem.question)
        if question in reasons:
            drops.append(Drop(reasons[question], place, problem.question))
        else:
            reasons[question] = DUPLICATE
            unique.append((problem, place))
    faults = gold_faults([problem.answer for problem, _ in unique], grader)
    if unique and all(faults):
        raise UserError(
            f"{role}: none of the {len(unique)} gold answers of {pool.source} can be read, such as "
            f"{unique[0][0].answer!r} ({unique[0][1]}); does columns.answer name the right column?"
        )
    drops += [Drop(fault, place, p.question) for (p, place), fault in zip(unique, faults, strict=True) if fault]
    if not unique:
        counts = ", ".join(f"{count} {reason}" for reason, count in Counter(drop.reason for drop in drops).items())
        raise UserError(f"{role}: no problem of {pool.source} is left to train on ({counts})")
    return [problem for (problem, _), fault in zip(unique, faults, strict=True) if not fault], drops


def gold_faults(golds: Sequence[str], grader: "Grader") -> list[str | None]:
    """What is wrong with each gold answer; None where it grades itself correct."""
    verdicts = grader.check_gold(golds)
    return [None if verdict.correct else GOLD_FAULTS[verdict.reason] for verdict in verdicts]


def _align_ids(by_role: Mapping[str, list[Problem]]) -> dict[str, list[Problem]]:
    """Give a question the same id in every pool, and different questions different ids."""
    ids: dict[str, str] = {}
    taken: set[str] = set()
    for problems in by_role.values():
        for problem in problems:
            question = normalise(problem.question)
            if question not in ids:
                ids[question] = _new_id(problem.id, taken)
    return {role: [replace(p, id=ids[normalise(p.question)]) for p in problems] for role, problems in by_role.items()}


def _new_id(id: str, taken: set[str]) -> str:
    """`id`, or the first of `id-2`, `id-3`, ... that is not taken; it is then."""
    number, new = 1, id
    while new in taken:
        number += 1
        new = f"{id}-{number}"
    taken.add(new)
    return new
