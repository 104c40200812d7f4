"""The `tracking` group: mirror a run to Weights & Biases. Nothing that W&B does or fails to do stops a run.

Everything that is sent stands in the record already, and tables are read from it: without W&B nothing is lost.
"""

import atexit
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from src.common.base import Config
from src.common.errors import UserError, nearest
from src.common.hub import hub_answers

if TYPE_CHECKING:
    import pandas as pd

    from src.record.record import Record

TABLE_ROWS = 64  # completions in one table; the record has them all
# Further x axes: the first part of a metric's name there, and the column of metrics.jsonl that grows along it.
AXES = {"over_tokens": "completion_tokens", "over_cost": "cost_usd", "over_time": "seconds/total"}
SUMMARY_KEYS = ("status", "reason", "objective", "steps", "best_step", "evaluation", "cost", "commit", "versions")
OVER_AXES = ("validation/accuracy", "accuracy", "reward/mean")  # the metrics that are shown over them too


def _project(name: str) -> str:
    if not name or len(name) > 128 or set(name) & set("/\\#?%:"):  # as wandb checks it when a run has started
        raise ValueError("must be a name of up to 128 characters without / \\ # ? % :")
    return name


Project = Annotated[str, AfterValidator(_project)]
MODES = ("online", "offline", "shared", "disabled")  # of WANDB_MODE; its others are older words for these


class Wandb(Config):
    backend: Literal["wandb"]
    project: Project
    entity: str | None
    group: str | None  # null = the sweep's name, without a sweep the experiment's
    mode: Literal["auto", "online", "offline"]  # auto = WANDB_MODE, else online where a key is set, else offline
    init_timeout_s: float = Field(gt=0)  # how long the start of a run may wait for W&B
    finish_timeout_s: float = Field(default=120, gt=0)  # and its end; what is not sent by then stays on disk for `wandb sync`


class NoTracking(Config):
    backend: Literal["none"]


TrackingConfig = Annotated[Wandb | NoTracking, Field(discriminator="backend")]


def import_wandb() -> None:
    """Import wandb, which makes two temporary folders for the life of the process, into one folder that the next process
    clears where this one is killed. Before TRL, which imports it too."""
    root = Path(tempfile.gettempdir()) / f"grpo-lab-{os.getuid()}"
    for left in root.glob("[0-9]*"):
        if not Path(f"/proc/{left.name}").exists():
            shutil.rmtree(left, ignore_errors=True)
    own = root / str(os.getpid())
    own.mkdir(parents=True, exist_ok=True)
    before, tempfile.tempdir = tempfile.tempdir, str(own)
    try:
        import wandb  # noqa: F401
    finally:
        tempfile.tempdir = before
        atexit.register(shutil.rmtree, own, ignore_errors=True)


def mode_of_environment() -> str | None:
    """What WANDB_MODE asks for, None where it is not set or empty. Raises UserError for what is no mode."""
    mode = {"run": "online", "dryrun": "offline"}.get(mode := os.environ.get("WANDB_MODE", ""), mode)
    if mode and mode not in MODES:
        raise UserError(f"WANDB_MODE: W&B has no mode {mode}; {nearest(mode, MODES)}")
    return mode or None


