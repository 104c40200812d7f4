"""Evaluation that stops when it is decided: what it saves, and whether its intervals still hold.

    python -m benchmarks.evaluation_rounds simulate [--studies 1000]
    python -m benchmarks.evaluation_rounds models BASE MODEL… [--samples 32] [--half-width 0.06 0.04] [--output FOLDER]

`simulate`: studies of which the truth is known. Problems are drawn anew, each with its chance to be solved before and after;
both are measured as a run measures them. Shares of intervals that hold the true gain, and of completions that were drawn, with
all samples and with each width. Standard error of a share: 0.7 points with 1,000 studies.

`models`: the embedded suites measured on real models, with all samples and until each width, from one pool of samples: tokens,
gains over BASE and verdicts.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.common.types import Problem, Suite
from src.evaluation.config import UntilConfig
from src.evaluation.rounds import drawn_in_rounds
from src.evaluation.summary import gain, per_problem, side_of
from src.statistics import difference

SUITES = ("chains", "chains_long")  # of the embedded lab
ALL_AT_ONCE = UntilConfig(samples_per_round=2)
MANY = 400_000  # problems, for the true gain


@dataclass(frozen=True)
class World:
    """Problems of a suite, the gain in log-odds and its spread over problems, and how closely it is measured."""

    problems: int
    samples: int
    gain: float
    spread: float
    widths: tuple[float, ...]

    def chances(self, rng: np.random.Generator, problems: int) -> tuple[np.ndarray, np.ndarray]:
        """Before and after; problems that are nearly always or never solved are the most frequent, as in benchmarks."""
        before = np.clip(rng.beta(0.5, 0.6, problems), 1e-6, 1 - 1e-6)
        odds = np.log(before / (1 - before)) + self.gain + self.spread * rng.standard_normal(problems)
        return before, 1 / (1 + np.exp(-odds))


WORLDS = (
    World(30, 32, 0.0, 0.5, (0.08, 0.05)),
    World(30, 32, 0.8, 0.5, (0.08, 0.05)),
    World(100, 16, 0.0, 0.5, (0.05, 0.03)),
    World(100, 16, 0.8, 0.5, (0.05, 0.03)),
    World(500, 8, 0.0, 0.5, (0.025, 0.015)),
    World(500, 8, 0.4, 1.0, (0.025, 0.015)),
)


def draws(chances_P: np.ndarray, rng: np.random.Generator):
    """Samples as the pool gives them."""

    def draw(wanted):
        counts = np.array([len(numbers) for numbers in wanted.values()])
        places = np.repeat([int(problem.id) for problem in wanted], counts)
        numbers = np.concatenate([np.arange(numbers.start, numbers.stop) for numbers in wanted.values()])
        correct = rng.random(len(places)) < chances_P[places]
        return pd.DataFrame({"problem_id": places, "sample": numbers, "correct": correct, "right_unboxed": False})

    return draw


def simulate(world: World, studies: int) -> Iterator[str]:
    """A row of the table for all samples, and for each width."""
    before, after = world.chances(np.random.default_rng(0), MANY)
    truth = float((after - before).mean())
    suite = Suite("simulated", tuple(Problem(str(n), "", "", "easy", None, "") for n in range(world.problems)), world.samples)
    for until in (ALL_AT_ONCE, *(UntilConfig(half_width=width) for width in world.widths)):
        rng = np.random.default_rng(1)
        page, summary, errors, drawn = [], [], [], []
        for _ in range(studies):
            chances = world.chances(rng, world.problems)
            first = drawn_in_rounds(suite, until, draws(chances[0], rng), None)
            second = drawn_in_rounds(suite, until, draws(chances[1], rng), first)
            interval, told = difference(side_of(second), side_of(first)).interval, gain(first, second)
            page.append(interval.low <= truth <= interval.high)
            summary.append(told["ci_low"] <= truth <= told["ci_high"])
            errors.append(told["mean"] - truth)
            drawn.append((len(first) + len(second)) / (2 * world.problems * world.samples))
        asked = f"±{100 * until.half_width:.1f}" if until.half_width else "all samples"
        yield (
            f"| {world.problems} × {world.samples} | {100 * truth:+.1f} | {asked} | {np.mean(drawn):.0%} | {np.mean(page):.1%} "
            f"| {np.mean(summary):.1%} | {100 * np.mean(errors):+.2f} |"
        )


def measure(options: argparse.Namespace) -> Iterator[str]:
    """A row of the table for each suite, model and width, and one for all tokens of a width."""
    from src.common.screen import Screen
    from src.evaluate import configurations
    from src.experiment.measuring import measure_models

    suites = [f"evaluation.suites.{suite}.samples={options.samples}" for suite in SUITES]
    for until in ("samples_per_round=2", *(f"half_width={width}" for width in options.half_width)):
        asked = [*options.models, *suites, f"evaluation.until.{until}", f"output_root={options.output}"]
        folders = measure_models(configurations(asked), Screen(quiet=True))
        paths = [{suite: folder / "evaluation" / f"{suite}_measured.parquet" for suite in SUITES} for folder in folders]
        tables = [{suite: pd.read_parquet(path) for suite, path in each.items()} for each in paths]
        for suite in SUITES:
            for model, rows in zip(options.models, (each[suite] for each in tables), strict=True):
                yield f"| {until} | {suite} | {Path(model).name} | {rows['tokens'].sum():,} | {told(rows, tables[0][suite])} |"
        total = sum(int(rows["tokens"].sum()) for each in tables for rows in each.values())
        yield f"| {until} | all | | {total:,} | | | |"


def told(rows: pd.DataFrame, before: pd.DataFrame) -> str:
    """Accuracy, gain and verdict."""
    accuracy = f"{100 * per_problem(rows).mean():.1f} %"
    if rows is before:
        return f"{accuracy} | | "
    found = difference(side_of(rows), side_of(before)).interval
    verdict = "better" if found.low > 0 else "worse" if found.high < 0 else "not resolved"
    return f"{accuracy} | {100 * found.mean:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f}) | {verdict}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    simulated = parts.add_parser("simulate")
    simulated.add_argument("--studies", type=int, default=1000)
    real = parts.add_parser("models")
    real.add_argument("models", nargs="+")
    real.add_argument("--samples", type=int, default=32)
    real.add_argument("--half-width", type=float, nargs="+", default=[0.06, 0.04])
    real.add_argument("--output", type=Path, default=Path("outputs/evaluation_rounds"))
    options = parser.parse_args()
    if options.part == "simulate":
        print("| problems × samples | true gain | until | completions drawn | page's intervals hold | summary's hold | bias, points |")
        print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
        for world in WORLDS:
            for row in simulate(world, options.studies):
                print(row, flush=True)
        return
    print("| until | suite | model | tokens | accuracy | gain | verdict |\n| --- | --- | --- | ---: | ---: | ---: | --- |")
    for row in measure(options):
        print(row, flush=True)


if __name__ == "__main__":
    main()
