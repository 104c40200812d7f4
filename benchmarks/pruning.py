"""Pruners against each other on replayed studies: what each costs, and how far from the best it ends.

    python benchmarks/pruning.py [--studies 200] [--trials 32] [--curves DIR]

Each study is drawn anew and replayed under every pruner, two trials at once: its true curves, and validations of them that are
noisy as 320 samples are. A curve rises to a level of its own at a pace of its own, and some fall again, as too high learning rates
do; or, with --curves, true curves are the smoothed recorded ones of all full runs below a folder, each shifted a little. Optuna,
its storage and the pruners are the real ones. Reported, with 95 % intervals over studies: the steps that were run of all there
are; the regret, which is how far the true end of the trial that the sweep would pick, the one with the best last validation, is
below the best there is; both also against the median pruner, paired by study.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import TrialState

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.sweeps import recorded_curves
from src.sweep.pruners import ERRORS, build_pruner

SAMPLES = 320  # of a validation at micro scale
STEPS = 8  # validations of a run
SLOTS = 2
PRUNERS = {
    "none": {"name": "none"},
    "median": {"name": "median"},
    "median, 4 first": {"name": "median", "n_startup_trials": 4},
    "successive halving": {"name": "successive_halving", "reduction_factor": 2},
    **{f"likely, k {k}, {p:g}": {"name": "likely", "k": k, "probability": p} for k in (1, 3) for p in (0.01, 0.02, 0.05, 0.1, 0.2)},
}


def drawn_curves(rng: np.random.Generator, trials: int) -> np.ndarray:
    """True accuracies of so many trials at each validation."""
    time_T = np.arange(1, STEPS + 1) / STEPS
    start, level_N = 0.45, np.clip(rng.normal(0.68, 0.09, trials), 0.1, 0.97)
    pace_N = np.exp(rng.normal(np.log(0.3), 0.6, trials))
    curves_NT = level_N[:, None] + (start - level_N[:, None]) * np.exp(-time_T / pace_N[:, None])
    falls_N = np.where(rng.random(trials) < 0.15, rng.uniform(0.2, 1.0, trials), 9.0)
    return np.clip(curves_NT - 1.2 * np.maximum(time_T - falls_N[:, None], 0.0), 0.02, 0.98)


def resampled(recorded: list[list[float]]) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Draws of smoothed recorded curves, each shifted a little."""
    smooth_NT = np.array([np.convolve(np.pad(curve, 1, "edge"), [0.25, 0.5, 0.25], "valid") for curve in recorded])

    def drawn(rng: np.random.Generator, trials: int) -> np.ndarray:
        return np.clip(smooth_NT[rng.integers(len(smooth_NT), size=trials)] + rng.normal(0, 0.03, (trials, 1)), 0.02, 0.98)

    return drawn


def replayed(curves_NT: np.ndarray, seen_NT: np.ndarray, pruner: dict) -> tuple[float, float]:
    """The share of the steps that a pruner has run, and its regret."""
    study = optuna.create_study(direction="maximize", pruner=build_pruner(pruner))
    waiting, running, steps = list(range(len(curves_NT))), [], 0
    while waiting or running:
        while waiting and len(running) < SLOTS:
            running.append((study.ask(), waiting.pop(0), 0))
        trial, number, step = running.pop(0)  # by turns
        value = float(seen_NT[number, step])
        errors = trial.user_attrs.get(ERRORS, {}) | {str(step + 1): float(np.sqrt(value * (1 - value) / SAMPLES))}
        trial.set_user_attr(ERRORS, errors)
        trial.report(value, step + 1)
        steps += 1
        if step + 1 == curves_NT.shape[1]:
            trial.set_user_attr("number", number)
            study.tell(trial, value)
        elif trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
        else:
            running.append((trial, number, step + 1))
    return steps / curves_NT.size, float(curves_NT[:, -1].max() - curves_NT[study.best_trial.user_attrs["number"], -1])


def interval(values: np.ndarray) -> str:
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return f"{100 * values.mean():.2f} ± {100 * half:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--curves", type=Path, default=None)
    parser.add_argument("--only", nargs="+", default=list(PRUNERS), choices=list(PRUNERS))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    drawn = resampled(recorded_curves(arguments.curves)) if arguments.curves else drawn_curves
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in dict.fromkeys(["median", *arguments.only])}
    for number in range(arguments.studies):
        rng = np.random.default_rng(number)
        curves_NT = drawn(rng, arguments.trials)
        seen_NT = rng.binomial(SAMPLES, curves_NT) / SAMPLES
        for name, results in found.items():
            results.append(replayed(curves_NT, seen_NT, PRUNERS[name]))
    base_S2 = np.array(found["median"])
    print("| pruner | steps run, % | regret, points | steps against the median pruner | regret against it |\n|---|---|---|---|---|")
    for name, results in found.items():
        all_S2 = np.array(results)
        columns = [*all_S2.T, *(all_S2 - base_S2).T]
        print(f"| {name} | " + " | ".join(interval(column) for column in columns) + " |", flush=True)


if __name__ == "__main__":
    main()