class Tracker:
    """Sends a run's numbers and tables to W&B. After the first failure it says so once and stays silent."""

    def __init__(self, config: TrackingConfig, warn) -> None:
        self.config, self.warn = config, warn
        self.run: Any = None
        self.page: str | None = None  # of the run on W&B's server
        self.sync: str | None = None  # the command that sends it there, where it was kept on this machine

    def _try(self, call, *args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever W&B raises, training goes on
            self.warn(f"W&B tracking stopped ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''});"
                      " the run goes on and its record is complete")
            self.run = None
            return None

    def start(self, record: "Record", config: Mapping[str, Any]) -> None:
        """Open the W&B run of a record, the same one again where the record is continued. `config` is as in config.yaml."""
        if self.config.backend == "wandb" and (mode := self._try(self._mode)) not in (None, "disabled"):
            self.folder = record.folder
            self.run = self._try(self._start, record, config, mode)

    def _mode(self) -> str:
        import wandb

        if self.config.mode != "auto":
            return self.config.mode
        return mode_of_environment() or ("online" if wandb.login(prompt=False, verify=False) else "offline")

    def _start(self, record: "Record", config: Mapping[str, Any], mode: str):
        import wandb

        if mode == "online" and not hub_answers(address := wandb.setup().settings.base_url):
            self.warn(f"W&B does not answer at {address}: the run goes on, and is kept in {record.folder}/wandb for `wandb sync`")
            mode = "offline"
        identity = record.summary.get("wandb") or {"id": uuid.uuid4().hex[:12]}
        record.save(wandb=identity)  # before W&B knows of it: a run that is killed now goes on under the same id
        run = wandb.init(
            project=self.config.project,
            entity=self.config.entity,
            mode=mode,
            dir=str(record.folder),
            id=identity["id"],
            resume="allow",
            name=name_of(record.folder, Path(config["output_root"])),
            group=self.config.group or config["name"],
            tags=[f"{group}={choice}"[:64] for group, choice in sorted(config["choices"].items())],
            config=dict(config),
            settings=wandb.Settings(
                silent=True, init_timeout=self.config.init_timeout_s, finish_timeout=self.config.finish_timeout_s,
                finish_timeout_raises=True,
            ),
        )
        kept = str(Path(run.dir).parent)
        self.page, self.sync = run.url if mode == "online" else None, f"wandb sync {kept}" if mode == "offline" else None
        record.save(wandb=identity | {"project": run.project, "entity": run.entity or None})
        run.define_metric("*", step_metric="step")
        for axis, column in AXES.items():
            for metric in OVER_AXES:
                run.define_metric(f"{axis}/{metric}", step_metric=column)
        return run

    def log(self, metrics: dict[str, Any]) -> None:
        """Send a step's line, and the completions that the record keeps of this step."""
        if self.run:
            self._try(self._log, {key: value for key, value in metrics.items() if value is not None})

    def _log(self, numbers: dict[str, Any]) -> None:
        step = numbers["step"]
        axes = [axis for axis, column in AXES.items() if numbers.get(column)]  # a machine without a price has no cost
        over = {f"{axis}/{metric}": numbers[metric] for axis in axes for metric in OVER_AXES if metric in numbers}
        self.run.log(numbers | over | dict(completion_tables(self.folder, step)), step=step)

    def finish(self, summary: dict[str, Any]) -> None:
        """Send the summary and the evaluation, and close. A run that did not end in order counts as crashed there."""
        if self.run:
            self._try(self._finish, self.run, summary)

    def _finish(self, run, summary: dict[str, Any]) -> None:
        try:
            run.summary.update({key: summary[key] for key in SUMMARY_KEYS if key in summary})
            if summary["status"] == "complete":
                self._evaluation(run, summary["evaluation"])
        finally:
            run.finish(exit_code=0 if summary["status"] in ("complete", "pruned", "interrupted") else 1)

    def _evaluation(self, run, figures: dict[str, Any]) -> None:
        """The rows of every suite and moment as an artifact of tables, without the completions' text."""
        import pandas as pd
        import wandb

        artifact = wandb.Artifact(f"evaluation-{run.id}", type="evaluation", metadata={"figures": figures})
        for suite in figures:
            paths = {when: self.folder / "evaluation" / f"{suite}_{when}.parquet" for when in ("before", "after", "best")}
            parts = [
                pd.read_parquet(path).drop(columns="text").assign(weights=when) for when, path in paths.items() if path.is_file()
            ]
            artifact.add(_table(pd.concat(parts, ignore_index=True)), suite)
        run.log_artifact(artifact)


def name_of(folder: Path, output_root: Path) -> str:
    """A run's name: where its folder lies, as in `mix_easy_hard/2026-01-31_12-00-00` or `sweeps/lr/trials/0003/seed_42`."""
    folder, root = folder.resolve(), output_root.resolve()
    return str(folder.relative_to(root) if folder.is_relative_to(root) else folder.name)


def completion_tables(folder: Path, step: int) -> Iterator[tuple[str, Any]]:
    """Tables of what was sampled at a step: for training, and where the step was validated one answer to each problem."""
    import pandas as pd

    training = folder / "completions" / f"step_{step:05d}.parquet"
    if training.is_file():
        yield "completions/training", _table(pd.read_parquet(training).head(TABLE_ROWS))
    validation = folder / "evaluation" / f"validation_step_{step:05d}.parquet"
    if validation.is_file():
        rows = pd.read_parquet(validation)
        yield "completions/validation", _table(rows[rows["sample"] == 0].head(TABLE_ROWS))


def _table(rows: "pd.DataFrame") -> Any:
    import wandb

    return wandb.Table(columns=list(rows.columns), data=rows.values.tolist())
