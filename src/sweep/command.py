"""The entry: what a multirun command line does. Everything is checked before the first trial starts."""

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf
from optuna.trial import Trial

from src.common.errors import RunFailed, UserError
from src.common.screen import duration
from src.config.tree import LabConfig
from src.scaling.stopping import narrow_enough
from src.sweep.budget import Budget
from src.sweep.composer import Composer, base_of, check_all, directions_of, objective_to_prune_on, seeds_of
from src.sweep.config import SweepConfig, parse_sweep
from src.sweep.engines.engine import TrialEngine
from src.sweep.engines.trial import TrialSpec
from src.sweep.plan import bill, check_sweep_disk
from src.sweep.pruners import build_pruner
from src.sweep.results import write_results, write_yaml
from src.sweep.samplers import SamplerMaker, check_sampler
from src.sweep.screen import SweepScreen
from src.sweep.space import Space, read_space, written
from src.sweep.study import Claims, open_storage, open_study, without_password
from src.sweep.sweeper import Sweep, Sweeper, wait_for_end

INTERRUPTED = 130  # exit code
ENDING_S = 600.0  # at most, for the steps in hand after Ctrl-C


def sweep(options: Mapping[str, Any], loader: ConfigLoader, master: DictConfig, arguments: list[str]) -> dict[str, Any]:
    """Carry out a sweep, or continue it; returns its summary; with plan=true only its bill. Raises UserError before the first trial, RunFailed after."""
    config = parse_sweep(
        {key: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for key, v in options.items()}
    )
    space = read_space(config.params, arguments)
    extend = _custom(config.custom_search_space)
    if not space.distributions and not extend:
        raise UserError("sweep: nothing is varied; give sweep expressions such as 'mix.easy_share=interval(0,1)'")
    composer = Composer(loader, master)
    first = check_all(composer, space)
    directions = directions_of(config, first)
    check_sampler(config.sampler, space, len(directions))
    pruner = build_pruner(config.pruner)
    objective, figure = objective_to_prune_on(config, first)
    n_trials = config.n_trials
    if config.sampler["name"] == "grid":
        n_trials = min(n_trials, _points(space))
    name = config.study_name or first.choices.get("sweep") or first.choices.get("experiment") or "sweep"
    if first.plan:
        return bill(composer, space, config, n_trials, name, first, print)
    engine = _engine(config, first)
    try:
        folder = Path(config.dir or Path(first.output_root) / "sweeps" / name).resolve()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"sweep.dir: cannot write {folder} ({error.strerror})") from error
        check_sweep_disk(first, config, n_trials, folder)
        storage = open_storage(config.storage, folder)
        study = open_study(storage, name, folder, directions, space, base_of(first, space))
        address = without_password(config.storage) if "://" in (config.storage or "") else config.storage
        write_yaml(
            folder / "sweep.yaml",
            {
                "study": name, "objectives": dict(zip(first.objectives, directions, strict=True)),
                "storage": address or str(folder / "journal.log"), "fixed": list(space.fixed),
                "space": space.described(), "sweep": config.model_dump(mode="json") | {"storage": address},
            },
        )
        claims = Claims(study, folder, space, n_trials)
        screen = SweepScreen(study, first.objectives, n_trials)
        price = first.hardware.cost_usd(1.0)
        expected_s = first.scale.reference_seconds_per_step and first.scale.reference_seconds_per_step * first.scale.steps
        parts = Sweep(
            config, study, space, folder, pruner,
            sampler=SamplerMaker(config.sampler, space),
            spec=SpecMaker(config, composer, space, name, folder, figure, objective, extend, master),
            budget=Budget(config.budget, expected_s, expected_s and expected_s * price * config.seeds),
            price_usd_per_second=price, figure=figure, objective=objective,
            enough=config.stop_when and (lambda: narrow_enough(config.stop_when, folder / "trials")),
        )
        screen.note(f"sweep {name}: {n_trials} trials, {engine.slots} at once, in {folder}")
        return _carry_out(Sweeper(parts, engine, claims, screen), folder, first)
    finally:
        engine.close()


