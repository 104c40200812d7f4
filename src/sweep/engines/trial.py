"""What runs in a trial's process: one configuration, over its seeds, from wherever its folders say it stands."""

import faulthandler
import json
import math
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from src.common.errors import BAD_INPUT, INTERRUPTED, RunFailed, UserError
from src.common.files import NO_ROOM, finds_no_room
from src.common.locks import FileLock, is_held
from src.common.pace import HANGS, PACE
from src.common.secrets import only_known, without_secrets
from src.config.tree import LabConfig, parse
from src.hardware.launch import launch, needs_launch
from src.hardware.processes import children, kill_group
from src.record.checkpoints import Checkpoints
from src.record.record import Record, look_up, read_summary
from src.sweep.beginnings import Stem
from src.sweep.engines.channel import Channel, Outcome, Report

if TYPE_CHECKING:
    from src.evaluation.evaluator import Measured

BEGINNING = "beginning.json"  # in a run's folder: what of its cost others paid, who made the beginning that it shares
LOCK_TIMEOUT_S = 60.0  # for an earlier attempt's process to be gone
# Of a run, what may have been another when it was made: where it lies, and what changes nothing of what is learnt.
ELSEWHERE = {"run_dir", "resume", "output_root", "name", "choices", "tracking", "budget", "plan", "hub", "hardware"}


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """All that a trial's process has to know; plain JSON."""

    number: int
    title: str  # its parameters, for the first line of its log
    configs: list[dict[str, Any]]  # one for each seed, `run_dir` set; of each rung, the lowest first
    folder: str
    control: str
    log: str
    figure: list[str]  # path of the figure to prune on in a measurement's summary; empty = no reports
    objective: int  # place of the objective to prune on
    keep_pruned_checkpoints: bool
    heartbeat_s: float
    environment: dict[str, str]
    asked_at: float  # time.monotonic() when the slot was free for it
    stems: list[dict[str, Any] | None] = field(default_factory=list)  # `beginnings`, written; empty where none is shared
    resources: list[int] = field(default_factory=lambda: [1])  # of each rung, what the pruner is told in place of a step

    @property
    def beginnings(self) -> list[Stem | None]:
        """Of each seed the beginning that it shares with others."""
        return [Stem.read(stem) for stem in self.stems or [None] * len(self.configs)]

    def run_dir(self, place: int) -> Path:
        return Path(self.configs[place]["run_dir"])

    def places(self, rung: int) -> range:
        """Of a rung's seeds, among `configs`."""
        seeds = len(self.configs) // len(self.resources)
        return range(rung * seeds, (rung + 1) * seeds)


def run_trial(spec: TrialSpec) -> None:
    """Run a trial to its end and write its outcome. Never raises: what went wrong is the outcome."""
    channel = Channel(Path(spec.control))
    begun = time.monotonic()
    print(f"trial {spec.number}: {spec.title}  [{begun - spec.asked_at:.2f} s after its slot was free]", flush=True)
    channel.begin(begun - spec.asked_at)
    lock = FileLock(channel.lock)
    if not lock.acquire(LOCK_TIMEOUT_S):
        channel.end(_outcome(spec, "failed", "an earlier process of this trial does not end", can_pass=True))
        return
    PACE.least_s = HANGS * spec.heartbeat_s
    PACE.rest()
    over = threading.Event()
    threading.Thread(target=_beat, args=(channel, spec, over), daemon=True).start()
    try:
        outcome = _climb(spec, channel)
    except UserError as error:
        outcome = _outcome(spec, "failed", str(error), can_pass=str(error).startswith(NO_ROOM))
    except Exception as error:  # noqa: BLE001 - of whatever a trial dies, the sweep goes on
        foreseen = isinstance(error, RunFailed)
        if not foreseen:
            traceback.print_exc()
        reason = str(error) if foreseen else _short(error)
        if finds_no_room(error):
            reason = f"{NO_ROOM} ({reason})"
        passing = isinstance(error, OSError | RuntimeError | MemoryError) and "not finite" not in reason
        outcome = _outcome(spec, "failed", reason, can_pass=passing or finds_no_room(error))
    over.set()
    channel.end(outcome)
    lock.release()


