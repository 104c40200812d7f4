"""The study's published figures as curves: its tables read, and synthetic studies with its parameters and its noise."""

from dataclasses import dataclass

import numpy as np

from src.report.reference.read import reference
from src.scaling.curves import Curve

STEPS, PROMPTS_PER_STEP, COMPLETIONS = 105, 512, 8  # arXiv 2509.25300
TOKENS_PER_COMPLETION = 1000.0  # not published; scales compute alone, and so only E
BILLION = 1e9


@dataclass(frozen=True)
class Law:
    """A published fit within models (table 6), and the final losses (table 4) that fix E of each size."""

    variant: str
    axis: str
    k_max: float
    n0: float  # parameters
    r2: float  # pooled over sizes
    final_loss: dict[int, float]  # by size in parameters, at the last step

    def k_of(self, size: float) -> float:
        return self.k_max / (1 + self.n0 / size)


def published_law(variant: str = "base", axis: str = "compute") -> Law:
    """The study's parameters for `base` or `instruct` models over `compute` or `data`."""
    row = next(
        row for row in reference("scaling_law_params") if (row["variant"], row["x"], row["fit"]) == (variant, axis, "intra")
    )
    final = {
        round(float(each["params_billion"]) * BILLION): 1 - float(each["pass_at_1"])
        for each in reference("scaling_final_pass1")
        if each["variant"] == variant
    }
    return Law(variant, axis, float(row["k_max"]), float(row["n0_billion"]) * BILLION, float(row["r2"]), final)


def synthetic_curves(law: Law, seeds: int = 3, seed: int = 0, run_noise_share: float = 0.0) -> list[Curve]:
    """Curves that follow the law with as much noise as its published R² leaves, `seeds` runs of each size.

    `run_noise_share` of the noise's variance is common to all points of a run; the rest is of each point.
    """
    rng = np.random.default_rng(seed)
    prompts_T = np.arange(1, STEPS + 1) * float(PROMPTS_PER_STEP)
    means = {size: log_loss(law, size, prompts_T) for size in law.final_loss}
    deviation = np.sqrt((1 - law.r2) / law.r2 * np.var(np.concatenate(list(means.values()))))
    curves = []
    for size, mean_T in means.items():
        for number in range(seeds):
            noise_T = deviation * np.sqrt(1 - run_noise_share) * rng.standard_normal(STEPS)
            noise_T += deviation * np.sqrt(run_noise_share) * rng.standard_normal()
            loss_T = np.minimum(np.exp(mean_T + noise_T), 1.0)
            curves.append(Curve(size, number, compute_of(size, prompts_T), prompts_T, loss_T))
    return curves


def log_loss(law: Law, size: int, prompts_T: np.ndarray) -> np.ndarray:
    """The law's log L along a run, through its published final loss."""
    return np.log(law.final_loss[size]) - law.k_of(size) * np.log(prompts_T / (STEPS * PROMPTS_PER_STEP))


def compute_of(size: int, prompts_T: np.ndarray) -> np.ndarray:
    return 6.0 * size * prompts_T * COMPLETIONS * TOKENS_PER_COMPLETION
