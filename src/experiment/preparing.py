"""What is checked and set before a run begins."""

import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from src.common.errors import UserError
from src.common.files import write_json
from src.common.types import Problem
from src.config.teacher import named_as_asked, teacher_of
from src.config.tree import LabConfig
from src.data.problems import check_pools
from src.experiment.data import roles_to_load
from src.experiment.serving import check_server
from src.hardware.config import HardwareConfig, check_device, check_sharding
from src.hardware.processes import endings
from src.hardware.ranks import is_first
from src.model.load import resolve
from src.plan.disk import check_disk
from src.plan.plan import Plan
from src.record.checkpoints import Checkpoints
from src.record.record import Record
from src.record.tracking import import_wandb, mode_of_environment
from src.rollout.config import check_engine
from src.training.own_terms import own_terms

if TYPE_CHECKING:
    from src.experiment.data import Data


def heed_signals() -> None:
    """Rank 0 ends a run on SIGTERM, which Slurm sends, and on SIGHUP, as it does on Ctrl-C; the other ranks go by what it
    decides."""
    for number in endings():
        signal.signal(number, signal.default_int_handler if is_first() else signal.SIG_IGN)


def check_machine(config: LabConfig) -> None:
    """Raise UserError for what this machine cannot do, before anything slow."""
    if config.tracking.backend == "wandb":
        mode_of_environment()
    check_sources(config)
    check_engine(config.rollout)
    check_device(config.hardware)
    check_sharding(config.hardware)
    check_server(config)
    check_disk(config)


def check_sources(config: LabConfig) -> None:
    """Raise UserError for a model, problems, a suite or a reward of one's own of which it shows without work that they are not there."""
    resolve(config.model)
    if teacher := teacher_of(config):
        with named_as_asked():
            resolve(teacher)
    check_pools(config.problems, roles_to_load(config))
    for name, suite in config.evaluation.suites.items():
        suite.pool.check(f"evaluation.suites.{name}.pool")
    own_terms(config.reward)


def prepare_libraries(config: LabConfig) -> None:
    """Set torch's threads, and keep transformers from drawing progress bars for files that are on this machine."""
    import_wandb()
    import torch
    import transformers

    if config.hardware.cpu_threads:
        torch.set_num_threads(config.hardware.cpu_threads)
    config.rollout.prepare(config.hardware.device)
    transformers.logging.set_verbosity_error()
    if Path(resolve(config.model)).is_dir():
        transformers.logging.disable_progress_bar()


def check_same_sharding(folder: Path, hardware: HardwareConfig) -> None:
    """Raise UserError where the last checkpoint is of another kind of sharding, or under ZeRO-2 of another number of
    processes, which DeepSpeed refuses."""
    sharding, parts = Checkpoints(folder / "checkpoints", kept=1).sharding()
    if sharding not in (None, hardware.sharding):
        raise UserError(f"resume: its optimiser was saved under another sharding; set hardware.sharding={sharding}")
    if sharding == "zero2" and parts != hardware.processes:
        raise UserError(
            f"resume: under hardware.sharding=zero2 the optimiser's state is in {parts} parts; set "
            f"hardware.processes={parts} (runs with hardware.sharding=none or fsdp2 go on with another number)"
        )


def open_record(config: LabConfig, data: "Data", folder: Path, plan: Plan | None, warn: Callable[[str], None]) -> Record:
    """The run's folder: a new one, or the one to continue."""
    if config.resume:
        record = Record.reopen(folder)
        try:
            check_problems_of(folder, *beforehand(config, data))
            check_same_sharding(folder, config.hardware)
            if faults := go_back(record, config.record.checkpoints_kept):
                warn(f"damaged checkpoints, put aside and not used: {'; '.join(faults)}")
        except BaseException:
            record.close()
            raise
        return record
    text = config_in_yaml(config)
    summary = {"experiment": config.name, "scale": config.scale.name, "seed": config.seed}
    record = Record.open(folder, text, summary | {"problems": data.report()}, config.grading.rules)
    if plan:
        write_json(folder / "plan.json", asdict(plan))
    name, problems = beforehand(config, data)
    record.problems(name, problems)
    measured_on = {problem.id: problem for suite in (data.validation, *data.suites) for problem in suite.problems}
    record.problems("evaluation/problems", measured_on.values())
    record.save()
    return record


def config_in_yaml(config: LabConfig) -> str:
    """As it stands in a run's folder."""
    return yaml.safe_dump(config.published(), sort_keys=False, allow_unicode=True)


def beforehand(config: LabConfig, data: "Data") -> tuple[str, Sequence[Problem]]:
    """What is known of a run's problems before it begins, and the table of the record that holds it: all that it is trained on,
    or where a selection draws from them as it goes, what it may draw."""
    return ("problems", data.presentations) if config.selection.walks else ("candidates", data.mix.problems)


def check_problems_of(folder: Path, name: str, problems: Sequence[Problem]) -> None:
    """Raise UserError where the run in `folder` began with other problems, or its table of them cannot be read."""
    import pandas as pd
    import pyarrow

    path = folder / f"{name}.parquet"
    try:
        recorded = pd.read_parquet(path, columns=["id"])["id"]
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise UserError(f"resume: {path} is missing or damaged; restore it, or start a new run") from error
    if list(recorded) != [problem.id for problem in problems]:
        raise UserError("resume: the problem files have changed since this run began; restore them or start a new run")


def go_back(record: Record, kept: int) -> list[str]:
    """Have the newest whole checkpoint be the newest; says what was wrong with those after it. Raises UserError where the
    record has lost steps that a checkpoint has."""
    checkpoints, metrics = Checkpoints(record.folder / "checkpoints", kept), record.metrics_sums()
    steps = checkpoints.steps()
    if steps and not any(checkpoints.fits(step, metrics) for step in steps):
        raise UserError(
            f"resume: {record.folder / 'metrics.jsonl'} is missing or damaged, and no checkpoint is as old as what is whole of "
            f"it ({len(metrics)} steps); restore it, or start a new run"
        )
    return checkpoints.go_back(metrics)
