"""The published claims, read from *.yaml beside this, with the verdict of the records on each.

A claim has up to two tests, `full` at the published scale and `micro` on the embedded model. How something is measured
stands in `claim_effects`, when it decides in `claim_decision`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources

import yaml
from pydantic import Field

from src.common.base import Config
from src.record.read import Run
from src.report.claims.decision import Outcome, TestConfig, decide
from src.report.claims.effects import KINDS
from src.report.claims.records import Records
from src.report.findings.configurations import Configuration, Group
from src.scaling.results import Fits


class ClaimConfig(Config):
    """One published claim."""

    id: str
    text: str
    source: str
    published: str  # the published figure, as text
    needs: str  # the runs it takes, in words
    test: str  # effect, direction and margin in words
    full: list[TestConfig] = Field(min_length=1)
    micro: list[TestConfig] = Field(default=[])  # empty where the claim makes no sense on the embedded model


@dataclass(frozen=True)
class ClaimVerdict:
    """The outcome at the published scale and on the micro model, each with the reason in words."""

    claim: ClaimConfig
    at_scale: Outcome
    scale_reason: str
    at_micro: Outcome
    micro_reason: str


def read_claims() -> list[ClaimConfig]:
    """All claims of the project, by study."""
    files = sorted(
        (file for file in resources.files("src.report.claims").iterdir() if file.name.endswith(".yaml")), key=lambda f: f.name
    )
    return [ClaimConfig.model_validate(claim) for file in files for claim in yaml.safe_load(file.read_text("utf-8"))]


def test_claims(
    groups: Sequence[Group], configurations: Sequence[Configuration], fits: Sequence[Fits] = (), looks: int = 1
) -> list[ClaimVerdict]:
    """The verdict on every claim, as one of several `looks` at growing records."""
    micro, full = (_records(groups, configurations, fits, which) for which in (is_micro, is_full))
    return [
        ClaimVerdict(
            claim,
            *_outcome(claim.full, full, f"needs {claim.needs}", looks),
            *(
                _outcome(claim.micro, micro, "needs the same runs at scale micro", looks)
                if claim.micro
                else ("not measured", "makes no sense on the micro model")
            ),
        )
        for claim in read_claims()
    ]


vars(test_claims)["__test__"] = False  # for pytest, which takes it for a test by its name


def is_micro(run: Run) -> bool:
    """Whether a run trained an embedded model; its verdicts are never shown as those of a published one."""
    return run.summary["scale"] == "micro" or str(run.config.get("model.path", "")).startswith("embedded/")


def is_full(run: Run) -> bool:
    """Whether a run trained real weights: neither an embedded model nor a random one made to measure speed."""
    return not is_micro(run) and run.config.get("model.init") != "random"


def _records(
    groups: Sequence[Group], configurations: Sequence[Configuration], fits: Sequence[Fits], wanted: Callable[[Run], bool]
) -> Records:
    chosen = tuple(c for c in configurations if c.measured and wanted(c.measured[0]))
    keys = {c.key for c in chosen}
    of_scale = tuple(each for each in fits if each.micro == (wanted is is_micro))
    return Records(tuple(g for g in groups if keys & g.runs.keys()), chosen, of_scale)


def _outcome(tests: Sequence[TestConfig], records: Records, needs: str, looks: int) -> tuple[Outcome, str]:
    told: list[tuple[Outcome, str]] = []
    for test in tests:
        effect = KINDS[test.kind](records, **test.of)
        fitted = f"{needs}, then python -m src.scaling <sweep folder>" if test.kind == "fitted" else needs
        told.append(decide(test, effect, looks) if effect else ("not measured", fitted))
    # All parts have to hold; one that does not is enough to contradict.
    order: tuple[Outcome, ...] = ("contradicted", "not measured", "undecided", "supported")
    worst = next(outcome for outcome in order if any(outcome == each for each, _ in told))
    return worst, "; ".join(dict.fromkeys(reason for _, reason in told))
