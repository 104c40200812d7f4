"""Step 6, draw: levels by pass rate, then exact numbers of problems for each role of a mix, in proportion to sources and
lengths.

`<role>.parquet` is a pool for `problems=files`. Of each problem a few numbers are held in memory, no text.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from src.common.base import Config
from src.common.errors import UserError, refuse_unknown
from src.curate.store import Candidate, Finished, RowWriter, Writer
from src.data.mix import apportion, rank

if TYPE_CHECKING:
    import numpy as np

NOT_DRAWN = "not drawn"
DRAWN = ("core", "broad", "easy")  # the roles of problems=files


class RoleConfig(Config):
    """One pool to draw."""

    level: Literal["easy", "hard"]
    count: int | None = Field(default=None, ge=1)  # null = all that earlier roles leave


class DrawConfig(Config):
    """Levels and numbers. With neither `easy_from` nor `easy_share`, problems keep the levels of their source."""

    roles: dict[str, RoleConfig] = Field(min_length=1)  # drawn in this order; no problem twice
    easy_from: float | None = Field(default=None, ge=0, le=1)  # pass rate, inclusive; lower ones are hard
    easy_share: float | None = Field(default=None, ge=0, le=1)  # the easiest part of the problems (a quantile)
    length_bins: int = Field(default=4, ge=1)  # equally full ones, by characters of the question
    seed: int = Field(default=42, ge=0)

    @field_validator("roles")
    @classmethod
    def _known(cls, roles: dict[str, RoleConfig]) -> dict[str, RoleConfig]:
        refuse_unknown(roles, DRAWN, "role to draw")
        return roles

    @model_validator(mode="after")
    def _one_way(self) -> "DrawConfig":
        if self.easy_from is not None and self.easy_share is not None:
            raise ValueError("easy_from and easy_share are two ways to choose levels; give one, and null for the other")
        return self


@dataclass(frozen=True)
class _Columns:
    """What the draw looks at, one number for each problem."""

    rank: "np.ndarray"  # place in the seeded order
    rate: "np.ndarray"  # pass rate, NaN where unknown
    hard: "np.ndarray"
    stratum: "np.ndarray"  # a number for each source and bin of length


def draw(config: DrawConfig, previous: Finished, writer: Writer, done: Callable[[int], None]) -> None:
    """Draw each role's problems. Raises UserError where a role has too few, or levels lack pass rates."""
    columns = _columns(config, previous)
    hard = columns.hard
    if config.easy_from is not None or config.easy_share is not None:
        threshold = _easy_from(config, columns.rate)
        hard = columns.rate < threshold
        if config.easy_share is not None:
            writer.notes.append(f"easy is a pass rate of {threshold:.4g} or more: {(~hard).mean():.0%} of the problems")
    roles = _choose(config, columns, hard)
    tables = {role: RowWriter(writer.folder / f"{role}.parquet", PoolRow) for role in config.roles}
    for candidate, is_hard, number in zip(previous.candidates(), hard.tolist(), roles.tolist(), strict=True):
        done(1)
        if number < 0:
            writer.drop(candidate, NOT_DRAWN)
            continue
        labelled = replace(candidate, level="hard" if is_hard else "easy")
        writer.keep(labelled)
        tables[list(config.roles)[number]].add(_pool_row(labelled))
    for role, table in tables.items():
        table.close()
        writer.notes.append(f"{role}: {table.count} {config.roles[role].level} problems")


def _columns(config: DrawConfig, previous: Finished) -> _Columns:
    import numpy as np

    rank_of, rate, length, hard, source = array("Q"), array("d"), array("L"), array("b"), array("L")
    sources: dict[str, int] = {}
    for candidate in previous.candidates():
        rank_of.append(int.from_bytes(rank(f"draw {config.seed}", candidate.id)[:8]))
        rate.append(float("nan") if candidate.pass_rate is None else candidate.pass_rate)
        length.append(len(candidate.question))
        hard.append(candidate.level == "hard")
        source.append(sources.setdefault(candidate.source, len(sources)))
    lengths = np.asarray(length)
    edges = np.quantile(lengths, np.linspace(0, 1, config.length_bins + 1)[1:-1])
    stratum = np.asarray(source, dtype=np.int64) * config.length_bins + np.searchsorted(edges, lengths, side="left")
    return _Columns(np.asarray(rank_of), np.asarray(rate), np.asarray(hard, dtype=bool), stratum)


def _easy_from(config: DrawConfig, rate: "np.ndarray") -> float:
    """The pass rate at which easy begins; of a quantile, the one whose share of the problems comes nearest."""
    import numpy as np

    if np.isnan(rate).any():
        raise UserError(
            f"draw: {int(np.isnan(rate).sum())} problems have no pass rate to choose a level by; add the difficulty step, "
            "or leave out draw.easy_from and draw.easy_share to keep the levels of the sources"
        )
    if config.easy_from is not None:
        return config.easy_from
    values, counts = np.unique(rate, return_counts=True)
    shares = np.append(counts[::-1].cumsum()[::-1] / len(rate), 0.0)
    return float(np.append(values, np.inf)[np.abs(shares - config.easy_share).argmin()])


def _choose(config: DrawConfig, columns: _Columns, hard: "np.ndarray") -> "np.ndarray":
    """For each problem the number of the role it is drawn for, -1 for none."""
    import numpy as np

    roles = np.full(len(hard), -1, dtype=np.int8)
    for number, (name, role) in enumerate(config.roles.items()):
        free = np.flatnonzero((roles < 0) & (hard == (role.level == "hard")))
        count = len(free) if role.count is None else role.count
        if count > len(free) or not count:
            wanted = count or "all"
            raise UserError(
                f"draw.roles.{name}: {wanted} {role.level} problems asked for and {len(free)} are left; "
                "ask for fewer, or change the levels or filters"
            )
        strata, sizes = np.unique(columns.stratum[free], return_counts=True)
        counts = apportion({f"{stratum:09d}": int(size) for stratum, size in zip(strata, sizes, strict=True)}, count)
        for stratum in strata:
            members = free[columns.stratum[free] == stratum]
            chosen = np.argsort(columns.rank[members], kind="stable")[: counts[f"{stratum:09d}"]]
            roles[members[chosen]] = number
    return roles


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A row of `<role>.parquet`: the columns that problems=files expects, and where the problem comes from."""

    problem: str
    answer: str
    level: str
    pass_rate: float | None
    id: str
    source: str
    place: str


def _pool_row(candidate: Candidate) -> PoolRow:
    fields = (candidate.question, candidate.answer, candidate.level, candidate.pass_rate)
    return PoolRow(*fields, candidate.id, candidate.source, candidate.place)
