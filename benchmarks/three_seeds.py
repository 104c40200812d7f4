"""The three experiments over three seeds at micro scale, as the table in docs/findings.md.

    python benchmarks/three_seeds.py [--seeds 42 43 44] [--output outputs/three_seeds]

Every run is `python -m src.run +experiment=NAME seed=SEED` in a process of its own, one after the other; one that is
complete already is not run again. Accuracies are means over the seeds in percent. The interval of a gain holds both its
spread over seeds and over problems (`src.statistics.mean_of`).
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from src.statistics import Side, mean_of

EXPERIMENTS = ("high_quality_data", "mix_easy_hard", "cosine_length")


def finished(folder: Path) -> bool:
    path = folder / "summary.json"
    return path.is_file() and json.loads(path.read_text())["status"] == "complete"


def run(experiment: str, seed: int, root: Path) -> Path:
    folder = root / experiment / f"seed_{seed}"
    if not finished(folder):
        started = time.perf_counter()
        command = [sys.executable, "-m", "src.run", f"+experiment={experiment}", f"seed={seed}", "tracking=none",
                   f"output_root={root}", f"run_dir={folder}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        print(f"{experiment} seed {seed}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return folder


def gains_SP(folders: list[Path], suite: str) -> np.ndarray:
    """Gain of each problem (P) in each run (S): accuracy after less accuracy before."""
    def accuracy(folder: Path, when: str) -> pd.Series:
        rows = pd.read_parquet(folder / "evaluation" / f"{suite}_{when}.parquet")
        return rows.groupby("problem_id", sort=True)["correct"].mean()

    return np.stack([(accuracy(folder, "after") - accuracy(folder, "before")).to_numpy() for folder in folders])


def row(experiment: str, suite: str, folders: list[Path]) -> str:
    results = [json.loads((folder / "summary.json").read_text())["evaluation"][suite] for folder in folders]

    def mean(when: str, figure: str) -> float:
        return statistics.fmean(result[when][figure] for result in results)

    gains = gains_SP(folders, suite)
    interval = mean_of(Side(gains, tuple(range(len(gains)))))
    low, high = interval.low, interval.high
    each = ", ".join(f"{100 * result['after']['gain']['mean']:+.0f}" for result in results)
    return (
        f"| `{experiment}` | {suite} | {100 * mean('before', 'accuracy'):.1f} | {100 * mean('after', 'accuracy'):.1f} | "
        f"{100 * gains.mean():+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] | {each} | "
        f"{mean('before', 'mean_tokens'):.0f} → {mean('after', 'mean_tokens'):.0f} | "
        f"{100 * mean('before', 'truncated_share'):.0f} → {100 * mean('after', 'truncated_share'):.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--experiments", nargs="+", default=EXPERIMENTS, choices=EXPERIMENTS)
    parser.add_argument("--output", type=Path, default=Path("outputs/three_seeds"))
    arguments = parser.parse_args()
    print("| experiment | suite | before % | after % | gain, points [95 %] | by seed | tokens | truncated % |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    seconds = []
    for experiment in arguments.experiments:
        folders = [run(experiment, seed, arguments.output) for seed in arguments.seeds]
        for suite in ("validation", "chains", "chains_long"):
            print(row(experiment, suite, folders), flush=True)
        seconds += [sum(json.loads((f / "summary.json").read_text())["cost"]["seconds"].values()) for f in folders]
    print(f"\nseconds a run, all of it: {min(seconds):.0f} to {max(seconds):.0f}")


if __name__ == "__main__":
    main()