def _climb(spec: TrialSpec, channel: Channel) -> Outcome:
    """Rung by rung, for as long as the sweeper wants to see the next one; that a rung has begun says that it was wanted."""
    below: list[float] = []
    while True:
        places = spec.places(len(below))
        outcome = replace(_run_seeds(spec, channel, places), rungs=list(below))
        if outcome.status != "complete" or places.stop == len(spec.configs):
            return outcome
        asked = Report(_id(), "rung", spec.resources[len(below)], outcome.values[0], [], [values[0] for values in outcome.by_seed])
        below.append(asked.value)
        for place in places:
            _forget_checkpoints(spec, place)
        if not spec.run_dir(places.stop).exists() and (reason := channel.ask(asked)):
            return replace(outcome, status="pruned", reason=reason, values=[], rungs=below)
        if reason := channel.asked_to_stop():
            return replace(outcome, status="interrupted", reason=reason, values=[], rungs=below)


def _run_seeds(spec: TrialSpec, channel: Channel, places: range) -> Outcome:
    by_seed: list[list[float]] = []
    for place in places:
        config = parse(spec.configs[place])
        reporter = Reporter(spec, channel, place, [values[spec.objective] for values in by_seed])
        summary = begin_from(spec.beginnings[place], config, reporter) or _run_or_continue(config, reporter)
        if summary["status"] == "pruned":
            _forget_checkpoints(spec, place)
        if summary["status"] != "complete":
            return _outcome(spec, summary["status"], summary.get("reason", ""), by_seed=by_seed)
        by_seed.append(_values(config, summary))
        if len(by_seed) < len(places) and (reason := reporter.after_seed([v[spec.objective] for v in by_seed])):
            return _outcome(spec, "pruned", reason, by_seed=by_seed)
    means = [math.fsum(column) / len(by_seed) for column in zip(*by_seed, strict=True)]
    return _outcome(spec, "complete", "", values=means, by_seed=by_seed)


def _forget_checkpoints(spec: TrialSpec, place: int) -> None:
    if not spec.keep_pruned_checkpoints:
        shutil.rmtree(spec.run_dir(place) / "checkpoints", ignore_errors=True)


def begin_from(stem: Stem | None, config: LabConfig, reporter: "Reporter") -> dict[str, Any] | None:
    """Give a run that has not begun the beginning that it shares with others; where that was stopped before, its summary. Where the
    beginning ended by itself, such as by a collapse, the run is made alone."""
    folder = Path(str(config.run_dir))
    if stem is None or folder.exists():
        return None
    source = Path(stem.folder)
    source.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(source.with_name(f"{source.name}.lock"))
    while not lock.acquire(1.0):  # another trial is at it, and will leave it to this one
        PACE.rest()
    try:
        summary = _summary(source)
        spent = _spent_on(summary)  # of which another trial pays the bill
        if not summary or summary["status"] != "interrupted" or summary["steps"] < stem.steps:
            if summary and summary["status"] in ("complete", "out_of_budget"):
                return None
            if _newest_step(source) >= stem.steps:
                shutil.rmtree(source)  # killed after its last step and before it said so: it would go on under its own schedule
            own = parse(stem.config)
            if ended := begin_from(stem.parent, own, reporter):
                return ended
            spent = _json(source / BEGINNING)
            summary = _run_or_continue(own, reporter, stem.steps)
            if summary["status"] != "interrupted":
                return None
            if summary["steps"] < stem.steps:
                return summary
        from src.experiment.preparing import config_in_yaml

        Record.branch(source, folder, config_in_yaml(config), {BEGINNING: spent})
        return None
    finally:
        lock.release()


def _json(path: Path) -> dict[str, float]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _spent_on(summary: dict[str, Any] | None) -> dict[str, float]:
    """What a run took so far, by its summary."""
    cost = (summary or {}).get("cost", {})
    return {"seconds": sum(cost.get("seconds", {}).values()), "usd": cost.get("usd", 0.0), "gpu_hours": cost.get("gpu_hours", 0.0)}


def _values(config: LabConfig, summary: dict[str, Any]) -> list[float]:
    values = [look_up(summary, key) for key in config.objectives]
    for key, value in zip(config.objectives, values, strict=True):
        if not math.isfinite(value):
            raise RunFailed(f"the objective {key} is not finite ({value})")
    return values


