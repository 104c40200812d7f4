"""What is checked and set before a run begins."""

import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from src.common.errors import UserError
from src.common.files import write_json
from src.config.tree import LabConfig
from src.data.problems import check_pools
from src.experiment.data import roles_to_load
from src.experiment.serving import check_server
from src.hardware.config import HardwareConfig, check_device, check_sharding
from src.hardware.ranks import is_first
from src.model.load import resolve
from src.plan.disk import check_disk
from src.plan.plan import Plan
from src.record.checkpoints import Checkpoints
from src.record.record import Record
from src.rollout.config import check_engine
from src.rollout.vllm import prepare_vllm_on_cpu

if TYPE_CHECKING:
    from src.experiment.data import Data


def heed_signals() -> None:
    """Rank 0 ends a run on SIGTERM, which Slurm sends, as it does on Ctrl-C; the other ranks go by what it decides."""
    signal.signal(signal.SIGTERM, signal.default_int_handler if is_first() else signal.SIG_IGN)
    if not is_first():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def check_machine(config: LabConfig) -> None:
    """Raise UserError for what this machine cannot do, before anything slow."""
    resolve(config.model)
    check_engine(config.rollout)
    check_pools(config.problems, roles_to_load(config))
    check_device(config.hardware)
    check_sharding(config.hardware)
    check_server(config)
    check_disk(config)


def prepare_libraries(config: LabConfig) -> None:
    """Set torch's threads, and keep transformers from drawing progress bars for files that are on this machine."""
    import torch
    import transformers

    if config.hardware.cpu_threads:
        torch.set_num_threads(config.hardware.cpu_threads)
    if config.rollout.engine == "vllm_colocate" and config.hardware.device == "cpu":
        prepare_vllm_on_cpu()
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


def open_record(config: LabConfig, data: "Data", folder: Path, plan: Plan | None) -> Record:
    """The run's folder: a new one, or the one to continue."""
    import pandas as pd

    from src.experiment.data import check_same_problems

    if config.resume:
        check_same_problems(pd.read_parquet(folder / "problems.parquet")["id"], data)
        check_same_sharding(folder, config.hardware)
        return Record.reopen(folder)
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    summary = {"experiment": config.name, "scale": config.scale.name, "seed": config.seed}
    record = Record.open(folder, text, summary | {"problems": data.report()})
    if plan:
        write_json(folder / "plan.json", asdict(plan))
    record.table("problems", pd.DataFrame([asdict(problem) for problem in data.presentations]))
    measured_on = {problem.id: problem for suite in (data.validation, *data.suites) for problem in suite.problems}
    record.table("evaluation/problems", pd.DataFrame([asdict(problem) for problem in measured_on.values()]))
    record.save()
    return record
