"""How early the monitor speaks in runs that collapse, and how often in healthy ones, at micro scale.

    python benchmarks/stability.py [--output outputs/stability] [--healthy outputs/sweeps/alpha_family ...]

Trains 20 runs that go wrong in three ways (KINDS), each seed once, two at once; what is complete is not run again. Healthy
runs are all finished ones below the folders of --healthy, 20 or more; without it 20 are trained. A run has lost 5 points at the first
of two validations in a row that far below the best before them, its base among them: one alone may be noise. The monitor
is that of src/training/stability.py with conf/stability/watch.yaml. Its bounds were set on other runs, but for the two steps of the
limit on KL, which these suggested.
"""

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import yaml

from src.record.record import read_steps
from src.training.stability import LOST, VALIDATION, Alarm, StabilityConfig, alarms_of

WATCH = Path(__file__).resolve().parents[1] / "conf" / "stability" / "watch.yaml"
OFTEN = (
    "+experiment=mix_easy_hard", "tracking=none", "evaluation.validation.every_steps=2", "evaluation.validation.samples=2",
    "~evaluation.suites.chains", "~evaluation.suites.chains_long",
)
KINDS = {  # settings, and seeds
    "learning rate 5 times too high": (("lr=constant", "lr.peak=1e-3", "scale.steps=24"), range(11, 19)),
    "no KL, no format and no language term": (
        ("reward=accuracy", "lr=constant", "lr.peak=8e-4", "trainer.beta=0", "scale.steps=36"), range(21, 27)
    ),
    "length limit a quarter of what answers need": (
        ("reward=accuracy", "length.fraction=0.25", "lr=constant", "lr.peak=5e-4", "scale.steps=30"), range(31, 37)
    ),
}
HEALTHY = (("scale.steps=40",), range(41, 61))
WANTED = 20  # healthy runs
SLOTS = 2


@dataclass(frozen=True)
class Watched:
    """A run as the monitor saw it."""

    lost_at: int | None  # step at which 5 points were lost
    alarms: list[Alarm]

    @property
    def early(self) -> int | None:
        """Steps between the first alarm and the loss; negative if it came after."""
        return self.lost_at - self.alarms[0].step if self.lost_at is not None and self.alarms else None


def watched(folder: Path) -> Watched:
    lines = read_steps(folder)
    base = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["evaluation"]["validation"]["before"]["accuracy"]
    seen = [(0, base), *((line["step"], line[VALIDATION]) for line in lines if line.get(VALIDATION) is not None)]
    lost_at, best = None, base
    for (step, value), (_, later) in pairwise(seen):
        best = max(best, value)
        if best - max(value, later) > LOST:
            lost_at = step
            break
    watch = StabilityConfig(**yaml.safe_load(WATCH.read_text(encoding="utf-8")))
    shuffled = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["mix"]["order"] == "shuffled"
    return Watched(lost_at, alarms_of(lines, watch, shuffled))


def finished(folder: Path) -> bool:
    path = folder / "summary.json"
    return path.is_file() and json.loads(path.read_text(encoding="utf-8"))["status"] == "complete"


def train(folder: Path, settings: tuple[str, ...], seed: int) -> Path:
    """A run of its own process, continued where it was broken off."""
    if not finished(folder):
        new = (*OFTEN, *settings, f"seed={seed}", f"output_root={folder.parents[1]}", f"run_dir={folder}")
        arguments = (f"resume={folder}",) if (folder / "summary.json").is_file() else new
        subprocess.run([sys.executable, "-m", "src.run", *arguments], check=True, stdout=subprocess.DEVNULL)
    print(f"{folder.parent.name}, seed {seed}: done", file=sys.stderr, flush=True)
    return folder


def trained(root: Path, kind: str, settings: tuple[str, ...], seeds: range) -> list[Path]:
    place = root / kind.replace(" ", "_")
    with ThreadPoolExecutor(SLOTS) as pool:
        return list(pool.map(lambda seed: train(place / f"seed_{seed}", settings, seed), seeds))


def row(kind: str, runs: list[Watched]) -> str:
    lost = [run for run in runs if run.lost_at is not None]
    early = sorted(run.early for run in lost if run.early is not None)
    in_time = sum(steps >= 0 for steps in early)
    first = statistics.multimode([run.alarms[0].signal for run in runs if run.alarms])
    shown = f"{statistics.median(early):+.0f} ({early[0]:+d} to {early[-1]:+d})" if early else "-"
    spoke = sum(bool(run.alarms) for run in runs)
    return f"| {kind} | {len(runs)} | {len(lost)} | {spoke} | {in_time} | {shown} | {', '.join(first) or '-'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/stability"))
    parser.add_argument("--healthy", type=Path, nargs="+", help="folders with finished healthy runs, such as sweeps'")
    arguments = parser.parse_args()
    root = arguments.output.resolve()
    rows = [row(kind, [watched(folder) for folder in trained(root, kind, *how)]) for kind, how in KINDS.items()]
    if arguments.healthy:
        found = {folder: [path.parent for path in sorted(folder.rglob("summary.json"))] for folder in arguments.healthy}
        healthy = [run for runs in found.values() for run in runs if finished(run)]
        print("healthy:", ", ".join(f"{sum(map(finished, runs))} of {folder}" for folder, runs in found.items()), file=sys.stderr)
        if len(healthy) < WANTED:
            sys.exit(f"--healthy: {len(healthy)} finished runs, {WANTED} or more are wanted")
    else:
        healthy = trained(root, "healthy", *HEALTHY)
    rows.append(row("healthy", [watched(folder) for folder in healthy]))
    print("| kind | runs | lost 5 points | spoke | in time | steps before the loss, median (range) | first signal |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
