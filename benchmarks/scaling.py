"""Whether planted laws are found again, and what a study's fit takes: `python -m benchmarks.scaling`.

Synthetic studies of 7 sizes x 105 points x 3 seeds follow the published parameters (arXiv 2509.25300, table 6) with the
noise that its R² leaves. Counted: in how many of 100 draws the 95 % interval holds the planted K_max, N0 and each k(N).
The time of a whole fit with 1,000 resamples is given beside that of one scipy fit of all points, without resamples.

Then claims B 3 to B 5 on studies of five sizes and three seeds, measured on problems of differing difficulty (logistic) by
binomial samples: how often each is contradicted and supported where the law is exactly true, and where it is false (nothing
is learnt at first; the slope of every other size is half of what the law says; or answers get shorter, so that compute and data
have other slopes).
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit, ndtri

from benchmarks.published_studies import Law, published_law, synthetic_curves
from src.report.claims.claims import ClaimConfig, read_studies
from src.report.claims.decision import ClaimEffect, decide
from src.scaling.analysis import add, name_the_figures, nothing_yet
from src.scaling.bootstrap import LEVEL, resamples
from src.scaling.curves import AXES, Curve, study_of
from src.scaling.fitted import fit_laws, fit_linear
from src.scaling.forecast import forecasts
from src.scaling.laws import fit_saturating, fit_saturating_all, moments, points_of
from src.scaling.results import Fits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=list(TABLES), help=f"some of {', '.join(TABLES)} (default: all)")
    parser.add_argument("--draws", type=int, default=100, help="synthetic studies a row")
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    for name in options.tables:
        TABLES[name](options.draws, options.resamples)


def laws_table(draws: int, resampled: int) -> None:
    print("| law | against | noise | draws | K_max held | N0 held | k(N) held | width of K_max's interval |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for variant in ("base", "instruct"):
        for axis in AXES:
            for share, words in ((0.0, "of points"), (0.5, "half common to a run")):
                law = published_law(variant, axis)
                k_max, n0, k, width = held(law, draws, resampled, share)
                print(f"| {variant} | {axis} | {words} | {draws} | {k_max} | {n0} | {k:.1f} | {width:.1%} |", flush=True)


def held(law: Law, draws: int, resampled: int, share: float) -> tuple[int, int, float, float]:
    """How many intervals hold the planted K_max, N0 and k (the mean over sizes); and K_max's width in shares of it."""
    k_max = n0 = 0
    k = width = 0.0
    for draw in range(draws):
        points = points_of(synthetic_curves(law, seed=draw, run_noise_share=share), law.axis)
        fits = fit_saturating_all(moments(points, resamples(points, resampled, seed=draw)), points.sizes_S)
        low, high = np.percentile(fits.k_max_B, LEVEL)
        k_max, width = k_max + (low <= law.k_max <= high), width + (high - low) / law.k_max
        low, high = np.percentile(fits.n0_B, LEVEL)
        n0 += low <= law.n0 <= high
        low_S, high_S = np.percentile(fits.k_BS, LEVEL, axis=0)
        truth_S = np.array([law.k_of(size) for size in points.sizes_S])
        k += float(((low_S <= truth_S) & (truth_S <= high_S)).mean())
    return k_max, n0, k, width / draws


@dataclass(frozen=True)
class Ladder:
    """A study of five sizes, 40,000 to 3 million parameters."""

    problems: int
    samples: int
    run: float = 0.05  # standard deviation of a run's log loss, level and slope each
    late: float = 0.0  # share of a run in which nothing is learnt at first
    shorter: float = 0.0  # share of its tokens that an answer loses along a run
    uneven: float = 1.0  # factor of every other size's slope
    seeds: int = 3
    points: int = 16

    def curves(self, seed: int) -> list[Curve]:
        rng = np.random.default_rng(seed)
        difficulty_Q = rng.normal(0, 2, self.problems)
        prompts_T = np.geomspace(0.1, 1, self.points) * 1e4
        curves = []
        for number, size in enumerate((40_000, 120_000, 360_000, 1_000_000, 3_000_000)):
            slope = 0.4 / (1 + 1e5 / size) * (self.uneven if number % 2 else 1.0)
            tokens_T = prompts_T * 60 * (1 - self.shorter * np.linspace(0, 1, self.points))
            for run in range(self.seeds):
                log_T = np.log(0.3) - slope * np.log(np.maximum(prompts_T / prompts_T[-1], self.late)) + self._of_run(rng)
                chance_TQ = expit(_ease(1 - np.exp(np.minimum(log_T, -0.01)))[:, None] - difficulty_Q)
                solved_TQ = rng.binomial(self.samples, chance_TQ) / self.samples
                loss_T = np.maximum(1 - solved_TQ.mean(axis=1), 0.5 / (self.problems * self.samples))
                compute_T = 6.0 * size * tokens_T * rng.normal(1, 0.01)  # what a run wrote is its own
                curves.append(Curve(size, run, compute_T, prompts_T, loss_T, solved_P=solved_TQ[-1], samples=self.samples))
        return curves

    def _of_run(self, rng: np.random.Generator) -> np.ndarray:
        level, slope = self.run * rng.standard_normal(2)
        return level + slope * np.linspace(-1, 1, self.points)


