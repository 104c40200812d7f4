"""Many comparisons at once, and the same ones looked at again: errors that hold over all of them."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from src.statistics.comparisons import ERROR, Difference, Part

# Pocock's boundaries by number of looks, as a normal deviate, for 5 % over all of them: Jennison & Turnbull (2000), table 2.1.
POCOCK = (1.960, 2.178, 2.289, 2.361, 2.413, 2.453, 2.485, 2.512, 2.535, 2.555)
MOST_LOOKS = len(POCOCK)
LEAST_OF_MEDIAN = 0.5  # by `benchmarks/referee.py`, 48 recipes on 30 problems: false winners in 7.7 % of studies without, 4.0 % with it
OWN_TIMES = 4  # by `benchmarks/referee.py`: with 2 one unlike recipe among 20 makes 7 % false winners for 5, with 10 a third less is found


def error_at_each_of(looks: int) -> float:
    """The error of one look by which that over all of them is 5 %, whether or not seeds are added between them.

    >>> round(error_at_each_of(2), 4)
    0.0294
    """
    from scipy.special import ndtr

    if not 1 <= looks <= MOST_LOOKS:
        raise ValueError(f"from 1 to {MOST_LOOKS} looks, not {looks}")
    return ERROR if looks == 1 else float(2 * ndtr(-POCOCK[looks - 1]))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def steady_p_values(differences: Sequence[Difference], dimensions: int) -> list[float]:
    """p-values of contrasts of one design, to be corrected for their number; `dimensions` of them are independent.

    A variance from a few seeds is small by chance in some of many contrasts, and those would be the false winners. So each is
    taken to vary between seeds no less than all of them do in the mean (Tukey's assumption), on the degrees of freedom of
    repeated measures: fewer where few directions hold most of the spread, as when seeds differ in one level (Huynh & Feldt
    1976). That all spread alike is a guess, so `corrected` asks each for its own spread too. Problems likewise are taken to add
    no less than half of what they do in the median: how much they do differs more between recipes than what seeds do.
    """
    if not differences:
        return []
    differences = _steady_problems(differences)
    spreads = [each.between_seeds.variance / each.loading for each in differences if each.by_seed]
    if not spreads:
        return [each.p for each in differences]
    spread, freedom = sum(spreads) / len(spreads), _repeated_measures([each for each in differences if each.by_seed], dimensions)
    return [
        replace(each, between_seeds=Part(max(each.between_seeds.variance, spread * each.loading), freedom)).p for each in differences
    ]


def _steady_problems(differences: Sequence[Difference]) -> list[Difference]:
    added = [sum(part.variance for part in each.by_problem) for each in differences]
    least = LEAST_OF_MEDIAN * median(own / each.weights for own, each in zip(added, differences, strict=True))
    return [
        replace(each, by_problem=(*each.by_problem, Part(max(least * each.weights - own, 0.0), each.by_problem[0].freedom)))
        for own, each in zip(added, differences, strict=True)
    ]


def corrected(differences: Sequence[Difference], steady: Sequence[float]) -> list[float]:
    """`steady` p-values corrected for their number by Holm, none below OWN_TIMES what its own spread alone gives: a recipe that
    spreads more than all others is in many pairs, and these stand or fall together."""
    times = min(OWN_TIMES, len(differences))
    return [max(p, min(1.0, times * each.p)) for each, p in zip(differences, holm(steady), strict=True)]


def _repeated_measures(differences: Sequence[Difference], dimensions: int) -> float:
    """Huynh and Feldt's degrees of freedom; where the contrasts do not all have the same seeds, the fewest of one of them."""
    import numpy as np

    seeds = dict(differences[0].by_seed).keys()
    own = min(each.between_seeds.freedom for each in differences)
    if any(dict(each.by_seed).keys() != seeds for each in differences) or own < len(seeds) - 1:
        return own
    rows = np.array([[dict(each.by_seed)[seed] for seed in seeds] for each in differences])
    rows /= np.sqrt([[each.loading] for each in differences])
    gram, most = rows.T @ rows, len(seeds) - 1
    if not gram.any():
        return most
    directions = float(np.trace(gram) ** 2 / (gram**2).sum())  # 1 to `most`
    if directions > most * (1 - 1e-9):
        return most * dimensions
    return float(np.clip(most * (len(seeds) * directions - 2) / (most - directions), most, most * dimensions))
