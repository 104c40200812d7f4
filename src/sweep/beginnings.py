"""Shared beginnings: trials that do the same up to a step run it once, and each branches from its checkpoint.

What differs between two configurations has to be such as acts by the step, and is known beforehand: the schedules of `length` and of
`lr`. To add one, name its group in BY_STEP and say in `steps_alike` until when two of it are the same.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from src.config.tree import LabConfig
from src.training.length import LengthSchedule
from src.training.lr import trainer_fields

BY_STEP = ("length", "lr")
NAMES = ("name", "run_dir", "output_root", "choices", "tracking")
STEMS = ".stems"  # in a sweep's folder, hidden from those who look for runs
LEAST = 0.1  # of a run: a shorter beginning is not worth its checkpoint


@dataclass(frozen=True, slots=True)
class Stem:
    """A run up to a step, for others to go on from; plain JSON."""

    folder: str
    steps: int
    config: dict[str, Any]
    parent: "Stem | None"  # that it goes on from itself

    @classmethod
    def read(cls, content: Mapping[str, Any] | None) -> "Stem | None":
        return cls(**{**content, "parent": cls.read(content["parent"])}) if content else None

    def written(self) -> dict[str, Any]:
        return asdict(self)


class Beginnings:
    """The tree of a grid's configurations, which are told apart by a name of any kind."""

    def __init__(self, configs: Mapping[Any, LabConfig], folder: Path) -> None:
        self.configs, self.folder = configs, folder
        groups: dict[str, list[Any]] = {}
        for name, config in configs.items():
            groups.setdefault(_hash(config, BY_STEP), []).append(name)
        self.alike: dict[Any, dict[Any, int]] = {name: {} for name in configs}  # steps, by two of them
        for one, other in itertools.chain.from_iterable(itertools.combinations(members, 2) for members in groups.values()):
            self.alike[one][other] = self.alike[other][one] = steps_alike(configs[one], configs[other])

    def stem(self, name: Any, seed: int, below: float = float("inf")) -> Stem | None:
        """The longest beginning, of fewer than `below` steps, that a configuration under a seed shares with another."""
        steps = max((steps for steps in self._partings(name) if steps < below), default=None)
        if steps is None:
            return None
        first = next(other for other in self.configs if other == name or self.alike[name].get(other, 0) >= steps)
        config = self.configs[first].model_copy(update={"seed": seed})
        folder = str(self.folder / f"{_hash(config)}_{steps}")
        content = config.model_dump(mode="json") | {"run_dir": folder, "tracking": {"backend": "none"}}
        return Stem(folder, steps, content, self.stem(first, seed, steps))

    def _partings(self, name: Any) -> list[int]:
        """Steps at which others part from a configuration, after a beginning that is worth it."""
        least = LEAST * self.configs[name].scale.steps if name in self.configs else 0
        return [steps for steps in self.alike.get(name, {}).values() if steps >= least]

    def saved(self) -> tuple[int, int]:
        """Of one seed: the steps that need not be run, and all there are."""
        stems = {stem.folder: stem for name, config in self.configs.items() for stem in _line(self.stem(name, config.seed))}
        run = sum(stem.steps - (stem.parent.steps if stem.parent else 0) for stem in stems.values())
        run += sum(config.scale.steps - max(self._partings(name), default=0) for name, config in self.configs.items())
        whole = sum(config.scale.steps for config in self.configs.values())
        return whole - run, whole


def _hash(config: LabConfig, besides: Sequence[str] = ()) -> str:
    """Of all that is configured, but for names. What is no part of a recipe counts too: another number of threads rounds otherwise, and
    a budget ends a run."""
    content = {key: value for key, value in config.published().items() if key not in (*NAMES, *besides)}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _line(stem: Stem | None) -> list[Stem]:
    return [stem, *_line(stem.parent)] if stem else []


def steps_alike(one: LabConfig, other: LabConfig) -> int:
    """Steps from the first on that two configurations, which differ in their schedules alone, do alike to the last bit, and after
    which a run can be continued."""
    steps = min(_limits_alike(one, other), _rates_alike(one, other), one.scale.steps - 1)
    return max((step for step in range(1, steps + 1) if one.batch.ends_at(step)), default=0)


def _limits_alike(one: LabConfig, other: LabConfig) -> int:
    if one.length == other.length:
        return one.scale.steps
    if one.length.per_problem or other.length.per_problem:
        return 0  # a problem's limit depends on its answers
    schedules = [LengthSchedule(each.length, each.scale.completion_budget, each.scale.steps) for each in (one, other)]
    if schedules[0].maximum != schedules[1].maximum or any(schedule.state for schedule in schedules):
        return 0  # TRL is told the highest; and what a schedule has observed stands in its checkpoint
    limits = ([schedule.limit(step) for step in range(one.scale.steps)] for schedule in schedules)
    return _alike(*limits)


def _rates_alike(one: LabConfig, other: LabConfig) -> int:
    """One fewer than the steps whose rates are the same: a checkpoint holds the rate of the next one."""
    if one.lr == other.lr:
        return one.scale.steps
    return _alike(_rates(one), _rates(other)) - 1


def _rates(config: LabConfig) -> list[float]:
    import torch
    from transformers import get_scheduler

    fields = trainer_fields(config.lr, config.scale.steps)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=fields["learning_rate"])
    scheduler = get_scheduler(
        fields["lr_scheduler_type"], optimizer, fields["warmup_steps"], config.scale.steps, fields["lr_scheduler_kwargs"]
    )
    return [fields["learning_rate"] * scheduler.lr_lambdas[0](step) for step in range(config.scale.steps)]


def _alike(one: Sequence[float], other: Sequence[float]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=True)))
