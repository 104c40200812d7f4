"""256 slots on a Ray cluster of simulated machines, of which one is removed half-way, and after it the driver killed.

    python benchmarks/sweep_ray.py [--slots 256] [--trial-s 120] [--folder DIR]

Ray, its machines (16 slots each, all on this one), the engine, the sweeper's loop, TPE, the median pruner and the journal are
the real ones. A trial is a task of Ray's that says through the real control folder what a trial says, but sleeps where another
trains: 256 trainings of a few hundred MB each do not fit a machine of 24 GiB. It keeps a checkpoint of each step, from which it
goes on; no step can be done twice without the trial failing.

Reported are the processor's time that the driver takes, the time from a free slot to a trial's first word (of the first trials,
for which all slots are free at once, and of later ones until the machine is removed; Ray starts a process for each, and all of
them share this machine's cores), and memory. It fails if any trial is lost.
"""

import argparse
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

STEPS = 10
SLOTS_A_MACHINE = 16
TASK_MIB, MACHINE_MIB = 65, 120  # as this script measures them


def curve(number: int) -> list[float]:
    """A trial's validations."""
    rng = random.Random(number)
    best = rng.uniform(0.3, 0.8)
    return [best * (1 - math.exp(-step / 3)) + rng.gauss(0, 0.02) for step in range(1, STEPS + 1)]


def replay(content: dict[str, Any], threads: str | None, project: str) -> None:
    """What Ray runs in the place of a training."""
    sys.path.insert(0, project)
    from src.common.locks import FileLock
    from src.record.checkpoints import Checkpoints
    from src.sweep.engines.channel import Channel, Outcome, Report
    from src.sweep.engines.trial import TrialSpec

    spec = TrialSpec(**content)
    channel, checkpoints, values = Channel(Path(spec.control)), Checkpoints(spec.run_dir(0) / "checkpoints", kept=1), curve(spec.number)
    channel.begin(time.time() - spec.asked_at)
    FileLock(channel.lock).acquire(60)
    checkpoints.folder.mkdir(parents=True, exist_ok=True)
    begun, status, reason = time.monotonic(), "complete", None
    for step in range(max(checkpoints.steps(), default=0) + 1, STEPS + 1):
        time.sleep(spec.configs[0]["seconds"] / STEPS * random.uniform(0.8, 1.2))
        channel.show_life()
        channel.did(step)
        if reason := channel.ask(Report(f"{os.getpid()}-{step}", "validation", step, values[step - 1], [], [])):
            status = "pruned"
            break
        checkpoints.at(step).mkdir()
    found, seconds = [max(values)] if status == "complete" else [], time.monotonic() - begun
    channel.end(Outcome(status, reason or "", False, found, [found], None, None, STEPS, seconds, 0.0, 0.0))


def drive(folder: Path, address: str, slots: int, trials: int, trial_s: float) -> None:
    """The sweeper, which begins a study or continues it."""
    from benchmarks.sweeps import fleet_sweeper
    from src.sweep.config import SweepConfig
    from src.sweep.engines.ray import RayEngine
    from src.sweep.screen import SweepScreen

    engine: Any = RayEngine(slots, 1, 0, address)
    engine.task = engine.ray.remote(num_cpus=1, max_retries=0, max_calls=1)(replay)
    engine.usd_per_hour = 0.0
    config = SweepConfig(n_trials=trials, n_jobs=slots, pruner={"name": "median"}, heartbeat=300)
    sweeper = fleet_sweeper(folder, engine, config, SweepScreen)
    bare = sweeper.sweep.spec

    def spec(trial: Any, now: float) -> Any:
        place = f"{trial.number:04d}"
        config = {"run_dir": str(folder / "trials" / place), "seconds": trial_s}
        return replace(bare(trial, now), configs=[config], control=str(folder / "control" / place), log=str(folder / "logs" / place))

    sweeper.sweep.spec = spec
    try:
        sweeper.run()
    finally:
        engine.close()


class Driver:
    """The sweeper's process, and what it took by the last look at it."""

    def __init__(self, command: list[str], output: Path) -> None:
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        self.begun, self.cpu_s, self.wall_s, self.peak = time.monotonic(), 0.0, 0.0, 0

    def until(self, true: Callable[[], bool]) -> None:
        """Look at it until something is true, or it has ended."""
        while self.process.poll() is None and not true():
            try:
                watched = psutil.Process(self.process.pid)
                times, size = watched.cpu_times(), watched.memory_info().rss
            except psutil.Error:
                continue
            self.cpu_s, self.peak, self.wall_s = times.user + times.system, max(self.peak, size), time.monotonic() - self.begun
            time.sleep(1.0)


def of_a_task() -> float:
    """Mean memory in MiB that each of the running tasks has for itself."""
    tasks = [process for process in psutil.process_iter(["cmdline"]) if (process.info["cmdline"] or [""])[0].startswith("ray::replay")]
    return statistics.fmean(task.memory_full_info().uss for task in tasks) / 2**20


def delays(folder: Path) -> dict[int, float]:
    """Seconds from the free slot to the first word of each trial that has begun."""
    return {int(path.parent.name): float(path.read_text()) for path in folder.glob("control/*/started")}


