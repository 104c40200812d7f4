"""The entry: what a multirun command line does. Everything is checked before the first trial starts."""

import importlib
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import optuna
import yaml
from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf
from optuna.trial import Trial, TrialState

from src.common.errors import INTERRUPTED, RunFailed, UserError
from src.common.files import NO_ROOM
from src.common.screen import duration
from src.common.secrets import without_password
from src.config.tree import LabConfig
from src.experiment.preparing import check_sources
from src.plan.pilots import noise_of_a_run
from src.scaling.stopping import narrow_enough
from src.sweep.beginnings import STEMS, Beginnings
from src.sweep.budget import CONFIRMED, Budget, Spending
from src.sweep.composer import Composer, base_of, check_subdirs, directions_of, objective_to_prune_on, seeds_of
from src.sweep.config import SweepConfig, parse_sweep, refuse_launcher
from src.sweep.confirm import check_confirm, confirmation
from src.sweep.engines.engine import TrialEngine
from src.sweep.engines.trial import TrialSpec
from src.sweep.fidelity import RUNG, check_fidelity, check_rungs, resources_of, rungs_of
from src.sweep.plan import beginnings_of, bill, check_sweep_disk, longest_first
from src.sweep.pruners import build_pruner
from src.sweep.results import write_results, write_yaml
from src.sweep.samplers import SamplerMaker, check_sampler, settled
from src.sweep.screen import SweepScreen
from src.sweep.space import Space, read_space, written
from src.sweep.study import Claims, open_storage, open_study, storage_in_words
from src.sweep.sweeper import Sweep, Sweeper, wait_for_end

ENDING_S = 600.0  # at most, for the steps in hand after Ctrl-C
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a scheduler's end, and a terminal's, are as good as Ctrl-C


