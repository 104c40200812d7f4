"""What several samples of a problem say together: pass@k and majority@k."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Any

DRAWS = 2_000  # of samples, for majority@k where there are more ways to draw them


def pass_at_k(correct: int, samples: int, k: int) -> float:
    """Chance that one of k of a problem's samples is correct, without bias (Chen et al. 2021, arXiv 2107.03374).

    >>> pass_at_k(correct=1, samples=4, k=2)
    0.5
    """
    if not 1 <= k <= samples or not 0 <= correct <= samples:
        raise ValueError(f"pass@{k} needs k from 1 to the {samples} samples, of which 0 to {samples} are correct")
    return 1 - comb(samples - correct, k) / comb(samples, k)


def effective_samples(accuracy_P: Any, weights_squared_P: Any) -> int:
    """Samples of a problem, if all had as many of equal weight, that leave the noise which weighted ones leave; of each problem its
    accuracy, and the sum of the squares of its samples' weights, which add up to 1.

    >>> effective_samples([0.5, 1.0], [0.25, 0.5])
    4
    """
    import numpy as np

    accuracy, squared = np.asarray(accuracy_P, float), np.asarray(weights_squared_P, float)
    # The variance of a single sample, without bias; one sample says nothing of it.
    spread = np.where(squared < 1 - 1e-9, accuracy * (1 - accuracy) / np.maximum(1 - squared, 1e-9), 0.0)
    noise = float((spread * squared).sum())
    return round(float(spread.sum()) / noise) if noise > 1e-12 else round(float(1 / squared.max()))


@dataclass(frozen=True, slots=True)
class Votes:
    """How a problem's samples voted: correct answers together however they are spelt, and each wrong answer by itself.

    Samples without an answer do not vote, but were drawn.
    """

    correct: int
    wrong: tuple[int, ...] = ()


@lru_cache(maxsize=100_000)
def majority_at_k(votes: Votes, samples: int, k: int) -> float:
    """Chance that the answer given most often in k of a problem's samples is correct; a tie counts by its share.

    The mean over all ways to draw k of the samples, or over DRAWS of them where there are more.

    >>> majority_at_k(Votes(correct=2, wrong=(1,)), samples=3, k=3)
    1.0
    """
    import numpy as np

    kinds = [votes.correct, *votes.wrong]
    silent = samples - sum(kinds)
    if not 1 <= k <= samples or silent < 0 or min(kinds) < 0:
        raise ValueError(f"majority@{k} needs k from 1 to the {samples} samples, and no more votes than these")
    if comb(samples, k) <= DRAWS:
        owners = np.repeat(np.arange(len(kinds) + 1), [*kinds, silent])
        drawn = owners[np.array(list(combinations(range(samples), k)))]
        counts = (drawn[:, :, None] == np.arange(len(kinds))).sum(axis=1)
    else:
        rng = np.random.default_rng(0)
        counts = rng.multivariate_hypergeometric([*kinds, silent], k, size=DRAWS)[:, :-1]
    most = counts.max(axis=1)
    won = (counts[:, 0] == most) & (most > 0)
    return float((won / (counts == most[:, None]).sum(axis=1)).mean())