def in_words(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    most = ordered[math.ceil(0.95 * len(ordered)) - 1]
    return f"median {statistics.median(ordered):.1f} s, 95 % within {most:.1f} s, longest {ordered[-1]:.1f} s ({len(ordered)} trials)"


def lost(trials: list[Any], number: int, folder: Path) -> list[str]:
    """What is missing or wrong, in words."""
    from src.record.checkpoints import Checkpoints

    faults = [] if len(trials) == number else [f"{len(trials)} trials instead of {number}"]
    for trial in trials:
        state, values = trial.state.name, curve(trial.number)
        told = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
        steps = Checkpoints(folder / "trials" / f"{trial.number:04d}" / "checkpoints", kept=1).steps()
        done = len(told) - (state == "PRUNED")
        if state not in ("COMPLETE", "PRUNED"):
            faults.append(f"trial {trial.number} is {state}: {trial.user_attrs.get('reason')}")
        elif told != values[: len(told)] or steps != list(range(1, done + 1)):
            faults.append(f"trial {trial.number} did not do each step once, with the values of its curve")
        elif state == "COMPLETE" and (done, trial.value) != (STEPS, max(values)):
            faults.append(f"trial {trial.number} did not end with the best of its curve")
    return faults


def report(trials: list[Any], slots: int, drivers: list[Driver], words: dict[int, float], memory: str) -> None:
    states = [trial.state.name for trial in trials]
    deaths = [trial.number for trial in trials if trial.user_attrs.get("deaths")]
    taken = drivers[1].output.read_text().count(" continues: ")
    cpu_s, wall_s = sum(driver.cpu_s for driver in drivers), sum(driver.wall_s for driver in drivers)
    print(f"\n| {slots} slots on Ray | |\n|---|---|")
    print(f"| trials | {len(trials)}: {states.count('COMPLETE')} complete, {states.count('PRUNED')} pruned, none lost |")
    print(f"| died with the removed machine, and went on elsewhere | {len(deaths)} |")
    print(f"| taken up again by the second driver | {taken} |")
    print(f"| the drivers' processor | {cpu_s:.0f} s in {wall_s:.0f} s, {cpu_s / wall_s:.1%}; {cpu_s / len(trials):.2f} s a trial |")
    print(f"| free slot to first word, all slots free at once | {in_words([s for n, s in words.items() if n < slots])} |")
    print(f"| the same, one slot free | {in_words([s for n, s in words.items() if n >= slots])} |")
    print(f"| memory | driver {max(driver.peak for driver in drivers) / 2**20:.0f} MiB at most, {memory} |")


def started(slots: int) -> tuple[Any, list[Any]]:
    """A cluster with so many slots, and its machines but for the first, which the driver joins."""
    from ray.cluster_utils import Cluster

    each = {"num_cpus": min(SLOTS_A_MACHINE, slots // 2), "object_store_memory": 80 * 2**20}
    machines = slots // each["num_cpus"]
    needed = slots * TASK_MIB + machines * MACHINE_MIB
    if (free := psutil.virtual_memory().available / 2**20) < needed:
        raise SystemExit(f"{slots} slots take about {needed / 1024:.0f} GiB, and {free / 1024:.0f} are free; give fewer --slots")
    patient = {"worker_register_timeout_seconds": 600}  # all processes start on this one machine
    cluster = Cluster(initialize_head=True, head_node_args={**each, "include_dashboard": False, "_system_config": patient})
    return cluster, [cluster.add_node(**each) for _ in range(machines - 1)]


def disturbed(folder: Path, slots: int, trials: int, options: list[str]) -> tuple[list[Driver], dict[int, float], str]:
    """Carry out the sweep; returns its two drivers, the delays until the machine is removed, and what memory was used then."""
    begun, free = time.monotonic(), psutil.virtual_memory().available

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun:.0f} s: {what}", flush=True)

    cluster, machines = started(slots)
    try:
        command = [sys.executable, __file__, "--drive", cluster.address, "--folder", str(folder), "--slots", str(slots), *options]
        say(f"a cluster of {len(machines) + 1} machines")
        first = Driver(command, folder / "driver_1.out")
        first.until(lambda: sum(number >= slots for number in delays(folder)) >= max(1, slots // 8))
        words, used = delays(folder), free - psutil.virtual_memory().available
        memory = f"{of_a_task():.0f} MiB a task, {used / 2**30:.1f} GiB in all with Ray's own processes"
        say("a machine is removed")
        cluster.remove_node(machines[-1], allow_graceful=False)
        first.until(lambda: " died " in first.output.read_text())
        noticed = time.monotonic()
        first.until(lambda: len(list(folder.glob("control/*/outcome.json"))) >= trials // 3 and time.monotonic() - noticed > 10)
        if first.process.poll() is not None:
            raise SystemExit(f"the driver ended before it was killed (see {first.output}); a longer --trial-s leaves time for that")
        say("the driver is killed, and the same command given again")
        first.process.kill()
        first.process.wait()
        second = Driver(command, folder / "driver_2.out")
        second.until(lambda: False)
        say("all is done")
    finally:
        cluster.shutdown()
    if second.process.returncode:
        raise SystemExit(f"the driver ended with {second.process.returncode}; see {second.output}")
    return [first, second], words, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--trial-s", type=float, default=120.0, help="that a trial sleeps")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--drive", default=None, help=argparse.SUPPRESS)  # the address of the cluster
    arguments = parser.parse_args()
    slots, trials = arguments.slots, arguments.slots * 5 // 4
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="sweep_ray_"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.drive:
        drive(folder, arguments.drive, slots, trials, arguments.trial_s)
        return
    drivers, words, memory = disturbed(folder, slots, trials, ["--trial-s", str(arguments.trial_s)])
    from src.sweep.trials import load

    found = load(folder, "fleet", None).get_trials(deepcopy=False)
    if faults := lost(found, trials, folder):
        raise SystemExit("\n".join(faults))
    report(found, slots, drivers, words, memory)


if __name__ == "__main__":
    main()
