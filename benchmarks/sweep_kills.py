"""Kills a sweep at random moments until it is done anyway, and compares it with one that nobody disturbed.

    python benchmarks/sweep_kills.py [--branching] [--kills 20] [--trials 12] [--seed 0] [--folder DIR]

What is killed (SIGKILL) is drawn each time: the sweeper, one of its trials, or both at once; when, too. After a
sweeper was killed the same command is given again. Points are drawn at random by trial number, without pruning, so
both sweeps hold the same trials, and each must have exactly the values of the undisturbed sweep.

With --branching the space is a grid of learning rates under three lengths each, which part at steps 2 and 3 of 4. The sweep that
is killed runs what they share once (sweep.share_beginnings=true), the undisturbed one each trial alone.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

TOY = (
    "+experiment=mix_easy_hard", "scale.steps=4", "algorithm.prompts_per_step=4", "hardware.device_batch_size=12",
    "evaluation.validation.problems_per_level=6", "evaluation.validation.samples=2",
    "evaluation.validation.every_steps=2", "evaluation.suites.chains.pool.count=8",
    "evaluation.suites.chains.samples=1", "~evaluation.suites.chains_long", "record.checkpoint_every_steps=2",
    "record.completions_every_steps=2", "tracking=none",
)
SPACE = ("mix.easy_share=interval(0,1)", "length=fixed,staged,linear", "lr.peak=tag(log,interval(1e-5,1e-3))")
BRANCHING = ("length=staged", "length.stage_begins=[0,0.5,0.75]", "length.stage_fractions=[1,1,1],[1,1,0.5],[1,0.5,0.5]")


def space_of(trials: int, branching: bool) -> tuple[str, ...]:
    """The space of so many trials, and who draws them."""
    if not branching:
        return (*SPACE, "sweep.sampler=random", f"sweep.n_trials={trials}")
    return (*BRANCHING, f"lr.peak={','.join(f'{number}e-4' for number in range(1, trials // 3 + 1))}")


def start(folder: Path, space: Sequence[str]) -> subprocess.Popen[bytes]:
    # Kills are not the trials' own failures here: as many attempts as it takes.
    options = ("sweep.pruner=none", "sweep.n_jobs=2", "sweep.retries=1000", f"output_root={folder}")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "sweep.out").open("ab") as output:
        command = [sys.executable, "-m", "src.run", "-m", *TOY, *space, *options]
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)


def trial_processes(sweeper: int) -> list[psutil.Process]:
    """The nursery's children."""
    try:
        nurseries = [p for p in psutil.Process(sweeper).children() if "src.sweep.engines.nursery" in p.cmdline()]
        return [trial for nursery in nurseries for trial in nursery.children()]
    except psutil.NoSuchProcess:
        return []


def kill_at_random(sweeper: subprocess.Popen[bytes], rng: random.Random) -> str:
    """Kill something; returns what it was."""
    trials = trial_processes(sweeper.pid)
    what = rng.choice(["sweeper", "trial", "both"]) if trials else "sweeper"
    if what != "sweeper":
        try:
            rng.choice(trials).kill()
        except psutil.NoSuchProcess:
            what += " (which had just ended)"
    if not what.startswith("trial"):
        sweeper.send_signal(signal.SIGKILL)
        sweeper.wait()
    return what


def disturbed(folder: Path, space: Sequence[str], kills: int, whole_s: float, rng: random.Random) -> list[str]:
    """A sweep that is killed `kills` times, and then left to end; returns what was killed. Undisturbed it takes `whole_s`."""
    done: list[str] = []
    sweeper = start(folder, space)
    while True:
        try:
            code = sweeper.wait(timeout=whole_s * rng.uniform(0.05, 0.2) if len(done) < kills else None)
        except subprocess.TimeoutExpired:
            done.append(kill_at_random(sweeper, rng))
            print(f"  kill {len(done)}: {done[-1]}", flush=True)
            if sweeper.poll() is not None:
                sweeper = start(folder, space)
            continue
        if code != 0:
            raise SystemExit(f"the sweep ended with {code}; see {folder}/sweep.out")
        return done


def compare(undisturbed: Path, killed: Path) -> list[str]:
    """What differs between two sweeps, in words."""
    import pandas as pd

    one, other = (pd.read_parquet(next(folder.glob("sweeps/*/trials.parquet"))) for folder in (undisturbed, killed))
    keys = ["number", "state", "evaluation.validation.best.accuracy", *(c for c in one if c.startswith("param/"))]
    faults = []
    if list(other["number"]) != list(range(len(one))):
        faults.append(f"{len(other)} trials instead of {len(one)}")
    if not one[keys].equals(other[keys]):
        faults.append(f"trials differ:\n{one[keys].compare(other[keys])}")
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--branching", action="store_true")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.branching and arguments.trials % 3:
        parser.error("--branching has three trials of each learning rate; give --trials a multiple of 3")
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="sweep_kills_"))).resolve()
    space, sharing = space_of(arguments.trials, arguments.branching), f"sweep.share_beginnings={arguments.branching}"
    begun = time.monotonic()
    if start(folder / "undisturbed", space).wait() != 0:
        raise SystemExit(f"the undisturbed sweep failed; see {folder}/undisturbed/sweep.out")
    middle = time.monotonic()
    print(f"undisturbed: {arguments.trials} trials in {middle - begun:.0f} s", flush=True)
    done = disturbed(folder / "killed", (*space, sharing), arguments.kills, middle - begun, random.Random(arguments.seed))
    print(f"killed {len(done)} times: {arguments.trials} trials in {time.monotonic() - middle:.0f} s")
    if faults := compare(folder / "undisturbed", folder / "killed"):
        raise SystemExit("\n".join(faults))
    if arguments.branching and len(branched := list(folder.glob("killed/sweeps/*/trials/*/beginning.json"))) < arguments.trials:
        raise SystemExit(f"only {len(branched)} trials went on from a beginning that they share")
    print("the same trials with the same values: nothing lost, nothing run twice")


if __name__ == "__main__":
    main()
