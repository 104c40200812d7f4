"""The search space: Hydra's sweep expressions as Optuna's distributions.

choice(...) and comma lists, also of whole groups; glob(...) of a group's options; range; interval; int(...), sort(...);
tag(log, ...). shuffle(...) changes nothing: in which order values are tried is the sampler's business. `seed` is never searched:
trials that differ in it alone are repeats of one configuration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil, prod
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    Transformer,
)
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from src.common.errors import UserError
from src.common.secrets import redacted
from src.config.tree import OPEN_KEYS
from src.sweep.seeds import SEED


@dataclass(frozen=True, slots=True)
class Space:
    """What is varied, and what is the same in every trial."""

    distributions: dict[str, BaseDistribution]  # by key, without plus signs
    keys: dict[str, str]  # the key as it is to be written, with its plus signs
    fixed: tuple[str, ...]  # overrides of every trial, as they were written
    options: tuple[str, ...] = ()  # of Hydra's, without which an override may not be understood: --config-dir
    notes: tuple[str, ...] = ()  # what may surprise whoever wrote the space
    intervals: frozenset[str] = frozenset()  # the keys whose values are not listed, but lie between two ends
    extended: bool = False  # a function of the user's adds to it

    @property
    def seeds(self) -> list[int]:
        """Those that each configuration is repeated with; none if the seed is not varied."""
        return _points(SEED, self.distributions[SEED]) if SEED in self.distributions else []

    @property
    def size(self) -> int | None:
        """How many points there are; None if there is no end to them, or nobody knows."""
        counts = [_count(distribution) for distribution in self.distributions.values()]
        return None if self.extended or not counts or None in counts else prod(filter(None, counts))

    def point(self, params: Mapping[str, Any]) -> tuple[str, ...] | None:
        """A trial's place in the space, to compare it with another's; None of a trial that has not all of its parameters."""
        if not self.distributions.keys() <= params.keys():
            return None
        return tuple(written(on_step(params[name], distribution)) for name, distribution in self.distributions.items())

    @property
    def shown(self) -> list[str]:
        """What is fixed and may be written down."""
        return [override for override in self.fixed if not _tells_secret(override)]

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """The command line of a trial: what is fixed, and its parameters."""
        return [*self.fixed, *(f"{self.keys.get(name, name)}={written(value)}" for name, value in params.items())]

    def described(self) -> dict[str, str]:
        """The space in words by key, to be read and to be compared with another."""
        return {name: in_words(distribution) for name, distribution in self.distributions.items()}

    def points(self) -> dict[str, list[Any]]:
        """Every value of every parameter. Raises UserError where there is no end to them."""
        return {name: _points(name, distribution) for name, distribution in self.distributions.items()}


def read_space(params: Mapping[str, Any], arguments: Sequence[str], loader: ConfigLoader | None = None) -> Space:
    """The space of `params` and a command line, the later taking the place of the earlier. Raises UserError.

    `loader` knows the options of groups, which glob(...) asks for.
    """
    lines = [f"{'++' if key.startswith(OPEN_KEYS) else ''}{key}={written(value)}" for key, value in params.items()]
    distributions: dict[str, BaseDistribution] = {}
    keys: dict[str, str] = {}
    fixed: dict[str, str] = {}
    notes: dict[str, str] = {}
    intervals: set[str] = set()
    for override in _parsed([*lines, *arguments], loader):
        written_key = override.get_key_element()
        name = written_key.lstrip("+")
        distributions.pop(name, None)
        fixed.pop(name, None)
        notes.pop(name, None)
        intervals.discard(name)
        if override.is_sweep_override():
            distributions[name], keys[name] = _distribution(name, override), written_key
            if isinstance(override.value(), IntervalSweep):
                intervals.add(name)
            if note := _end_left_out(override):
                notes[name] = f"{name}: {note}"
        else:
            fixed[name] = str(override.input_line)
    if SEED in intervals:
        raise UserError("seed: it is no parameter to be searched, but repeats; list the seeds, such as seed=1,2,3")
    return Space(distributions, keys, tuple(fixed.values()), notes=tuple(notes.values()), intervals=frozenset(intervals))


def _tells_secret(override: str) -> bool:
    as_pairs = override.replace(":", "=")  # the keys in a mapping
    return redacted(override) != override or redacted(as_pairs) != as_pairs


def written(value: Any) -> str:
    """A value as Hydra's command line spells it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def _parsed(lines: Sequence[str], loader: ConfigLoader | None) -> list[Override]:
    try:
        return OverridesParser.create(config_loader=loader).parse_overrides(list(lines))
    except HydraException as error:
        raise UserError(f"sweep: {' '.join(str(error).split())}") from error


