"""Pruners against each other on replayed studies: what each costs, and how far from the best it ends.

    python benchmarks/pruning.py [--studies 200] [--trials 32] [--curves DIR] [--only NAME ...]

Each study is drawn anew and replayed under every pruner, two trials at once: its true curves, and validations of them that are
noisy as 320 samples are. A curve rises to a level of its own at a pace of its own, and some fall again, as too high learning rates
do; or, with --curves, true curves are the smoothed recorded ones of all full runs below a folder, each shifted a little. Optuna,
its storage and the pruners are the real ones. Reported, with 95 % intervals over studies: the steps that were run of all there
are; the regret, which is how far the true end of the trial that the sweep would pick, the one with the best last validation, is
below the best there is; the same of the best checkpoints, where a trial counts by its best validation; and the samples drawn, of
all of the validations that were run. All also against the pruner without rounds, or the median pruner, paired by study.

Racing: a validation before the last is drawn in rounds, and ends as soon as the pruner says the same at both ends of the interval
in which the whole one will lie (95 %). It is then recorded as it is; the checkpoint that comes out best is measured whole. Careful
racing goes on where the validation may be the trial's best. A second table says what that is of a trial's planned time, at most: in
rounds of one sample of each problem, no checkpoint measured again.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
from optuna.trial import Trial, TrialState

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.sweeps import SIZE, recorded_curves
from src.config.tree import parse
from src.model.architecture import architecture
from src.plan.cost_model import evaluation_seconds, seconds
from src.plan.workload import workload
from src.run import composed
from src.sweep.pruners import ERRORS, build_pruner

SAMPLES = 320  # of a validation at micro scale
ROUNDS = 4  # at most, of a validation
STEPS = 8  # validations of a run
SLOTS = 2
PRUNERS = {
    "none": {"name": "none"},
    "median": {"name": "median"},
    "median, 4 first": {"name": "median", "n_startup_trials": 4},
    "successive halving": {"name": "successive_halving", "reduction_factor": 2},
    **{f"likely, k {k}, {p:g}": {"name": "likely", "k": k, "probability": p} for k in (1, 3) for p in (0.01, 0.02, 0.05, 0.1, 0.2)},
}
TRIALS = {
    "micro": ("+experiment=mix_easy_hard",), "micro, validated every 5 steps, no suites": SIZE,
    **{scale: ("+experiment=mix_easy_hard", f"scale={scale}") for scale in ("h200", "open_rs")},
}  # fmt: skip
Enough = Callable[[bool, bool, bool], bool]  # of what the pruner says at both ends, and whether the high one is beaten, see Drawing


def plain(low: bool, high: bool, beaten: bool) -> bool:
    return low == high


def careful(low: bool, high: bool, beaten: bool) -> bool:
    return low == high and (low or beaten)


@dataclass(frozen=True)
class Drawing:
    """How validations before the last are drawn and judged: by which pruner, in how many rounds, and what is enough to end them: by
    what the pruner says at the low and at the high end, and whether an earlier one of the trial is better than the high end."""

    pruner: str
    doubt: float = 0.0  # standard errors that are added to a validation before the pruner judges it
    rounds: int = 1
    enough: Enough = plain


RACES = {"racing": plain, "careful racing": careful}
DRAWINGS = {name: Drawing(name) for name in PRUNERS} | {
    "median, by the upper end of the interval": Drawing("median", doubt=1.96),
    **{
        f"median, {kind} in {rounds} rounds": Drawing("median", rounds=rounds, enough=enough)
        for kind, enough in RACES.items() for rounds in (2, 4)
    },
    "median, a quarter of the samples": Drawing("median", rounds=4, enough=lambda *_: True),
    "likely, k 1, 0.02, racing in 4 rounds": Drawing("likely, k 1, 0.02", rounds=4),
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


def in_rounds(rng: np.random.Generator, solved_NT: np.ndarray) -> np.ndarray:
    """Of the solved samples of whole validations those that each round and the ones before it drew."""
    size, drawn = SAMPLES // ROUNDS, [np.zeros_like(solved_NT)]
    for number in range(ROUNDS):
        left_NT = solved_NT - drawn[-1]
        drawn.append(drawn[-1] + rng.hypergeometric(left_NT, SAMPLES - number * size - left_NT, size))
    return np.array(drawn[1:])


def error_of(share: float, samples: int) -> float:
    return float(np.sqrt(share * (1 - share) / samples))


def says(study: optuna.Study, trial: Trial, step: int, value: float, error: float) -> bool:
    """What the pruner would say if a trial's validation came out so."""
    frozen = copy.copy(study.get_trials(deepcopy=False)[trial.number])
    frozen.intermediate_values = frozen.intermediate_values | {step: value}
    frozen.user_attrs = frozen.user_attrs | {ERRORS: frozen.user_attrs.get(ERRORS, {}) | {str(step): error}}
    return study.pruner.prune(study, frozen)