def sweep(options: Mapping[str, Any], loader: ConfigLoader, master: DictConfig, arguments: list[str]) -> dict[str, Any]:
    """Carry out a sweep, or continue it; returns its summary; with plan=true only its bill. Raises UserError before the first trial, RunFailed after."""
    config = parse_sweep(
        {key: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for key, v in options.items()}
    )
    refuse_launcher(master.hydra.runtime.choices.get("hydra/launcher"))
    extend = _custom(config.custom_search_space)
    spaces = [  # of each rung, the real one last
        replace(read_space(config.params | rung, arguments, loader), options=hydra_options(master), extended=extend is not None)
        for rung in rungs_of(config.fidelity)
    ]
    space = spaces[-1]
    if space.seeds and (extend or config.seeds > 1):
        raise UserError("seed: several are given, and sweep.seeds or sweep.custom_search_space too; leave seed out, and give sweep.seeds")
    config = settled(config, space)
    n_trials: Any = config.n_trials
    if not space.distributions and not extend:
        raise UserError("sweep: nothing is varied; give sweep expressions such as 'mix.easy_share=interval(0,1)'")
    composer = Composer(loader, master)
    firsts = check_rungs(composer, spaces)
    first = firsts[-1]
    directions = directions_of(config, first)
    check_fidelity(config, spaces, arguments, len(directions))
    check_sampler(config.sampler, space, len(directions))
    check_confirm(config, composer, space, len(directions))
    if extend:
        composer.of_trial(space, suggested(extend, master, space, config, directions))
    pruner = build_pruner(config.pruner)
    objective, figure = objective_to_prune_on(config, first)
    folder, name = place_of(config, first, space, str(master.hydra.sweep.dir))
    check_sources(first)
    if first.plan:
        return bill(composer, spaces, config, n_trials, name, first, print)
    if (before := (_about(folder).get("sweep") or {}).get("seeds", config.seeds)) != config.seeds:
        raise UserError(f"sweep.seeds: the trials of {folder} have {before} each, not {config.seeds}; give sweep.seeds={before}, or another sweep.study_name")
    check_subdirs(composer, space)
    engine = _engine(config, first)
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"sweep.dir: cannot write {folder} ({error.strerror})") from error
        check_sweep_disk(firsts, config, n_trials, folder)
        with leaving_nothing(folder), storage_in_words(config.storage, UserError):
            storage = open_storage(config.storage, folder)
            base = base_of(first, space) | {"sweep.fidelity": str(config.fidelity and config.fidelity | {"resources": resources_of(config)})}
            study = open_study(storage, name, folder, directions, space, base)
        address = without_password(config.storage) if "://" in (config.storage or "") else config.storage
        write_yaml(
            folder / "sweep.yaml",
            {
                "study": name, "objectives": dict(zip(first.objectives, directions, strict=True)), "folder": str(folder),
                "storage": address or str(folder / "journal.log"), "options": list(space.options), "fixed": space.shown,
                "keys": space.keys, "space": space.described(), "sweep": config.model_dump(mode="json") | {"storage": address},
            },
        )
        with storage_in_words(config.storage, UserError):
            claims = Claims(study, folder, space, n_trials)
        screen = SweepScreen(study, first.objectives, n_trials)
        grid = longest_first(composer, space, n_trials)
        beginnings = beginnings_of(grid, space, config, folder)
        price = first.hardware.cost_usd(1.0)
        expected = [each.scale.reference_seconds_per_step and each.scale.reference_seconds_per_step * each.scale.steps for each in firsts]
        expected_s = config.seeds * sum(filter(None, expected)) if all(expected) else None
        parts = Sweep(
            config, study, space, folder, pruner,
            sampler=SamplerMaker(config.sampler, space, [point for point, _ in grid]),
            spec=SpecMaker(
                sweep=config, composer=composer, spaces=spaces, study=name, folder=folder, figure=figure, objective=objective,
                extend=extend, master=master, beginnings=beginnings,
            ),
            budget=Budget(config.budget, expected_s, expected_s and expected_s * price),
            price_usd_per_second=price, figure=figure, objective=objective,
            enough=config.stop_when and (lambda: narrow_enough(config.stop_when, folder / "trials")),
        )
        for note in space.notes:
            screen.note(note)
        if config.share_beginnings and not beginnings.configs:
            screen.note("sweep.share_beginnings: nothing is shared; it wants a grid without a pruner and without fidelities, in one process a trial")
        screen.note(f"sweep {name}: {n_trials} trials, {engine.slots} at once, in {folder}")
        with storage_in_words(config.storage, RunFailed), stopped_by_signals():
            noise = noise_of_a_run(first, first.objectives[0])
            search = Sweeper(parts, engine, claims, screen)
            results = partial(write_results, folder, study, first.objectives, space, noise=noise)
            summary = _carry_out(search, results)
            if search.ending is None:  # all trials are done
                shutil.rmtree(folder / STEMS, ignore_errors=True)
            if not config.confirm:
                return summary
            search._keep_clock()
            spent, why = search.spending(confirmed=False), summary["ended"]
            again = confirmation(search, storage, first)

            def with_confirmation(own: Spending, stopped: str | None) -> dict[str, Any]:
                study.set_user_attr(CONFIRMED, {"usd": own.usd, "hours": own.hours})
                both = replace(spent, usd=spent.usd + own.usd, hours=spent.hours + own.hours)
                return results(both, stopped or why, again=again.study)

            screen.note(f"confirming: {again.claims.n_trials} configurations on {config.confirm.seeds} fresh seeds, in {again.sweep.folder}")
            return _carry_out(again, with_confirmation)
    finally:
        engine.close()


def place_of(config: SweepConfig, first: LabConfig, space: Space, asked: str) -> tuple[Path, str]:
    """The sweep's folder and the study's name; `asked` is hydra.sweep.dir. A study that nobody named has a number behind its name
    where another space took that."""
    usual = first.choices.get("sweep") or first.choices.get("experiment") or "sweep"
    named = next((override for override in space.fixed if override.lstrip("+").startswith("name=")), None)
    name = config.study_name or (first.name if named else usual)
    if folder := config.dir or (asked if asked != "." else None):
        return Path(folder).resolve(), name
    sweeps = Path(first.output_root).resolve() / "sweeps"
    if config.study_name:
        return sweeps / name, name
    if named:  # which earlier versions did not heed
        earlier = named in _about(sweeps / usual).get("fixed", ())
        return (sweeps / usual, usual) if earlier else (sweeps / name, name)
    candidates = (name, *(f"{name}_{number}" for number in range(2, 1000)))
    found = next(each for each in candidates if _about(sweeps / each).get("space", space.described()) == space.described())
    return sweeps / found, found


