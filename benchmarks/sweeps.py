"""The sweeper beside hydra-optuna-sweeper 1.4.0rc3 with the joblib launcher: same space, seeds and trials, in one run.

    python benchmarks/sweeps.py [compare] [fleet] [--trials 16] [--seeds 0 1 2] [--folder DIR] ...

compare: both sweep the micro scale with TPE in two slots, ours with asynchronous successive halving. Runs are configured
alike, validations that the other sweeper has no use for included. Reported for each seed are the time until a finished trial
is within one point of the best full run of the two sweeps, a sweep that never gets there counting as long as the longer of
the two; the share of time that slots stand idle while trials remain to be started; and the time from a free slot to the first
line of a trial. One seed says little: 16 trials of 320 validation samples, whose standard error is two points.
hydra-optuna-sweeper runs in a virtual environment of its own, made here, that sees the libraries of this one.

fleet: 256 slots and 10,000 trials on a simulated clock. A trial follows one of the recorded learning curves, stretched to
--trial-hours: those of the full runs of `compare`, or of all full runs below --curves, such as
`python -m src.run -m +sweep=length_schedules` leaves in outputs/sweeps/length_schedules. The sweeper, Optuna and the
journal are the real ones; composing a configuration is measured on 20 and added for each trial. Reported are the sweeper's
own time as a share of the simulated time, by the clock (waits for the disk and for other processes included) and in seconds
of the processor, both also of the last tenth of the trials, and its memory along the way.
"""

import argparse
import heapq
import json
import os
import random
import resource
import site
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PACKAGES = ("hydra-optuna-sweeper==1.4.0rc3", "hydra-joblib-launcher")
SLOTS = 2
SPACE = {
    "mix.easy_share": "interval(0,1)", "length": "choice(fixed,staged,adaptive)", "length.fraction": "interval(0.5,1)",
    "lr.peak": "tag(log,interval(1e-5,1e-2))",
}
SIZE = (
    "+experiment=mix_easy_hard", "tracking=none", "evaluation.validation.every_steps=5",
    "evaluation.validation.samples=2", "~evaluation.suites.chains", "~evaluation.suites.chains_long",
)
PRUNER = "{name:successive_halving,min_resource:5,reduction_factor:2}"  # halves at steps 5, 10 and 20 of 40
TOY = (  # to see that the script works
    "scale.steps=30", "algorithm.prompts_per_step=2", "hardware.device_batch_size=12", "scale.completion_budget=48",
    "evaluation.validation.problems_per_level=4",
)
ACCURACY = "evaluation.validation.best.accuracy"
POINT = 0.01  # of accuracy

# What the other sweeper calls: one trial, with its times in a file.
APP = '''
import json, multiprocessing, sys, time
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
sys.path.insert(0, {root!r})

@hydra.main(version_base="1.3", config_path={conf!r}, config_name="config")
def main(cfg):
    begun = time.time()
    # joblib's workers name a start method that processes spawned from them do not know.
    multiprocessing.set_start_method("spawn", force=True)
    from src.config.continuing import config_from
    from src.run import run
    job = HydraConfig.get()
    choices = {{g: n for g, n in job.runtime.choices.items() if "/" not in g and n}}
    config = config_from(OmegaConf.to_container(cfg, resolve=True), choices)
    folder = Path({folder!r}) / "trials" / f"{{job.job.num:04d}}"
    summary = run(config.model_copy(update={{"run_dir": str(folder)}}))
    line = dict(number=job.job.num, begun=begun, ended=time.time(), value=summary["objective"])
    with open(Path({folder!r}) / "trials.jsonl", "a") as file:
        file.write(json.dumps(line) + "\\n")
    return summary["objective"]

if __name__ == "__main__":
    main()
'''


@dataclass(frozen=True)
class Done:
    """A trial that ended: seconds since the start of its sweep."""

    begun: float
    ended: float
    value: float | None  # None = pruned