def samples_needed(study: optuna.Study, trial: Trial, step: int, solved_R: np.ndarray, drawing: Drawing) -> int:
    """Samples after which the validation ends; of the outcome of those not drawn (solved + 1) / (drawn + 2) is expected."""
    size = SAMPLES // drawing.rounds
    best = max(study.get_trials(deepcopy=False)[trial.number].intermediate_values.values(), default=0.0)
    for drawn in range(size, SAMPLES, size):
        solved = solved_R[drawn * ROUNDS // SAMPLES - 1]
        share, half = solved / drawn, 1.96 * error_of((solved + 1) / (drawn + 2), drawn) * np.sqrt(1 - drawn / SAMPLES)
        low, high = (says(study, trial, step, end, error_of(share, SAMPLES)) for end in (share - half, share + half))
        if drawing.enough(low, high, best > share + half):
            return drawn
    return SAMPLES


class Replay(NamedTuple):
    steps: float  # share of all that were run
    regret: float
    best_regret: float  # of best checkpoints
    samples: float  # share of those of the validations that were run
    rounds: float  # share of its rounds that a validation before the last took, on average


def replayed(curves_NT: np.ndarray, solved_RNT: np.ndarray, drawing: Drawing) -> Replay:
    study = optuna.create_study(direction="maximize", pruner=build_pruner(PRUNERS[drawing.pruner]))
    waiting, running, complete = list(range(len(curves_NT))), [], []
    seen_NT, drawn_NT = np.full(curves_NT.shape, np.nan), np.zeros(curves_NT.shape, int)
    while waiting or running:
        while waiting and len(running) < SLOTS:
            running.append((study.ask(), waiting.pop(0), 0))
        trial, number, step = running.pop(0)  # by turns
        at, last = step + 1, step + 1 == curves_NT.shape[1]
        drawn = SAMPLES if last else samples_needed(study, trial, at, solved_RNT[:, number, step], drawing)
        value = float(solved_RNT[drawn * ROUNDS // SAMPLES - 1, number, step] / drawn)
        seen_NT[number, step], drawn_NT[number, step] = value, drawn
        error = error_of(value, drawn)
        trial.set_user_attr(ERRORS, trial.user_attrs.get(ERRORS, {}) | {str(at): error})
        trial.report(value, at)
        if last:
            complete.append(number)
            study.tell(trial, value)
        elif says(study, trial, at, value + drawing.doubt * error, error):
            study.tell(trial, state=TrialState.PRUNED)
        else:
            running.append((trial, number, at))
    return _judged(curves_NT, solved_RNT[-1], seen_NT, drawn_NT, complete)


def _judged(curves_NT: np.ndarray, solved_NT: np.ndarray, seen_NT: np.ndarray, drawn_NT: np.ndarray, complete: list[int]) -> Replay:
    """What a study came to, by its true curves, what whole validations would have solved, and what was seen and drawn."""
    ran_NT, rounds = drawn_NT > 0, drawn_NT[:, :-1].sum() / (drawn_NT[:, :-1] > 0).sum() / SAMPLES
    best = {number: int(seen_NT[number].argmax()) for number in complete}
    drawn_NT[list(best), list(best.values())] = SAMPLES
    picked = max(complete, key=lambda number: solved_NT[number, -1])
    picked_by_best = max(complete, key=lambda number: solved_NT[number, best[number]])
    return Replay(
        ran_NT.mean(), curves_NT[:, -1].max() - curves_NT[picked, -1],
        curves_NT.max() - curves_NT[picked_by_best, best[picked_by_best]], drawn_NT.sum() / ran_NT.sum() / SAMPLES, rounds,
    )


def time_saved(overrides: Sequence[str], kind: str, found: Mapping[str, Sequence[Replay]]) -> str:
    """Of a trial's planned time, what racing saves in validations between the first and the last, in as many rounds as
    they have samples of a problem."""
    config = parse(composed(overrides))
    w, spec, rounds = workload(config, architecture(config.model)), config.hardware.known_spec, config.evaluation.validation.samples
    validation = next(each for each in w.evaluations if each.name == "validation")
    whole = replace(validation, times=validation.times - 2)
    of_one, all_s = replace(whole, completions=whole.completions // rounds), sum(seconds(w, spec).values())
    taken = rounds * np.mean([replay.rounds for replay in found[f"median, {kind} in {rounds} rounds"]])
    saved_s = evaluation_seconds(w, spec, whole) - taken * evaluation_seconds(w, spec, of_one)
    return f"{saved_s / all_s:.1%} of {all_s / 3600:.2f} h, {rounds} rounds"


def interval(values: np.ndarray) -> str:
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return f"{100 * values.mean():.2f} ± {100 * half:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--curves", type=Path, default=None)
    parser.add_argument("--only", nargs="+", default=list(DRAWINGS), choices=list(DRAWINGS))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    drawn = resampled(recorded_curves(arguments.curves)) if arguments.curves else drawn_curves
    against = {name: DRAWINGS[name].pruner if DRAWINGS[name].rounds > 1 else "median" for name in arguments.only}
    found: dict[str, list[Replay]] = {name: [] for name in dict.fromkeys(["median", *against.values(), *against])}
    for number in range(arguments.studies):
        rng = np.random.default_rng(number)
        curves_NT = drawn(rng, arguments.trials)
        solved_RNT = in_rounds(np.random.default_rng([number, 1]), rng.binomial(SAMPLES, curves_NT))
        for name, results in found.items():
            results.append(replayed(curves_NT, solved_RNT, DRAWINGS[name]))
    titles = ("steps run, %", "regret, points", "regret of best checkpoints", "samples drawn, %")
    print(f"| pruner | {' | '.join(titles)} | against | {' | '.join(titles[:3])} |\n|{'---|' * 9}")
    for name, results in found.items():
        all_S5, base_S5 = np.array(results), np.array(found[against.get(name, "median")])
        own, differences = ([interval(column) for column in values.T] for values in (all_S5, all_S5 - base_S5))
        print(f"| {' | '.join([name, *own[:4], against.get(name, 'median'), *differences[:3]])} |", flush=True)
    if {f"median, {kind} in {rounds} rounds" for kind in RACES for rounds in (2, 4)} <= found.keys():
        print(f"\n| of a trial's planned time saved by | {' | '.join(TRIALS)} |\n|{'---|' * (len(TRIALS) + 1)}")
        for kind in RACES:
            print(f"| {kind} | {' | '.join(time_saved(overrides, kind, found) for overrides in TRIALS.values())} |")


if __name__ == "__main__":
    main()