def _ease(accuracy_T: np.ndarray) -> np.ndarray:
    """Where the mean over problems of normal difficulty, standard deviation 2, has this accuracy."""
    grid, nodes = np.linspace(-12, 12, 400), 2 * ndtri((np.arange(400) + 0.5) / 400)
    return np.interp(accuracy_T, expit(grid[:, None] - nodes).mean(axis=1), grid)


LADDERS = {
    "law true, 100 problems x 1": Ladder(100, 1),
    "law true, 500 problems x 4": Ladder(500, 4),
    "law true, runs of a size alike": Ladder(100, 4, run=0.0),
    "law true, runs far apart": Ladder(100, 4, run=0.15),
    "nothing is learnt in the first third": Ladder(500, 16, run=0.01, late=0.33),
    "every other slope is half": Ladder(500, 4, run=0.02, uneven=0.5),
    "answers lose half of their length": Ladder(500, 4, run=0.02, shorter=0.5),
}
PARTS = ("B3 compute", "B3 data", "B4 within", "B4 across", "B5")


def claims_table(draws: int, resampled: int) -> None:
    print("\n| studies | " + " | ".join(PARTS) + " |\n| --- |" + " ---: |" * len(PARTS))
    for name, ladder in LADDERS.items():
        found = [outcomes(ladder, draw, resampled) for draw in range(draws)]
        cells = [
            f"{sum(each[part] == 'contradicted' for each in found)}, {sum(each[part] == 'supported' for each in found)}"
            for part in PARTS
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"contradicted, supported of {draws} studies; the others undecided or with too much noise")


def outcomes(ladder: Ladder, seed: int, resampled: int = 200) -> dict[str, str]:
    """What the report would say of each part of claims B 3 to B 5."""
    study, results = study_of("ladder", ladder.curves(seed)), nothing_yet()
    found = [fitted for axis in AXES for fitted in fit_linear(study, axis, resampled) if fitted.law == "saturating"]
    add(results, found, [each for each in forecasts(study, 1)[0] if each.law == "saturating"])
    name_the_figures(results, study.name)
    fits = Fits(Path(), results)
    tests = [test for claim in read_claims("B3", "B4", "B5") for test in claim.full]
    said = {}
    for part, test in zip(PARTS, tests, strict=True):
        interval = fits.number(test.of["number"])
        said[part] = decide(test, ClaimEffect(interval, ladder.seeds))[0] if interval else "too much noise"
    return said


def read_claims(*ids: str) -> list[ClaimConfig]:
    return [claim for study in read_studies() for claim in study.claims if claim.id in ids]


def times(_: int, resampled: int) -> None:
    """Seconds of everything on one study over both axes, and of a single fit."""
    study = study_of("synthetic", synthetic_curves(published_law()))
    begun = time.perf_counter()
    for axis in AXES:
        fit_laws(study, axis, resampled)
    forecasts(study, resampled)
    whole, points = time.perf_counter() - begun, points_of(study.curves, "compute")
    begun = time.perf_counter()
    fit_saturating(moments(points), points.sizes_S)
    one = time.perf_counter() - begun
    print(f"all laws and forecasts with {resampled} resamples: {whole:.1f} s; one scipy fit: {one * 1e3:.1f} ms")


TABLES = {"laws": laws_table, "claims": claims_table, "times": times}

if __name__ == "__main__":
    main()