def _run_or_continue(config: LabConfig, reporter: "Reporter", until: int | None = None) -> dict[str, Any]:
    """The summary of a run: the one that lies there if it is finished, else after doing what is left of it, or up to a step.

    What lies there and cannot be continued, being damaged or no run yet, gives way to a run from the beginning.
    """
    from src.config.continuing import config_to_continue

    folder = Path(str(config.run_dir))
    summary = _summary(folder)
    if summary and kept_config(folder):
        if summary["status"] in ("complete", "pruned"):
            return summary
        try:
            return _carried_out(config_to_continue(folder, None), reporter, until)
        except Exception as error:  # whatever reading damaged files may raise
            if reporter.advanced or isinstance(error, RunFailed | MemoryError) or finds_no_room(error):
                raise
            traceback.print_exc()
    if folder.exists():
        if is_held(folder / "config.yaml"):
            raise RunFailed(f"another process is at work in {folder}")
        print(f"{folder} cannot be continued; this trial begins anew", flush=True)
        shutil.rmtree(folder)
    return _carried_out(config, reporter, until)


def _carried_out(config: LabConfig, reporter: "Reporter", until: int | None) -> dict[str, Any]:
    """The summary of a run, in this process or, where it takes several, in processes of its own, which rank.py begins."""
    from src.common.types import Stop
    from src.experiment.preparing import check_machine
    from src.experiment.run import run

    PACE.rest()  # until the first advance; of several processes launch sees to it that they do
    if not needs_launch(config.hardware):
        at_its_end = Stop("interrupted", "others go on from here")
        return run(config, watches=[reporter.watch, lambda line, _: at_its_end if line["step"] == until else None])
    check_machine(config)  # once, before there are several to complain
    given = {"spec": asdict(reporter.spec), "config": config.model_dump(mode="json"), "place": reporter.place, "earlier": reporter.earlier}
    end = launch(config.hardware, [sys.executable, "-m", "src.sweep.engines.rank"], json.dumps(given))
    if end.code not in (0, INTERRUPTED):
        raise (UserError if end.code == BAD_INPUT else RunFailed)(end.said)
    summary = _summary(Path(str(config.resume or config.run_dir))) or {}
    return summary if end.code == 0 else {"reason": "stopped at once"} | summary | {"status": "interrupted"}


def kept_config(folder: Path) -> dict[str, Any] | None:
    """The configuration of the run in a folder, as it is written; None without one, or if it is damaged."""
    try:
        content = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def run_of_another(spec: TrialSpec) -> str | None:
    """Why a folder of this trial belongs to another configuration; None if none does."""
    for asked in spec.configs:
        folder = Path(asked["run_dir"])
        if (content := kept_config(folder)) is None:
            continue
        try:
            one, other = (_comparable(config) for config in (content, asked))
        except UserError as error:
            return f"{folder} holds a run that cannot be compared with this one ({error})"
        if differing := [key for key in one if one[key] != other[key]]:
            return f"{folder} holds a run of another configuration (it differs in {', '.join(differing)})"
    return None


def _comparable(content: dict[str, Any]) -> dict[str, Any]:
    """A configuration as far as it makes a run what it is; secrets are not written, so they are not compared."""
    return only_known(without_secrets(parse(only_known(content)).model_dump(exclude=ELSEWHERE)))


def _summary(folder: Path) -> dict[str, Any] | None:
    """A run's summary; None without one, or if it is damaged."""
    try:
        summary = read_summary(folder)
    except (UserError, ValueError, OSError):
        return None
    return summary if isinstance(summary, dict) and "status" in summary else None