def _about(folder: Path) -> dict[str, Any]:
    """What sweep.yaml says of the sweep in a folder; nothing without one. Where it is damaged, the journal says whose it is."""
    try:
        found = yaml.safe_load((folder / "sweep.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def leaving_nothing(folder: Path) -> Iterator[None]:
    """Where a sweep is refused inside, remove what was made for it in a folder that holds nothing else."""
    try:
        yield
    except UserError:
        if {path.name for path in folder.iterdir()} <= {"claim.lock"}:
            with suppress(OSError):
                (folder / "claim.lock").unlink(missing_ok=True)
                folder.rmdir()
        raise


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt, with the signal's name, at each of STOPPING; not at one that is ignored, as under nohup."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _carry_out(sweeper: Sweeper, results: Callable[[Spending, str | None], dict[str, Any]]) -> dict[str, Any]:
    """Run the loop; after Ctrl-C let the trials end in order, after a second one leave at once. `results` writes what came of it."""
    screen, config, folder = sweeper.screen, sweeper.sweep.config, sweeper.sweep.folder
    interrupted = False
    try:
        with screen:
            try:
                why = sweeper.run()
            except KeyboardInterrupt as stop:
                interrupted, why = True, f"stopped by {str(stop).replace('SIGINT', 'Ctrl-C')}"
                screen.note("stopping: the running trials finish the step in hand and save (again to leave at once)")
                sweeper.stop(why)
                wait_for_end(sweeper, ENDING_S)
                sweeper._keep_clock()
                sweeper.show()
    except KeyboardInterrupt:
        interrupted, why = True, "stopped at once"
    finally:
        sweeper.claims.close()
    summary = results(sweeper.spending(), why)
    say_summary(screen, summary, folder)
    if interrupted:
        screen.note("continue with the same command")
        sys.exit(INTERRUPTED)
    if sweeper.no_room_since is not None:
        raise RunFailed(f"sweep: {NO_ROOM} of {folder}; make some, and give the same command")
    failed = len(sweeper.study.get_trials(deepcopy=False, states=(TrialState.FAIL,)))
    if failed / sweeper.claims.n_trials > config.max_failure_rate:
        raise RunFailed(
            f"sweep: {failed} of {sweeper.claims.n_trials} trials failed, more than "
            f"max_failure_rate={config.max_failure_rate:g}; their reasons are in {folder}/trials.csv, their logs in logs/"
        )
    return summary


@dataclass(frozen=True)
class SpecMaker:
    """Makes what a trial's process has to know from the trial's parameters."""

    sweep: SweepConfig
    composer: Composer
    spaces: Sequence[Space]  # of each rung, the real one last
    study: str
    folder: Path
    figure: list[str]  # that the pruner looks at, its path in a validation's summary
    objective: int  # the place of the one that it belongs to
    extend: Callable[[DictConfig, Trial], None] | None  # adds the user's own parameters
    master: DictConfig
    beginnings: Beginnings

    @property
    def space(self) -> Space:
        return self.spaces[-1]

    def __call__(self, trial: Trial, now: float) -> TrialSpec:
        if self.extend:
            extended(self.extend, self.master, trial, self.space)
        title = " ".join(f"{name}={_shown(value)}" for name, value in trial.params.items())
        configs = [self.composer.of_trial(space, trial.params) for space in self.spaces]
        spec = self.spec(trial.number, title, configs, self.sweep.seeds, now, self.space.overrides(trial.params))
        stems = [self.beginnings.stem(self.space.point(trial.params), each["seed"]) for each in spec.configs]
        return replace(spec, stems=[stem.written() if stem else None for stem in stems])

    def spec(
        self, number: int, title: str, configs: Sequence[LabConfig], seeds: int, now: float, overrides: Sequence[str] | None = None
    ) -> TrialSpec:
        """Of a configuration at each rung over so many seeds, in this maker's folder; with `overrides` where hydra.sweep.subdir says."""
        label = f"{number:04d}"
        subdir = self.composer.subdir(number, overrides)
        folder = self.folder / (subdir or f"trials/{label}")
        folders = [folder / f"{RUNG}{rung}" for rung in range(1, len(configs) + 1)] if len(configs) > 1 else [folder]
        runs = [seeds_of(grouped(config, self.study), seeds, place) for config, place in zip(configs, folders, strict=True)]
        return TrialSpec(
            number=number, title=title, configs=list(chain.from_iterable(runs)), resources=resources_of(self.sweep)[-len(configs) :],
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


def _custom(path: str | None) -> Callable[[DictConfig, Trial], None] | None:
    """The function at a dotted path. Raises UserError if there is none."""
    if path is None:
        return None
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"sweep.custom_search_space: no function {path} ({error})") from error


def extended(extend: Callable[[DictConfig, Trial], None], master: DictConfig, trial: Trial, space: Space) -> None:
    """Have the user's function suggest its parameters. Raises UserError if it fails, or suggests what has a fixed value."""
    try:
        extend(master, trial)
    except Exception as error:
        raise UserError(f"sweep.custom_search_space: it raises {type(error).__name__} ({error})") from error
    fixed = {override.partition("=")[0].lstrip("+~"): override for override in space.fixed}
    if both := [name for name in trial.params if name.lstrip("+") in fixed]:
        key = both[0].lstrip("+")
        raise UserError(f"sweep.custom_search_space: it suggests {key}, whose value is fixed ({fixed[key]}); leave one of them out")


def suggested(
    extend: Callable[[DictConfig, Trial], None], master: DictConfig, space: Space, config: SweepConfig, directions: list[str]
) -> dict[str, Any]:
    """The parameters of a first trial, the user's function's among them, in a study that is thrown away."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trial = optuna.create_study(sampler=SamplerMaker(config.sampler, space)(0), directions=directions).ask()
    for name, distribution in space.distributions.items():
        trial._suggest(name, distribution)
    extended(extend, master, trial, space)
    return trial.params


def hydra_options(master: DictConfig) -> tuple[str, ...]:
    """What of Hydra's own options a single run needs to find what this sweep has found."""
    hydra = master.hydra
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    names = [f"--config-name={hydra.job.config_name}"] if hydra.job.config_name not in (None, "config") else []
    given: Any = OmegaConf.to_container(hydra.overrides.hydra)  # as written: hydra.sweep.subdir may name what only a job has
    paths = [override for override in given if override.lstrip("+").startswith("hydra.searchpath=")]
    return (*(f"--config-dir={folder}" for folder in folders), *names, *paths)


def _engine(config: SweepConfig, first: LabConfig) -> TrialEngine:
    gpus = first.hardware.gpus if config.gpus_per_trial is None else config.gpus_per_trial
    if config.engine == "ray":
        from src.sweep.engines.ray import RayEngine

        return RayEngine(config.n_jobs, config.cpus_per_trial, gpus, config.ray.address)
    from src.sweep.engines.local import LocalEngine

    return LocalEngine(config.n_jobs, gpus, config.heartbeat)


def confirmed_in_words(row: Mapping[str, Any]) -> str:
    """A line on a trial that was run again, or on the default recipe."""
    told = f"{row['confirmed']:.4f} ({row['low']:.4f} to {row['high']:.4f}) on fresh seeds"
    if row["trial"] is None:
        return f"the default recipe: {told}"
    against = row.get("against_default")
    beside = f"; against the default {against['mean']:+.4f} ({against['low']:+.4f} to {against['high']:+.4f})" if against else ""
    return f"trial {row['trial']} again: {told}, flattered by {row['flattered_by']:+.4f}{beside}"


def ranking_in_words(row: Mapping[str, Any]) -> str:
    """A line on how well one rung has ranked another."""
    told = f"{row['correlation']:.2f} ({row['low']:.2f} to {row['high']:.2f}) over the {row['trials']} trials that had both"
    return f"rung {row['rungs'][0]} ranked rung {row['rungs'][1]}: Spearman {told}; best were trials {row['best'][0]} and {row['best'][1]}"


def say_summary(screen: SweepScreen, summary: dict[str, Any], folder: Path) -> None:
    """The best, the importances, what pruning saved, and where everything is."""
    screen.note(f"{summary['ended']}: " + ", ".join(f"{count} {state}" for state, count in summary["trials"].items()))
    for best in summary["best"]:
        values = ", ".join(f"{key} {value:.4f}" for key, value in best["values"].items())
        expected = f", expected under other seeds {best['expected']:.4f}" if "expected" in best else ""
        seeds = f", the mean over seeds {', '.join(map(str, best['seeds']))}" if "seeds" in best else ""
        screen.note(f"best: trial {best['trial']}, {values}{seeds}{expected}")
        screen.note(f"  run it again: {best['command']}")
    for row in summary["confirmation"]:
        screen.note(f"  {confirmed_in_words(row)}")
    for row in summary["rankings"]:
        screen.note(f"  {ranking_in_words(row)}")
    for key, found in summary["importances"].items():
        if found:
            shares = ", ".join(f"{name} {v['importance']:.2f} ± {v['spread']:.2f}" for name, v in found.items())
            screen.note(f"importances for {key}: {shares}")
    saved, spent = summary["saved_by_pruning"], summary["spent"]
    screen.note(f"pruning saved about {duration(saved['seconds'])} of trials and ${saved['usd']:.2f}")
    bought = ", ".join(f"{state} ${v['usd']:.2f} {duration(v['seconds'])}" for state, v in summary["spent_by_state"].items())
    screen.note(f"spent: ${spent['usd']:.2f} in {spent['hours']:.2f} h ({bought})")
    screen.note(f"everything is in {folder}")
