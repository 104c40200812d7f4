"""The price of an answer: which difference of two recipes a study finds as it is asked for, and the cheapest that finds 2 points.

Its power is that of the report's comparison with a pilot's variances, its cost that of the plan.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from src.common.screen import duration
from src.config.tree import LabConfig
from src.data.loaders import TableConfig
from src.model.architecture import architecture
from src.plan.cost_model import Sampling, Workload, evaluation_seconds, helped_if_sooner, seconds
from src.plan.pilots import Pilot, pilots
from src.plan.workload import workload
from src.statistics import FEWEST_SEEDS, Design, cheapest, detectable

GAP = 0.02  # of accuracy: the difference that is priced
SEEDS = (3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)
SAMPLES = (1, 2, 4, 8, 16, 32, 64)
SHARES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # of a suite's problems; more than all only where they are generated


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one suite."""

    suite: str
    asked: Design
    finds: float  # difference found in four of five tries, as asked
    takes: Design | None  # the cheapest design that finds GAP; none where the largest one does not
    hours: float  # of it, of the machine, both recipes with all that their runs measure
    gpu_hours: float
    usd: float
    largest: Design
    at_best: float  # what the largest design finds
    source: str  # of the variances


@dataclass(frozen=True)
class Study:
    """Two recipes with a run for each seed, like a planned run but for how much is measured of one suite."""

    config: LabConfig
    workload: Workload
    suite: Sampling
    rest_s: float  # of a run, without the suite

    @property
    def problems(self) -> int:
        return self.suite.completions // self.samples

    @property
    def samples(self) -> int:
        return self.config.evaluation.suites[self.suite.name].samples

    def seconds(self, design: Design) -> float:
        spec = self.config.hardware.known_spec
        assert spec, "there is a plan"
        measured = replace(self.suite, completions=design.problems * design.samples)
        return 2 * design.seeds * (self.rest_s + evaluation_seconds(self.workload, spec, measured))

    def designs(self) -> Iterator[Design]:
        """Those looked at, the largest last."""
        given = isinstance(self.config.evaluation.suites[self.suite.name].pool, TableConfig)
        shares = [share for share in SHARES if share <= 1 or not given]
        return (Design(seeds, round(share * self.problems), n) for seeds, share, n in product(SEEDS, shares, SAMPLES))


def answers(config: LabConfig, seeds: int = 1, known: Mapping[str, Pilot] | None = None) -> list[Answer]:
    """For each suite of `known`, by default those that there are pilots of, with so many `seeds` of each recipe. Raises UserError
    as the plan does; nothing is known of hardware without a spec."""
    w, spec = workload(config, architecture(config.model)), config.hardware.known_spec
    if spec is None:
        return []
    w = helped_if_sooner(w, spec)
    known = pilots(config) if known is None else known
    whole = sum(seconds(w, spec).values())
    measured = [each for each in w.evaluations if each.name in known and each.name in config.evaluation.suites]
    return [answer(Study(config, w, each, whole - evaluation_seconds(w, spec, each)), known[each.name], seeds) for each in measured]


def answer(study: Study, pilot: Pilot, seeds: int) -> Answer:
    asked, designs, variances = Design(seeds, study.problems, study.samples), list(study.designs()), pilot.components
    takes = cheapest(variances, GAP, study.seconds, designs)
    spent, hardware = study.seconds(takes) if takes else 0.0, study.config.hardware
    return Answer(
        study.suite.name, asked, detectable(variances, asked), takes, spent / 3600, hardware.gpu_hours(spent),
        hardware.cost_usd(spent), designs[-1], detectable(variances, designs[-1]), pilot.source,
    )  # fmt: skip


def in_words(found: Sequence[Answer]) -> dict[str, str]:
    """Two lines for each suite, and where the variances are from."""
    lines = {}
    for each in found:
        lines[f"{each.suite} finds"] = _finds(each)
        lines[f"{100 * GAP:g} points on {each.suite}"] = _takes(each)
    return lines | {f"variances of {suites}": source for source, suites in _by_source(found).items()}


def _finds(found: Answer) -> str:
    of_what = "of two recipes" if found.asked.seeds >= FEWEST_SEEDS else "of two trained models (of their recipes nothing)"
    return f"differences {of_what} of {100 * found.finds:.1f} points in 4 of 5 tries, with {_told(found.asked)}"


def _takes(found: Answer) -> str:
    if found.takes is None:
        return f"not found with these problems: {_told(found.largest)} find {100 * found.at_best:.1f}"
    gpus = f", {found.gpu_hours:,.1f} GPU-hours" if found.gpu_hours else ""
    return f"{_told(found.takes)} of both recipes are the cheapest, {duration(found.hours * 3600)}{gpus}, ${found.usd:,.2f}"


def _told(design: Design) -> str:
    """`3 seeds x 160 problems x 2 samples`."""
    counts = ((design.seeds, "seed"), (design.problems, "problem"), (design.samples, "sample"))
    return " x ".join(f"{count} {thing}{'' if count == 1 else 's'}" for count, thing in counts)


def _by_source(found: Sequence[Answer]) -> dict[str, str]:
    return {source: ", ".join(each.suite for each in found if each.source == source) for source in dict.fromkeys(e.source for e in found)}