class Reporter:
    """Shows each validation to the sweeper and brings its answer; also looks whether the sweeper wants an end."""

    def __init__(self, spec: TrialSpec, channel: Channel, place: int, earlier: Sequence[float]) -> None:
        """`place`: of the run among those of the trial; `earlier`: what the seeds before it came to."""
        self.spec, self.channel, self.place, self.earlier = spec, channel, place, list(earlier)
        *before, self.steps = (config["scale"]["steps"] for config in spec.configs[: place + 1])
        self.steps_before = sum(before)
        self.advanced = False  # a step was done

    def watch(self, line: dict[str, Any], measured: "Measured | None") -> Any:
        from src.common.types import Stop

        self.advanced = True
        self.channel.did(self.steps_before + line["step"])
        if measured is not None and self.spec.figure:
            reason = self.channel.ask(self._report(line["step"], measured))
            if reason:
                return Stop("pruned", reason)
        if reason := self.channel.asked_to_stop():
            return Stop("interrupted", reason)
        return None

    def _report(self, step: int, measured: "Measured") -> Report:
        from src.evaluation.summary import per_problem

        value: Any = measured.summary
        part: dict[str, Any] = {}
        for key in self.spec.figure:
            part, value = value, value[key]
        mean = math.fsum([*self.earlier, value]) / (len(self.earlier) + 1)
        outcomes = [float(share) for share in per_problem(measured.rows)]
        # Of `evaluation.summary`'s interval over problems: 95 % of a normal distribution lie within 1.96 standard errors.
        error = (part["ci_high"] - part["ci_low"]) / 2 / 1.96 if self.spec.figure[-1] == "accuracy" else 0.0
        error /= math.sqrt(len(self.earlier) + 1)
        return Report(_id(), "validation", self.steps_before + step, mean, outcomes, self.earlier, error)

    def after_seed(self, values: list[float]) -> str | None:
        """Ask whether the seeds that are left are worth running; without a pruner they all are."""
        if not self.spec.figure:
            return None
        mean = math.fsum(values) / len(values)
        return self.channel.ask(Report(_id(), "seed", self.steps_before + self.steps, mean, [], values))


def _outcome(
    spec: TrialSpec, status: str, reason: str, can_pass: bool = False,
    values: Sequence[float] = (), by_seed: Sequence[list[float]] = (),
) -> Outcome:
    """The outcome with what all seeds together took, as far as their records say."""
    spent = dict.fromkeys(("seconds", "usd", "gpu_hours"), 0.0)
    low = high = None  # of the highest rung there is
    steps = 0
    for place, config in enumerate(spec.configs):
        folder = spec.run_dir(place)
        if not (summary := _summary(folder)):
            continue
        others = _json(folder / BEGINNING)
        spent = {key: spent[key] + own - others.get(key, 0.0) for key, own in _spent_on(summary).items()}
        steps += summary.get("steps", 0)
        if place % len(spec.places(0)) == 0:
            low, high = _interval(summary, config["objective"])
    return Outcome(status, reason, can_pass, list(values), [list(v) for v in by_seed], low, high, steps, **spent)


def _interval(summary: dict[str, Any], objective: str | list[str]) -> tuple[float | None, float | None]:
    """Of the first objective, where it is an accuracy."""
    *parts, figure = (objective if isinstance(objective, str) else objective[0]).split(".")
    found: Any = summary
    for part in parts:
        found = found.get(part) or {}
    return (found.get("ci_low"), found.get("ci_high")) if figure == "accuracy" else (None, None)


def steps_saved(spec: TrialSpec) -> int:
    """Steps of the runs that are done, and that the newest checkpoints of the others hold."""
    runs = [Path(config["run_dir"]) for config in spec.configs]
    folders = [Path(stem.folder) if stem and not run.exists() else run for run, stem in zip(runs, spec.beginnings, strict=True)]
    done = [summary["steps"] if (summary := _summary(run)) and summary["status"] == "complete" else 0 for run in runs]
    return sum(max(each, _newest_step(folder)) for each, folder in zip(done, folders, strict=True))


def _newest_step(folder: Path) -> int:
    return max(Checkpoints(folder / "checkpoints", kept=1).steps(), default=0)


def _beat(channel: Channel, spec: TrialSpec, over: threading.Event) -> None:
    """Show life, and see to it that a trial ends whose work no longer advances, such as beside frozen grading workers."""
    while (stalled := PACE.stalled_s()) < PACE.patience_s:
        channel.show_life()
        if over.wait(min(spec.heartbeat_s / 4, 5.0)):
            return
    faulthandler.dump_traceback(sys.stderr.fileno())
    reason = f"no progress for {stalled:.0f} s (its log says where; if that is no hang, raise sweep.heartbeat)"
    channel.end(_outcome(spec, "failed", reason, can_pass=True))
    for child in children():
        kill_group(child)  # a frozen one would not notice the end of this process
    os._exit(1)


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


_counter = 0


def _id() -> str:
    global _counter
    _counter += 1
    return f"{os.getpid()}-{_counter}"