def _distribution(name: str, override: Override) -> BaseDistribution:
    value = override.value()
    if isinstance(value, ChoiceSweep | RangeSweep):
        shuffled, value.shuffle = value.shuffle, False  # or the same command would be another space the next time
    try:
        if isinstance(value, IntervalSweep):
            return _interval(value)
        # Later versions of Hydra can transform the values of a range, which makes them a list as shuffling does.
        if isinstance(value, RangeSweep) and not shuffled and not getattr(value, "transformers", ()):
            return _range(value, override)
        return _choice(override)
    except ValueError as error:
        raise UserError(f"{name}: {error} ({override.input_line})") from error


def _choice(override: Override) -> CategoricalDistribution:
    choices = list(override.sweep_iterator(transformer=Transformer.encode))
    if not choices:
        raise ValueError("it has no value; give at least one, or of glob(...) a pattern that an option matches")
    for value in choices:
        first = choices[choices.index(value)]  # true == 1 == 1.0, and whichever comes first would stand for all
        if written(first) != written(value):
            raise ValueError(f"{written(first)} and {written(value)} are one value to Optuna, and only the first would be tried")
    return CategoricalDistribution(list({written(value): value for value in choices}.values()))  # each point is run once


def _interval(value: IntervalSweep) -> BaseDistribution:
    low, high, log = value.start, value.end, "log" in value.tags
    if low is None or high is None or low > high:
        raise ValueError(f"the interval is reversed: it begins at {low} and ends at {high}")
    if log and low <= 0:
        raise ValueError(f"a logarithmic interval must begin above 0, not at {low}")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _range(value: RangeSweep, override: Override) -> BaseDistribution:
    """Hydra's range leaves out its end, Optuna's distributions hold theirs."""
    if value.step == 0:
        raise ValueError("the range has a step of 0 and no end; give another step")
    start, stop, step = (Decimal(str(number)) for number in (value.start, value.stop, value.step))
    count = ceil((Fraction(stop) - Fraction(start)) / Fraction(step))
    if count <= 0:
        raise ValueError(f"the range is empty or reversed: from {start} to {stop} in steps of {step}")
    last = start + (count - 1) * step
    low, high = sorted((start, last))
    if "log" in value.tags:
        return _choice(override)  # no distribution has both steps and a logarithmic scale
    if all(isinstance(number, int) for number in (value.start, value.stop, value.step)):
        return IntDistribution(int(low), int(high), step=int(abs(step)))
    if any(Decimal(str(float(number))) != number for number in (low, high, step)):
        return _choice(override)
    return FloatDistribution(float(low), float(high), step=float(abs(step)))


def _end_left_out(override: Override) -> str:
    """What to say of a range whose end would be one of its values, if ends were; "" of any other."""
    value = override.value()
    if not isinstance(value, RangeSweep) or value.stop is None:
        return ""
    start, stop, step = (Decimal(str(number)) for number in (value.start, value.stop, value.step))
    if (stop - start) % step:
        return ""
    return (
        f"{override.get_value_string()} does not try {stop}: Hydra's ranges leave out their end, in hydra-optuna-sweeper too "
        f"from 1.4 on; to try it, end at {stop + step}"
    )


def in_words(distribution: BaseDistribution) -> str:
    """`0.0 to 1.0, logarithmic`, or `one of fixed, staged`."""
    if isinstance(distribution, CategoricalDistribution):
        return f"one of {', '.join(map(written, distribution.choices))}"
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = "whole numbers " if isinstance(distribution, IntDistribution) else ""
    step = f" in steps of {distribution.step}" if distribution.step not in (None, 1) else ""
    return f"{kind}{distribution.low} to {distribution.high}{step}{', logarithmic' if distribution.log else ''}"


def _count(distribution: BaseDistribution) -> int | None:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.log or distribution.step is None:
        return None
    low, high, step = (Decimal(str(n)) for n in (distribution.low, distribution.high, distribution.step))
    return int((high - low) / step) + 1


def on_step(value: Any, distribution: BaseDistribution) -> Any:
    """A value as `_points` has it: samplers draw 0.30000000000000004 from steps of 0.1."""
    if not isinstance(distribution, FloatDistribution) or distribution.step is None:
        return value
    low, step = Decimal(str(distribution.low)), Decimal(str(distribution.step))
    return float(low + round((Decimal(str(value)) - low) / step) * step)


def _points(name: str, distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if (count := _count(distribution)) is None:
        raise UserError(f"{name}: a grid needs a finite set of values; use choice(...) or range(...), or another sampler")
    kind = int if isinstance(distribution, IntDistribution) else float
    low, step = Decimal(str(distribution.low)), Decimal(str(distribution.step))
    return [kind(low + number * step) for number in range(count)]
