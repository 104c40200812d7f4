"""Whether planted laws are found again, and what a study's fit takes: `python -m benchmarks.scaling`.

Synthetic studies of 7 sizes x 105 points x 3 seeds follow the published parameters (arXiv 2509.25300, table 6) with the
noise that its R² leaves. Counted: in how many of 100 draws the 95 % interval holds the planted K_max, N0 and each k(N).
The time of a whole fit with 1,000 resamples is given beside that of one scipy fit of all points, without resamples.
"""

import argparse
import time

import numpy as np

from benchmarks.published_studies import Law, published_law, synthetic_curves
from src.scaling.bootstrap import LEVEL, resamples
from src.scaling.curves import AXES, study_of
from src.scaling.fitted import fit_laws
from src.scaling.forecast import forecasts
from src.scaling.laws import fit_saturating, fit_saturating_all, moments, points_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=100, help="synthetic studies a row")
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    print("| law | against | noise | draws | K_max held | N0 held | k(N) held | width of K_max's interval |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for variant in ("base", "instruct"):
        for axis in AXES:
            for share, words in ((0.0, "of points"), (0.5, "half common to a run")):
                law = published_law(variant, axis)
                k_max, n0, k, width = held(law, options.draws, options.resamples, share)
                row = f"| {variant} | {axis} | {words} | {options.draws} | {k_max} | {n0} | {k:.1f} | {width:.1%} |"
                print(row, flush=True)
    whole, one = times(options.resamples)
    print(f"all laws and forecasts with {options.resamples} resamples: {whole:.1f} s; one scipy fit: {one * 1e3:.1f} ms")


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


def times(resampled: int) -> tuple[float, float]:
    """Seconds of everything on one study over both axes, and of a single fit."""
    study = study_of("synthetic", synthetic_curves(published_law()))
    begun = time.perf_counter()
    for axis in AXES:
        fit_laws(study, axis, resampled)
    forecasts(study, resampled)
    whole, points = time.perf_counter() - begun, points_of(study.curves, "compute")
    begun = time.perf_counter()
    fit_saturating(moments(points), points.sizes_S)
    return whole, time.perf_counter() - begun


if __name__ == "__main__":
    main()
