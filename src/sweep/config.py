"""The keys of conf/hydra/sweeper/optuna.yaml, validated."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from src.common.base import Config
from src.common.errors import UserError, nearest
from src.config.faults import describe
from src.config.limits import LimitsConfig
from src.scaling.stopping import StopWhenConfig

# By the classes of Optuna and of hydra-optuna-sweeper; TPE does what MOTPE did.
OTHERWISE_CALLED = {"nop": "none", "successivehalving": "successive_halving", "motpe": "tpe", "raisemotperemoved": "tpe"}
SHORT = {"steps": "scale.steps", "data": "mix.size", "samples": "evaluation.validation.samples"}  # of fidelities, beside any key
Direction = Literal["maximize", "minimize"]


class BudgetConfig(LimitsConfig):
    """Limits on the whole study; null = none."""

    trials: int | None = Field(None, ge=1)


class ConfirmConfig(Config):
    """After a search: the best again, and the default recipe beside them, on seeds that the search has not seen."""

    top: int = Field(3, ge=1)
    seeds: int = Field(3, ge=2)


class RayConfig(Config):
    address: str = "auto"


class SweepConfig(Config):
    """How a sweep is run."""

    direction: Direction | list[Direction] | None = None
    storage: str | None = None
    study_name: str | None = None
    n_trials: int | None = Field(None, ge=1)
    n_jobs: int = 2
    max_failure_rate: float = Field(0.2, ge=0, le=1)
    sampler: dict[str, Any] = {"name": "tpe"}
    sizes: dict[str, dict[str, Any]] = {}
    params: dict[str, Any] = {}
    custom_search_space: str | None = None
    pruner: dict[str, Any] = {"name": "auto"}  # see samplers.settled
    prune_on: str | None = None
    fidelity: dict[str, list[Any]] = {}  # by key, the values of each rung
    keep_pruned_checkpoints: bool = False
    seeds: int = Field(1, ge=1)
    confirm: ConfirmConfig | None = None
    share_beginnings: bool = False
    retries: int = Field(1, ge=0)
    heartbeat: float = Field(60, gt=0)  # seconds
    trial_limit_s: float | None = Field(None, gt=0)
    dir: str | None = None
    budget: BudgetConfig = BudgetConfig()
    stop_when: StopWhenConfig | None = None
    engine: Literal["local", "ray"] = "local"
    gpus_per_trial: int | None = Field(None, ge=0)
    cpus_per_trial: int = Field(1, ge=1)
    ray: RayConfig = RayConfig()

    def runs(self, n_trials: float) -> float:
        """Of so many trials and of what is confirmed, the default recipe among it."""
        confirmed = (min(self.confirm.top, n_trials) + 1) * self.confirm.seeds if self.confirm else 0
        return n_trials * self.seeds + confirmed

    @field_validator("n_jobs")
    @classmethod
    def _some_slot(cls, n_jobs: int) -> int:
        if n_jobs < 1:
            raise ValueError(f"{n_jobs} slots can run no trial; give at least 1")
        return n_jobs

    @model_validator(mode="before")
    @classmethod
    def _no_search_space(cls, options: Any) -> Any:
        """The form in which hydra-optuna-sweeper took its space before it had `params`; null in configs dumped by it."""
        if options.get("search_space"):
            raise ValueError(
                "search_space is the form of hydra-optuna-sweeper before params; write its entries there, such as 'interval(0,1)' "
                "for {type: float, low: 0, high: 1}, 'int(interval(1,8))' for int, 'choice(a,b)' for categorical, "
                "'tag(log,interval(1e-5,1e-3))' for log: true"
            )
        return {key: value for key, value in options.items() if key != "search_space"}

    @field_validator("params", mode="before")
    @classmethod
    def _no_params(cls, params: Any) -> Any:
        return {} if params is None else params

    @field_validator("fidelity")
    @classmethod
    def _as_many_of_each(cls, fidelity: dict[str, list[Any]]) -> dict[str, list[Any]]:
        counts = [len(values) for values in fidelity.values()]
        if fidelity and (len(set(counts)) > 1 or counts[0] < 2):
            raise ValueError(f"lists of {', '.join(map(str, counts))}; give each as many values, one a rung, at least 2")
        if twice := next((key for key in fidelity if SHORT.get(key) in fidelity), None):
            raise ValueError(f"{twice} and {SHORT[twice]} are the same; leave one of them out")
        return {SHORT.get(key, key): values for key, values in fidelity.items()}

    @field_validator("sampler", "pruner", mode="before")
    @classmethod
    def _named(cls, options: Any) -> Any:
        """`tpe`, `{name: tpe}` and the `_target_` of hydra-optuna-sweeper's configs are the same."""
        if options is None or isinstance(options, str):
            return {"name": options or "none"}
        if isinstance(options, Mapping) and "_target_" in options:
            rest = {key: value for key, value in options.items() if key not in ("_target_", "_partial_", "name")}
            return {"name": _name_of_target(str(options["_target_"]))} | rest
        return options


def _name_of_target(target: str) -> str:
    """`optuna.samplers.TPESampler` and `...create_nsgaii_sampler` are tpe and nsgaii."""
    name = target.rpartition(".")[2].removeprefix("create_").lower().replace("_", "")
    name = name.removesuffix("sampler").removesuffix("pruner")
    return OTHERWISE_CALLED.get(name, name)


def parse_sweep(options: Mapping[str, Any]) -> SweepConfig:
    """Validate the sweeper's keys. Raises UserError with one line that names every fault."""
    try:
        return SweepConfig.model_validate(dict(options))
    except ValidationError as error:
        faults = (describe(SweepConfig, detail) for detail in error.errors(include_url=False))
        raise UserError("; ".join(_of_the_sweep(fault) for fault in faults)) from error


def refuse_launcher(launcher: str | None) -> None:
    """Raise UserError for one of Hydra's, which would be asked for nothing."""
    if launcher not in (None, "basic"):
        raise UserError(
            f"hydra/launcher={launcher}: the sweeper starts its trials itself; leave it out, and give sweep.n_jobs=<trials at once>, "
            "on several machines with sweep.engine=ray"
        )


def _of_the_sweep(fault: str) -> str:
    unknown = "no key or group "
    return f"sweep: no key {fault.removeprefix(unknown)}" if fault.startswith(unknown) else f"sweep.{fault}"


def named(kind: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name under `options` and its other options, those left empty dropped. Raises UserError for an unknown name."""
    if "name" not in options:
        choose = "hydra/sweeper/sampler=<name> beside them" if kind == "sampler" else f"sweep.{kind}={{name: ..., ...}}, all in one"
        raise UserError(f"sweep.{kind}: options without a name; give {choose}")
    name = str(options["name"])
    if name not in known:
        raise UserError(f"sweep.{kind}: no {kind} is called {name}; {nearest(name, known)}")
    return name, {key: value for key, value in options.items() if key != "name" and value is not None}
