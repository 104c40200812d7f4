"""From a command line to trials: the configuration of each, all of them checked before the first one starts."""

import functools
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from src.common.errors import UserError, nearest
from src.config.tree import LabConfig
from src.record.recipe import PRICE, counts, flat, within
from src.sweep.config import SweepConfig
from src.sweep.space import Space, written

SMALLER_IS_BETTER = ("mean_tokens", "truncated_share", "context_full_share", "usd", "gpu_hours", "completion_tokens", "flops.total")


class Composer:
    """Composes configurations as Hydra would for a job of this command line."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self._by_groups: dict[tuple[str, ...], tuple[bytes, dict[str, str]]] = {}
        self._group = functools.cache(lambda name: bool(loader.get_group_options(name)))  # Hydra reads folders anew each time
        self._parser = OverridesParser.create()

    def config(self, overrides: Sequence[str]) -> LabConfig:
        """The validated configuration of a command line. Raises UserError and Hydra's errors."""
        from src.config.continuing import config_from

        content, choices = self._composed(overrides)
        return config_from(OmegaConf.to_container(OmegaConf.create(content), resolve=True), choices)

    def of_trial(self, space: Space, params: Mapping[str, Any]) -> LabConfig:
        """The same for a trial's parameters, quickly: Hydra composes once for each choice of groups.

        Values take their places afterwards, as Hydra does it too.
        """
        from src.config.continuing import config_from

        groups = {name: value for name, value in params.items() if self._group(name.lstrip("+"))}
        key = tuple(space.overrides(groups))
        if key not in self._by_groups:
            content, choices = self._composed(key)
            self._by_groups[key] = pickle.dumps(OmegaConf.create(content)), choices
        pickled, choices = self._by_groups[key]
        config = pickle.loads(pickled)  # a quarter of the time that building or copying it takes
        for name, value in params.items():
            if name not in groups:
                parsed = self._parser.parse_override(f"{name}={written(value)}")
                OmegaConf.update(config, name.lstrip("+"), parsed.value(), force_add=True)
        return config_from(OmegaConf.to_container(config, resolve=True), choices)

    def subdir(self, number: int, overrides: Sequence[str] | None) -> str | None:
        """`hydra.sweep.subdir` of a job of these overrides; None where it was not given, or they are not."""
        if self.master.hydra.sweep._get_node("subdir")._value() == "." or overrides is None:
            return None
        composed = self.loader.load_sweep_config(self.master, list(overrides))
        with open_dict(composed):
            composed.hydra.job.num, composed.hydra.job.id = number, str(number)
        return str(composed.hydra.sweep.subdir)

    def _composed(self, overrides: Sequence[str]) -> tuple[Any, dict[str, str]]:
        """Plain content, its interpolations open, and the option chosen in each group."""
        composed = self.loader.load_sweep_config(self.master, list(overrides))
        choices = {
            group: name for group, name in composed.hydra.runtime.choices.items() if "/" not in group and name
        }
        with open_dict(composed):
            del composed["hydra"]
        return OmegaConf.to_container(composed), choices


def check_subdirs(composer: Composer, space: Space) -> None:
    """Raise UserError where two trials would have one folder."""
    firsts = {name: ends(distribution)[0] for name, distribution in space.distributions.items()}
    first = composer.subdir(0, space.overrides(firsts))
    if first is None or composer.subdir(1, space.overrides(firsts)) != first:
        return
    for name, distribution in space.distributions.items():
        if any(composer.subdir(0, space.overrides(firsts | {name: value})) == first for value in ends(distribution)[1:]):
            raise UserError(f"hydra.sweep.subdir: {first} would be the folder of trials that differ in {name}; put ${{hydra.job.num}} or ${{{name}}} into it")


def check_all(composer: Composer, space: Space) -> LabConfig:
    """Compose and validate each choice and both ends of each range once, the others at their first value.

    Returns the configuration of the first values.
    """
    firsts = {name: ends(distribution)[0] for name, distribution in space.distributions.items()}
    first = composer.config(space.overrides(firsts))
    for name, distribution in space.distributions.items():
        for value in ends(distribution)[1:]:
            composer.of_trial(space, firsts | {name: value})
    return first


def ends(distribution: BaseDistribution) -> list[Any]:
    """Values that show whether a parameter's values are allowed."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return [distribution.low] if distribution.single() else [distribution.low, distribution.high]


def directions_of(sweep: SweepConfig, config: LabConfig) -> list[str]:
    """A direction for each objective. Raises UserError if their numbers differ."""
    asked = [sweep.direction] if isinstance(sweep.direction, str) else sweep.direction
    if asked is None:
        return ["minimize" if key.endswith(SMALLER_IS_BETTER) else "maximize" for key in config.objectives]
    if len(asked) != len(config.objectives):
        raise UserError(
            f"sweep.direction: {len(asked)} given for {len(config.objectives)} objectives ({', '.join(config.objectives)})"
        )
    return list(asked)


def objective_to_prune_on(sweep: SweepConfig, config: LabConfig) -> tuple[int, list[str]]:
    """The place of the objective that the pruner looks at, and its figure's path in a validation's summary.

    The path is empty where no run is pruned on its way. Raises UserError if validation does not measure the objective.
    """
    keys = config.objectives
    if sweep.prune_on is not None and sweep.prune_on not in keys:
        raise UserError(f"sweep.prune_on: {sweep.prune_on} is no objective of this sweep; {nearest(sweep.prune_on, keys)}")
    key = sweep.prune_on or keys[0]
    if sweep.pruner["name"] == "none" or sweep.fidelity:
        return keys.index(key), []
    parts = key.split(".")
    if parts[0] != "evaluation" or "gain" in parts:
        raise UserError(
            f"sweep.prune_on: {key} is not known before the end of a run; name an objective of evaluation.validation, "
            "or set sweep.pruner=none"
        )
    return keys.index(key), parts[3:]


def base_of(config: LabConfig, space: Space) -> dict[str, str]:
    """What is the same in all trials of a study, by key, as text; keys of swept groups are left out."""
    swept, in_dollars = tuple(space.distributions), any(key.endswith(".usd") for key in config.objectives)
    return {
        key: str(value)
        for key, value in flat(config.model_dump(mode="json")).items()
        if (counts(key) or in_dollars and key == PRICE) and not within(key, swept)  # dollars are compared at one price
    }


def counting(known: Mapping[str, str], base: Mapping[str, str]) -> dict[str, str]:
    """Of a stored base, which may be an earlier version's, the keys that count, or do in the `base` that is asked for."""
    return {key: value for key, value in known.items() if key in base or counts(key)}


def seeds_of(config: LabConfig, seeds: int, folder: Path) -> list[dict[str, Any]]:
    """The configuration for each seed of a trial, with its run folder: the trial's own, or one below it for each seed."""
    configs = []
    for number in range(seeds):
        seed = config.seed + number
        run_dir = folder if seeds == 1 else folder / f"seed_{seed}"
        own = {"seed": seed, "run_dir": str(run_dir), "record": config.record.of_a_trial()}
        configs.append(config.model_copy(update=own).model_dump(mode="json"))
    return configs
