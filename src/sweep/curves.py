"""Where a trial's curve will end: a Gaussian process over the steps, which knows how noisy a validation is.

Trial i at step t is m(t) + g_i(t) + noise: m, the mean of all trials, is free at each step; g_i, what sets the trial apart, begins
with a variance and gains more of it as a Brownian motion does; the noise is that of the validation's interval, times a factor. What
the three come to is read from the trials, by restricted likelihood (Patterson & Thompson 1971). What was pruned early is missing
because of what was seen of it, so this is no less true of the survivors (Rubin 1976, missing at random).
"""

import itertools
from dataclasses import dataclass

import numpy as np

UNSEEN = 1e6  # variance of what was not reported, in units of all values' variance: it says nothing
SHARES = (0.05, 0.2, 0.8, 3.2)  # of all values' variance: what is tried for the beginning and for the gain
FACTORS = (0.1, 0.3, 1.0)  # of the noise's variance: problems that all trials share make it less than the interval says
DRAWS = 2000


@dataclass(frozen=True)
class Curves:
    """Values reported so far, NaN where there are none, and the variances of their noise: of N trials at T steps."""

    values_NT: np.ndarray
    noise_NT: np.ndarray
    part_T: np.ndarray  # of the whole run, 0 to 1

    def fitted(self) -> tuple[float, float, float]:
        """What fits best: of the beginning, of the gain, and the noise's factor."""
        return max(itertools.product(SHARES, SHARES, FACTORS), key=lambda each: self._solved(*each)[0])

    def ends(self, begin: float, gain: float, factor: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance, for each trial, of the value at the last step without its noise; shapes N."""
        return self._solved(begin, gain, factor)[1:]

    def _solved(self, begin: float, gain: float, factor: float) -> tuple[float, np.ndarray, np.ndarray]:
        """The restricted log-likelihood, twice and up to a constant, and the ends."""
        seen_NT = ~np.isnan(self.values_NT)
        scale = np.nanvar(self.values_NT) + 1e-12
        kernel_TT = scale * (begin + gain * np.minimum(self.part_T[:, None], self.part_T))
        noise_NT = np.where(seen_NT, factor * self.noise_NT + 1e-6 * scale, UNSEEN * scale)
        precision_NTT = np.linalg.inv(kernel_TT + noise_NT[:, :, None] * np.eye(len(self.part_T)))
        all_TT = precision_NTT.sum(axis=0)
        mean_T = np.linalg.solve(all_TT, np.einsum("nst,nt->s", precision_NTT, np.where(seen_NT, self.values_NT, 0.0)))
        apart_NT = np.where(seen_NT, self.values_NT - mean_T, 0.0)
        weighed_NT = np.einsum("nst,nt->ns", precision_NTT, apart_NT)
        likelihood = np.linalg.slogdet(precision_NTT)[1].sum() - np.linalg.slogdet(all_TT)[1] - (weighed_NT * apart_NT).sum()
        last_T = kernel_TT[-1]
        variance_N = last_T[-1] - np.einsum("s,nst,t->n", last_T, precision_NTT, last_T)
        return float(likelihood), mean_T[-1] + weighed_NT @ last_T, variance_N


def chance_among_best(means_N: np.ndarray, variances_N: np.ndarray, one: int, k: int) -> float:
    """The probability that trial `one` is among the k highest of all, by draws that are the same each time."""
    draws_DN = np.random.default_rng(0).normal(means_N, np.sqrt(np.maximum(variances_N, 0.0)), (DRAWS, len(means_N)))
    above_D = (draws_DN > draws_DN[:, one, None]).sum(axis=1)
    return float((above_D < k).mean())