def other_environment(folder: Path) -> Path:
    """A virtual environment with the other sweeper, above this one's libraries; returns its python."""
    path = folder / "venv"
    python = path / "bin" / "python"
    if not python.exists():
        venv.create(path, with_pip=True)
        packages = next(path.glob("lib/python*/site-packages"))
        subprocess.run([python, "-m", "pip", "install", "-q", "--pre", *PACKAGES], check=True)
        lines = [*site.getsitepackages(), str(ROOT)]
        (packages / "zz_libraries.pth").write_text("\n".join(lines) + "\n")  # after its own, so that they come first
    return python


def other_config(folder: Path) -> Path:
    """The project's conf without its own sweeper, so that the name optuna means the other one."""
    import shutil

    conf = folder / "conf"
    if not conf.exists():
        shutil.copytree(ROOT / "conf", conf, ignore=shutil.ignore_patterns("hydra", "__pycache__"))
    return conf


def run_other(folder: Path, python: Path, size: tuple[str, ...], trials: int, seed: int) -> list[Done]:
    folder.mkdir(parents=True)
    app = folder / "app.py"
    app.write_text(APP.format(root=str(ROOT), conf=str(other_config(folder.parent)), folder=str(folder)))
    options = [
        f"hydra.sweeper.n_trials={trials}", f"hydra.sweeper.n_jobs={SLOTS}", "hydra.sweeper.direction=maximize",
        f"hydra.sweeper.sampler.seed={seed}", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={SLOTS}",
        f"hydra.sweep.dir={folder}/hydra", f"output_root={folder}",
    ]
    begun = time.time()
    space = [f"{key}={value}" for key, value in SPACE.items()]
    with (folder / "out").open("wb") as out:
        subprocess.run(
            [python, app, "-m", *size, *options, *space], cwd=folder, check=True, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    return [Done(line["begun"] - begun, line["ended"] - begun, line["value"]) for line in lines]


def run_ours(folder: Path, size: tuple[str, ...], trials: int, seed: int) -> tuple[list[Done], list[float]]:
    """The trials, and the seconds from free slot to first line of those that started after the libraries were loaded."""
    folder.mkdir(parents=True)
    options = [
        f"sweep.n_trials={trials}", f"sweep.n_jobs={SLOTS}", f"sweep.sampler.seed={seed}", f"sweep.dir={folder}/sweep",
        f"sweep.pruner={PRUNER}", f"output_root={folder}",
    ]
    begun = time.time()
    space = [f"{key}={value}" for key, value in SPACE.items()]
    with (folder / "out").open("wb") as out:
        subprocess.run(
            [sys.executable, "-m", "src.run", "-m", *size, *options, *space], cwd=folder, check=True, stdout=out,
            stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )
    done, delays = [], []
    for control in sorted((folder / "sweep" / "control").iterdir()):
        outcome = json.loads((control / "outcome.json").read_text())
        started, ended = ((control / name).stat().st_mtime - begun for name in ("started", "outcome.json"))
        done.append(Done(started, ended, outcome["values"][0] if outcome["values"] else None))
        if int(control.name) >= SLOTS:
            delays.append(float((control / "started").read_text()))
    return done, delays


def time_to(target: float, trials: list[Done]) -> float | None:
    """Seconds until the first finished trial with at least this value."""
    return min((trial.ended for trial in trials if trial.value is not None and trial.value >= target), default=None)


def idle_share(trials: list[Done]) -> float:
    """Share of the slots' time without a trial, from the first start to the last one: while trials remained."""
    first, last = min(trial.begun for trial in trials), max(trial.begun for trial in trials)
    busy = sum(min(trial.ended, last) - trial.begun for trial in trials if trial.begun < last)
    return 1 - busy / (SLOTS * (last - first))


def compare(folder: Path, size: tuple[str, ...], trials: int, seeds: list[int]) -> None:
    python = other_environment(folder)
    ours, others, delays = {}, {}, []
    for seed in seeds:
        print(f"seed {seed}: ours", flush=True)
        ours[seed], seen = run_ours(folder / f"ours_{seed}", size, trials, seed)
        delays += seen
        print(f"seed {seed}: hydra-optuna-sweeper", flush=True)
        others[seed] = run_other(folder / f"other_{seed}", python, size, trials, seed)
    print("\n| seed | sweeper | trials | pruned | best | to within 1 point | all trials | idle |\n|---|---|---|---|---|---|---|---|")
    times = [times_of(seed, ours[seed], others[seed]) for seed in seeds]
    mean = [statistics.fmean(seconds) for seconds in zip(*times, strict=True)]
    ratios = [mine / other for mine, other in times]
    print(f"\nmean time to within 1 point (never = the longer of the two sweeps): ours {mean[0]:.0f} s, other {mean[1]:.0f} s, "
          f"ratio {mean[0] / mean[1]:.2f}; by seed {', '.join(f'{ratio:.2f}' for ratio in ratios)}, "
          f"mean {statistics.fmean(ratios):.2f}")
    if delays:
        print(f"free slot to first line: median {statistics.median(delays):.2f} s, longest {max(delays):.2f} s")


def times_of(seed: int, ours: list[Done], other: list[Done]) -> tuple[float, float]:
    """Print a line for each of the two sweeps of a seed; returns their seconds to within one point of the best full run."""
    target = max(trial.value for trial in (*ours, *other) if trial.value is not None) - POINT
    longest = max(trial.ended for trial in (*ours, *other))
    for name, done in (("ours", ours), ("other", other)):
        full = [trial.value for trial in done if trial.value is not None]
        reached, whole = time_to(target, done), max(trial.ended for trial in done)
        shown = f"{reached:.0f} s" if reached is not None else "never"
        print(
            f"| {seed} | {name} | {len(done)} | {len(done) - len(full)} | {max(full):.4f} | {shown} | {whole:.0f} s | "
            f"{idle_share(done):.1%} |"
        )
    return time_to(target, ours) or longest, time_to(target, other) or longest


class FleetEngine:
    """An engine on a simulated clock: trials are recorded curves, and time is where the next event is."""

    def __init__(
        self, slots: int, curves: list[list[float]], trial_seconds: float, seed: int, usd_per_hour: float = 0.0
    ) -> None:
        self.slots, self.curves, self.trial_seconds, self.usd_per_hour = slots, curves, trial_seconds, usd_per_hour
        self.clock, self.rng = 0.0, random.Random(seed)
        self.events: list[tuple[float, int, int]] = []  # time, number, evaluation
        self.curve: dict[int, list[float]] = {}
        self.began: dict[int, float] = {}
        self.asked: dict[int, str] = {}  # to end in order, and why
        self.due: tuple[int, int] | None = None
        self.over: list[Any] = []

    def now(self) -> float:
        return self.clock

    def wait(self) -> None:
        if self.due is None and self.events:
            self.clock, number, evaluation = heapq.heappop(self.events)
            self.due = (number, evaluation)

    def start(self, spec: Any) -> None:
        curve = self.rng.choice(self.curves)
        shift = self.rng.gauss(0, 0.02)
        self.curve[spec.number] = [min(1.0, max(0.0, value + shift)) for value in curve]
        self.began[spec.number] = self.clock
        self._plan(spec.number, 0)

    def _plan(self, number: int, evaluation: int) -> None:
        pace = self.trial_seconds / len(self.curve[number]) * self.rng.uniform(0.8, 1.2)
        heapq.heappush(self.events, (self.clock + pace, number, evaluation))

    def reports(self) -> Iterator[tuple[int, Any]]:
        from src.sweep.engines.channel import Report

        if self.due:
            number, evaluation = self.due
            yield number, Report("", "validation", evaluation + 1, self.curve[number][evaluation], [], [])

    def answer(self, number: int, report: Any, stop: str | None) -> None:
        evaluation, self.due = report.step, None
        if stop or evaluation == len(self.curve[number]):
            self._end(number, "pruned" if stop else "complete", stop or "")
        elif number in self.asked:
            self._end(number, "interrupted", self.asked.pop(number))
        else:
            self._plan(number, evaluation)

    def _end(self, number: int, status: str, reason: str) -> None:
        from src.sweep.engines.channel import Outcome
        from src.sweep.engines.engine import Ended

        curve, seconds = self.curve.pop(number), self.clock - self.began.pop(number)
        values = [max(curve)] if status == "complete" else []
        usd = seconds / 3600 * self.usd_per_hour
        outcome = Outcome(status, reason, False, values, [values], None, None, len(curve), seconds, usd, 0.0)
        self.over.append(Ended(number, outcome, ""))

    def ended(self) -> list[Any]:
        over, self.over = self.over, []
        return over

    def silent_s(self, number: int) -> float:
        return 0.0

    def running_s(self, number: int) -> float:
        return self.clock - self.began[number]

    def step(self, number: int) -> None:
        return None

    def stop(self, number: int, reason: str) -> None:
        self.asked[number] = reason

    def kill(self, number: int) -> None:
        from src.sweep.engines.engine import Ended

        self.events = [event for event in self.events if event[1] != number]
        heapq.heapify(self.events)
        del self.curve[number], self.began[number]
        self.over.append(Ended(number, None, "killed"))

    def close(self) -> None:
        pass


def recorded_curves(folder: Path) -> list[list[float]]:
    """Validation accuracies along each full run below a folder."""
    curves = []
    for path in sorted(folder.glob("**/metrics.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        curve = [line["validation/accuracy"] for line in lines if "validation/accuracy" in line]
        if curve:
            curves.append(curve)
    longest = max(map(len, curves), default=0)
    full = [curve for curve in curves if len(curve) == longest]
    if not full:
        raise SystemExit(f"no recorded curves below {folder}; run compare first, or give --curves")
    return full


class Own:
    """Seconds since its making, by the clock and of the processor."""

    def __init__(self) -> None:
        self.begun = time.perf_counter(), time.process_time()

    def seconds(self) -> list[float]:
        return [now - begun for now, begun in zip((time.perf_counter(), time.process_time()), self.begun, strict=True)]


def seconds_to_compose() -> list[float]:
    """Of one trial's configuration, the mean of 20: by the clock and of the processor."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from src.run import CONF
    from src.sweep.composer import Composer
    from src.sweep.space import read_space

    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().hydra.config_loader
        space = read_space(SPACE, SIZE)
        composer = Composer(loader, loader.load_configuration("config", overrides=[*SIZE], run_mode=RunMode.MULTIRUN))
        own = Own()
        for number in range(20):
            point = {"mix.easy_share": number / 20, "length": "staged", "length.fraction": 0.75, "lr.peak": 1e-4}
            composer.of_trial(space, point)
        return [seconds / 20 for seconds in own.seconds()]


def fleet_sweeper(folder: Path, engine: FleetEngine, config: Any, screen: type) -> Any:
    """A sweeper over the simulated engine, with Optuna's sampler, pruner and journal; configurations are not composed."""
    from src.sweep.budget import Budget
    from src.sweep.engines.trial import TrialSpec
    from src.sweep.pruners import build_pruner
    from src.sweep.samplers import SamplerMaker
    from src.sweep.space import read_space
    from src.sweep.study import Claims, open_storage, open_study
    from src.sweep.sweeper import Sweep, Sweeper

    folder.mkdir(parents=True, exist_ok=True)
    space = read_space(SPACE, [])
    study = open_study(open_storage(None, folder), "fleet", folder, ["maximize"], space, {})
    path = str(folder / "none")

    def spec(trial: Any, now: float) -> TrialSpec:
        return TrialSpec(trial.number, "", [{"run_dir": path}], path, path, path, ["accuracy"], 0, False, 60, {}, now)

    parts = Sweep(
        config, study, space, folder, build_pruner(config.pruner), SamplerMaker(config.sampler, space), spec,
        Budget(config.budget, None, None), engine.usd_per_hour / 3600, ["accuracy"], 0,
    )
    return Sweeper(parts, engine, Claims(study, folder, space, config.n_trials), screen(study, [ACCURACY], config.n_trials))


def fleet(folder: Path, curves_from: Path, slots: int, trials: int, trial_hours: float, sampler: str) -> None:
    from src.sweep.config import SweepConfig
    from src.sweep.screen import SweepScreen

    class Quiet(SweepScreen):
        """Notes time and memory at each tenth of the trials instead of writing a line for each event."""

        def started(self, number: int, title: str, steps: int, continued: bool) -> None:
            if number % (trials // 10) == 0:
                seconds = [now + compose * number for now, compose in zip(own.seconds(), composing, strict=True)]
                notes.append((number, psutil.Process().memory_info().rss, engine.clock, seconds))
                print(f"  trial {number}: {seconds[1]:.0f} s of the processor", flush=True)

        def event(self, text: str) -> None:
            pass

    engine = FleetEngine(slots, recorded_curves(curves_from), trial_hours * 3600, seed=0)
    config = SweepConfig(n_trials=trials, n_jobs=slots, sampler={"name": sampler}, pruner={"name": "median"})
    sweeper = fleet_sweeper(folder, engine, config, Quiet)
    composing = seconds_to_compose()
    notes: list[tuple[int, int, float, list[float]]] = []  # at a trial's start: number, bytes, simulated seconds, own seconds
    own = Own()
    sweeper.run()
    seconds = [now + compose * trials for now, compose in zip(own.seconds(), composing, strict=True)]
    print(f"\n{trials} trials in {slots} slots, a full one {trial_hours:g} h: {engine.clock / 3600:.1f} simulated hours")
    print("| the sweeper's own time | in all | of the simulated time | of it composing | in the last tenth of the trials |")
    print("|---|---|---|---|---|")
    late, before = notes[-1][2] - notes[-2][2], notes[-2][3]
    for place, name in enumerate(("by the clock", "of the processor")):
        last = (notes[-1][3][place] - before[place]) / late
        print(f"| {name} | {seconds[place]:.0f} s | {seconds[place] / engine.clock:.2%} | {composing[place] * trials:.0f} s | {last:.2%} |")
    print("memory: " + ", ".join(f"{size / 2**20:.0f} MiB at {number}" for number, size, _, _ in notes))
    growth = (notes[-1][1] - notes[1][1]) / (notes[-1][0] - notes[1][0])
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB; {growth / 1024:.1f} KiB a trial")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["compare", "fleet", []], default=["compare", "fleet"])
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--toy", action="store_true", help="trials of a few seconds, to see that the script works")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--curves", type=Path, default=None, help="a folder with runs or sweeps; default: --folder")
    parser.add_argument("--fleet-slots", type=int, default=256)
    parser.add_argument("--fleet-trials", type=int, default=10_000)
    parser.add_argument("--fleet-sampler", default="tpe")
    parser.add_argument("--trial-hours", type=float, default=1.0)
    arguments = parser.parse_args()
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="sweeps_"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if "compare" in arguments.parts:
        compare(folder, (*SIZE, *TOY) if arguments.toy else SIZE, arguments.trials, arguments.seeds)
    if "fleet" in arguments.parts:
        fleet(
            folder / "fleet", (arguments.curves or folder).resolve(), arguments.fleet_slots, arguments.fleet_trials,
            arguments.trial_hours, arguments.fleet_sampler,
        )


if __name__ == "__main__":
    main()
