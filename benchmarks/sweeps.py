"""Ways to search beside hydra-optuna-sweeper 1.4.0rc3 with the joblib launcher: same space, seeds and trials, one after the other.

    python benchmarks/sweeps.py [compare] [fleet] [--trials 16] [--seeds 0 1 2] [--only WAY ...] [--folder DIR] ...

compare: all sweep the micro scale with TPE in two slots; ours with what stands in WAYS. Runs are configured alike, validations that the
other sweeper has no use for included. Reported for each seed and way are the trials that were done to their end; the best of these, and
how far it is below the best of all ways (regret); the time and the slots' time until a finished trial is within one point of that, a
sweep that never gets there counting as long as the longest; the share of time that slots stand idle while trials remain to be started;
and the time from a free slot to the first line of a trial. Sweeps that are complete below --folder are read and not run again. One seed
says little: a validation has 320 samples, whose standard error is two points. hydra-optuna-sweeper runs in a virtual environment of its
own, made here, that sees the libraries of this one. Models of the embedded ladder are pre-trained before, which is not counted.

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
import re
import resource
import shutil
import site
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
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
OTHER = "hydra-optuna-sweeper"
WAYS = {  # ours; what is kept from within a run, or a ladder of smaller ones
    "halving": "sweep.pruner={name:successive_halving,min_resource:5,reduction_factor:2}",  # at steps 5, 10 and 20 of 40
    "likely": "sweep.pruner=likely",
    "steps": "sweep.fidelity={steps:[5,13,40]}",
    "models, steps": "sweep.fidelity={model:[micro_0_05m,micro_0_2m,micro],steps:[10,20,40]}",
}
TOY = (  # to see that the script works
    "algorithm.prompts_per_step=2", "hardware.device_batch_size=12", "scale.completion_budget=48",
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
    conf = folder / "conf"
    if not conf.exists():
        shutil.copytree(ROOT / "conf", conf, ignore=shutil.ignore_patterns("hydra", "__pycache__"))
    return conf


def run_other(folder: Path, size: tuple[str, ...], trials: int, seed: int) -> pd.DataFrame:
    python, app = other_environment(folder.parent), folder / "app.py"
    app.write_text(APP.format(root=str(ROOT), conf=str(other_config(folder.parent)), folder=str(folder)))
    options = [
        f"hydra.sweeper.n_trials={trials}", f"hydra.sweeper.n_jobs={SLOTS}", "hydra.sweeper.direction=maximize",
        f"hydra.sweeper.sampler.seed={seed}", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={SLOTS}",
        f"hydra.sweep.dir={folder}/hydra", f"output_root={folder}",
    ]
    begun = swept([str(python), str(app), "-m", *size, *options], folder)
    lines = pd.read_json(folder / "trials.jsonl", lines=True)
    return pd.DataFrame({"began": lines["begun"] - begun, "ended": lines["ended"] - begun, "value": lines["value"]})


def run_ours(way: str, folder: Path, size: tuple[str, ...], trials: int, seed: int) -> pd.DataFrame:
    options = [
        f"sweep.n_trials={trials}", f"sweep.n_jobs={SLOTS}", f"sweep.sampler.seed={seed}", f"sweep.dir={folder}/sweep", WAYS[way],
        f"output_root={folder}",
    ]
    for model in re.findall(r"micro_\w+", WAYS[way]):
        subprocess.run([sys.executable, "-m", "src.micro.ladder", "--only", f"embedded/{model}"], cwd=ROOT, check=True)
    begun = swept([sys.executable, "-m", "src.run", "-m", *size, *options], folder)
    table = pd.read_parquet(folder / "sweep" / "trials.parquet")
    times = {name: [at.to_pydatetime().timestamp() - begun for at in table[name]] for name in ("began", "ended")}
    return pd.DataFrame(times | {"value": table[ACCURACY], "delay": table["start_delay_s"].where(table["number"] >= SLOTS)})


def swept(command: list[str], folder: Path) -> float:
    """Sweep the space; returns when it began."""
    begun = time.time()
    with (folder / "out").open("wb") as out:
        subprocess.run(
            [*command, *(f"{key}={value}" for key, value in SPACE.items())], cwd=folder, check=True, stdout=out,
            stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )
    return begun


def trials_of(way: str, root: Path, size: tuple[str, ...], trials: int, seed: int) -> pd.DataFrame:
    """A row for each trial: began, ended (seconds since its sweep's start), value (none if pruned). Kept beside the sweep."""
    folder = root / f"{way.replace(', ', '_')}_{seed}_{trials}{'_toy' * (size != SIZE)}"
    kept = folder / "done.parquet"
    if not kept.exists():
        print(f"seed {seed}: {way}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)  # of a part of a sweep the times mean nothing
        folder.mkdir(parents=True)
        run = run_other if way == OTHER else partial(run_ours, way)
        run(folder, size, trials, seed).to_parquet(kept)
    return pd.read_parquet(kept)


def time_to(target: float, done: pd.DataFrame) -> tuple[float, float]:
    """Seconds until the first finished trial with at least this value, and those of slots until then; of all where there is none."""
    until = done.loc[done["value"] >= target, "ended"].min() if (done["value"] >= target).any() else done["ended"].max()
    return until, (done["ended"].clip(upper=until) - done["began"].clip(upper=until)).sum()


def idle_share(done: pd.DataFrame) -> float:
    """Share of the slots' time without a trial, from the first start to the last one: while trials remained."""
    first, last = done["began"].min(), done["began"].max()
    return 1 - (done["ended"].clip(upper=last) - done["began"]).sum() / (SLOTS * (last - first))


def compare(folder: Path, size: tuple[str, ...], trials: int, seeds: list[int], ways: list[str]) -> None:
    done = {(way, seed): trials_of(way, folder, size, trials, seed) for seed in seeds for way in ways}
    rows = []
    for (way, seed), own in done.items():
        best = max(done[other, seed]["value"].max() for other in ways)
        longest = max(done[other, seed]["ended"].max() for other in ways)
        reached = own["value"].max() >= best - POINT
        seconds, slots = time_to(best - POINT, own)
        rows.append({
            "seed": seed, "way": way, "finished": own["value"].count(), "best": 100 * own["value"].max(),
            "regret": 100 * (best - own["value"].max()), "reached": reached, "to within a point, s": seconds if reached else longest,
            "slots' time to it, s": slots, "all trials, s": own["ended"].max(), "idle": 100 * idle_share(own),
        })  # fmt: skip
    table = pd.DataFrame(rows)
    print("\n" + table.round(2).to_string(index=False))
    means = table.drop(columns=["seed"]).groupby("way", sort=False).mean()
    if OTHER in ways:
        means["of the other's time"] = means["to within a point, s"] / means.loc[OTHER, "to within a point, s"]
    print("\nmeans over seeds; a sweep that never came within a point counts as the longest of its seed\n\n" + means.round(2).to_string())
    delays = pd.concat([own["delay"] for own in done.values() if "delay" in own] or [pd.Series(dtype=float)]).dropna()
    if len(delays):
        print(f"\nfree slot to first line: median {delays.median():.2f} s, longest {delays.max():.2f} s, {len(delays)} trials")


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
    """Of one trial's configuration, the mean of 20 after the first: by the clock and of the processor."""
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
        for number in range(21):
            if number == 1:  # Hydra composes once for each choice of groups
                own = Own()
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
    parser.add_argument("--only", nargs="+", choices=[OTHER, *WAYS], default=[OTHER, *WAYS], metavar="WAY", help="default: %(default)s")
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
        compare(folder, (*SIZE, *TOY) if arguments.toy else SIZE, arguments.trials, arguments.seeds, arguments.only)
    if "fleet" in arguments.parts:
        fleet(
            folder / "fleet", (arguments.curves or folder).resolve(), arguments.fleet_slots, arguments.fleet_trials,
            arguments.trial_hours, arguments.fleet_sampler,
        )


if __name__ == "__main__":
    main()