def _carry_out(sweeper: Sweeper, folder: Path, first: LabConfig) -> dict[str, Any]:
    """Run the loop; after Ctrl-C let the trials end in order, after a second one leave at once."""
    screen, config = sweeper.screen, sweeper.sweep.config
    interrupted = False
    try:
        with screen:
            try:
                why = sweeper.run()
            except KeyboardInterrupt:
                interrupted, why = True, "stopped by Ctrl-C"
                screen.note("stopping: the running trials finish the step in hand and save (again to leave at once)")
                sweeper.stop(why)
                wait_for_end(sweeper, ENDING_S)
                sweeper._keep_clock()
    except KeyboardInterrupt:
        interrupted, why = True, "stopped at once"
    finally:
        sweeper.claims.close()
    spending = sweeper.spending()
    summary = write_results(folder, sweeper.study, first.objectives, sweeper.sweep.space, spending, why)
    say_summary(screen, summary, folder)
    if interrupted:
        screen.note("continue with the same command")
        sys.exit(INTERRUPTED)
    failed = summary["trials"].get("fail", 0)
    if failed / sweeper.claims.n_trials > config.max_failure_rate:
        raise RunFailed(
            f"sweep: {failed} of {sweeper.claims.n_trials} trials failed, more than "
            f"max_failure_rate={config.max_failure_rate:g}; their reasons are in {folder}/trials.csv, their logs in logs/"
        )
    return summary


class SpecMaker:
    """Makes what a trial's process has to know from the trial's parameters."""

    def __init__(
        self, sweep: SweepConfig, composer: Composer, space: Space, study: str, folder: Path, figure: list[str],
        objective: int, extend: Callable[[DictConfig, Trial], None] | None, master: DictConfig,
    ) -> None:
        self.sweep, self.composer, self.space, self.study, self.folder = sweep, composer, space, study, folder
        self.figure, self.objective, self.extend, self.master = figure, objective, extend, master

    def __call__(self, trial: Trial, now: float) -> TrialSpec:
        if self.extend:
            self.extend(self.master, trial)
        config = grouped(self.composer.of_trial(self.space, trial.params), self.study)
        label = f"{trial.number:04d}"
        folder = self.folder / "trials" / label
        return TrialSpec(
            number=trial.number,
            title=" ".join(f"{name}={_shown(value)}" for name, value in trial.params.items()),
            configs=seeds_of(config, self.sweep.seeds, folder),
            folder=str(folder), control=str(self.folder / "control" / label), log=str(self.folder / "logs" / f"{label}.log"),
            figure=self.figure, objective=self.objective,
            keep_pruned_checkpoints=self.sweep.keep_pruned_checkpoints, heartbeat_s=self.sweep.heartbeat,
            environment={}, asked_at=now,
        )


def grouped(config: LabConfig, study: str) -> LabConfig:
    """The configuration with its W&B run in the group of the study, where no other group was asked for."""
    if config.tracking.backend == "none" or config.tracking.group:
        return config
    return config.model_copy(update={"tracking": config.tracking.model_copy(update={"group": study})})


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else written(value)


def _points(space: Space) -> int:
    count = 1
    for values in space.points().values():
        count *= len(values)
    return count


def _custom(path: str | None) -> Callable[[DictConfig, Trial], None] | None:
    """The function at a dotted path. Raises UserError if there is none."""
    if path is None:
        return None
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"sweep.custom_search_space: no function {path} ({error})") from error


def _engine(config: SweepConfig, first: LabConfig) -> TrialEngine:
    gpus = first.hardware.gpus if config.gpus_per_trial is None else config.gpus_per_trial
    if config.engine == "ray":
        from src.sweep.engines.ray import RayEngine

        return RayEngine(config.n_jobs, config.cpus_per_trial, gpus, config.ray.address)
    from src.sweep.engines.local import LocalEngine

    return LocalEngine(config.n_jobs, gpus)


def say_summary(screen: SweepScreen, summary: dict[str, Any], folder: Path) -> None:
    """The best, the importances, what pruning saved, and where everything is."""
    screen.note(f"{summary['ended']}: " + ", ".join(f"{count} {state}" for state, count in summary["trials"].items()))
    for best in summary["best"]:
        values = ", ".join(f"{key} {value:.4f}" for key, value in best["values"].items())
        screen.note(f"best: trial {best['trial']}, {values}")
        screen.note(f"  run it again: {best['command']}")
    for key, found in summary["importances"].items():
        if found:
            shares = ", ".join(f"{name} {v['importance']:.2f} ± {v['spread']:.2f}" for name, v in found.items())
            screen.note(f"importances for {key}: {shares}")
    saved, spent = summary["saved_by_pruning"], summary["spent"]
    screen.note(f"pruning saved about {duration(saved['seconds'])} of trials and ${saved['usd']:.2f}")
    bought = ", ".join(f"{state} ${v['usd']:.2f} {duration(v['seconds'])}" for state, v in summary["spent_by_state"].items())
    screen.note(f"spent: ${spent['usd']:.2f} in {spent['hours']:.2f} h ({bought})")
    screen.note(f"everything is in {folder}")
