"""Factorial sweeps: what each factor does alone and together with another, from all cells at once.

On accuracy, and on the completion tokens. P-values are corrected for the number of effects of a design (Holm).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf, prod

from src.drawing.table import plain, spanned
from src.report.findings.configurations import Configuration, Group, follows, together
from src.statistics import ERROR, FEWEST_SEEDS, Difference, Side, contrast, corrected, error_at_each_of, steady_p_values

MOST_LEVELS = 6  # of a factor; a setting with more values is no factor but a search


@dataclass(frozen=True)
class Factor:
    """Settings that change together, under the name of the shortest of them, and its level in each cell."""

    name: str
    levels: tuple[str, ...]  # as text
    of_cell: dict[str, str]  # by the configuration's key


@dataclass(frozen=True)
class Change:
    """Of one factor, from a level to another."""

    factor: Factor
    old: str
    new: str

    @property
    def told(self) -> str:
        return f"{self.factor.name}: {self.old} → {self.new}"

    def sign(self, cell: Configuration) -> int:
        """That of a cell in the contrast: 1 at the new level, -1 at the old one, 0 at another."""
        value = self.factor.of_cell[cell.key]
        return (value == self.new) - (value == self.old)


@dataclass(frozen=True)
class Effect:
    """What a change does: of one factor from a level to another, averaged over the cells; or of two beyond the sum of both.

    `by_seed` is the effect on accuracy in the runs of each seed, where all cells have the same ones; p-values are corrected.
    """

    name: str
    interaction: bool
    difference: Difference  # of accuracy
    tokens: Difference  # of the mean completion
    by_seed: tuple[float, ...]
    p: float
    p_of_tokens: float

    @property
    def kind(self) -> str:
        return "interaction" if self.interaction else "main effect"


@dataclass(frozen=True)
class Factorial:
    """Cells of one suite in which every combination of the factors' levels was measured."""

    name: str  # the suite's, and the experiment's where only its configurations are cells
    group: Group
    cells: tuple[Configuration, ...]
    factors: tuple[Factor, ...]
    effects: tuple[Effect, ...]
    error: float = ERROR  # that of one look


def factorials(groups: Sequence[Group], looks: int = 1) -> list[Factorial]:
    """The full factorial designs of at least two factors among each group's configurations, with their effects."""
    found = []
    for group in groups:
        if group.suite == "validation" and len(groups) > 1:
            continue
        for name, cells in _candidates(group):
            factors = factors_of(cells)
            if len(factors) >= 2 and len(_seen(cells, factors)) == len(cells) == _combinations(factors):
                effects = tuple(_effects(group, cells, factors))
                found.append(Factorial(name, group, tuple(cells), factors, effects, error_at_each_of(looks)))
    return found


def incomplete(groups: Sequence[Group]) -> list[str]:
    """A sentence for each experiment that looks like a factorial design of which cells are missing."""
    sentences = []
    for name, cells in _candidates(groups[0]) if groups else ():
        factors = factors_of(cells)
        seen, whole = len(_seen(cells, factors)), _combinations(factors)
        if 2 <= len(factors) == len(_varied(cells)) and seen == len(cells) and whole / 2 <= seen < whole:
            told = " × ".join(factor.name for factor in factors)
            sentences.append(f"{name}: {seen} of {whole} cells of {told} were measured; effects follow when all are.")
    return sentences


def _candidates(group: Group) -> list[tuple[str, list[Configuration]]]:
    """All configurations of a group, or where there are several experiments the configurations of each."""
    by_experiment: dict[str, list[Configuration]] = {}
    for configuration in group.configurations:
        by_experiment.setdefault(configuration.runs[0].name, []).append(configuration)
    if len(by_experiment) == 1:
        return [(group.name, list(group.configurations))]
    return [(f"{group.name}, {experiment}", cells) for experiment, cells in by_experiment.items() if len(cells) >= 4]


def _seen(cells: Sequence[Configuration], factors: Sequence[Factor]) -> set[tuple[str, ...]]:
    return {tuple(factor.of_cell[cell.key] for factor in factors) for cell in cells}


def _combinations(factors: Sequence[Factor]) -> int:
    return prod(len(factor.levels) for factor in factors)


def _varied(cells: Sequence[Configuration]) -> list[str]:
    """Settings that differ between the cells, without what comes with the option of a group."""
    found = dict(together([cell.config for cell in cells]))
    return [name for name in found if not follows(name, found)]


def factors_of(cells: Sequence[Configuration]) -> tuple[Factor, ...]:
    """Settings that were varied, if not over too many values; those that always change together are one factor."""
    factors = []
    for name in _varied(cells):
        of_cell = {cell.key: plain(cell.config.get(name)) for cell in cells}
        levels = tuple(sorted(set(of_cell.values()), key=_in_order))
        if len(levels) <= MOST_LEVELS:
            factors.append(Factor(name.removeprefix("choices."), levels, of_cell))
    return tuple(sorted(factors, key=lambda factor: factor.name))


def _in_order(level: str) -> tuple[float, str]:
    """Numbers by their size, words after them."""
    try:
        return float(level), ""
    except ValueError:
        return inf, level


def _effects(group: Group, cells: Sequence[Configuration], factors: Sequence[Factor]) -> list[Effect]:
    changes = [Change(factor, *levels) for factor in factors for levels in combinations(factor.levels, 2)]
    alone = [(change.told, False, [change]) for change in changes]
    pairs = [
        (f"{one.told} × {other.told}", True, [one, other])
        for one, other in combinations(changes, 2)
        if one.factor is not other.factor
    ]
    chosen = (*alone, *pairs)
    accuracy = [_contrast(group.side, cells, changed) for _, _, changed in chosen]
    tokens = [_contrast(group.tokens_side, cells, changed) for _, _, changed in chosen]
    dimensions = min(len(cells) - 1, len(chosen))
    p_values = [corrected(found, steady_p_values(found, dimensions)) for found in (accuracy, tokens)]
    return [
        Effect(name, interaction, of_accuracy, of_tokens, _by_seed(group, cells, changed), *p)
        for (name, interaction, changed), of_accuracy, of_tokens, *p in zip(chosen, accuracy, tokens, *p_values, strict=True)
    ]


def in_words(factorial: Factorial) -> tuple[str, list[str]]:
    """A heading, and what the design shows of each factor alone: which matter, and how much the others can matter."""
    alone = [effect for effect in factorial.effects if not effect.interaction]
    seeds = min(effect.difference.seeds for effect in alone)
    heading = f"{factorial.name}: effects of {len(factorial.factors)} factors over {len(factorial.cells)} cells × {seeds} seeds"
    if seeds < FEWEST_SEEDS:
        few = f"Seeds are too few to claim anything of a factor ({seeds} of at least {FEWEST_SEEDS}): effects are of these weights."
        return heading, [few]
    error = factorial.error
    accuracy = _which([(e.name, e.difference, e.p < error) for e in alone], "accuracy", 100, "points")
    tokens = _which([(e.name, e.tokens, e.p_of_tokens < error) for e in alone], "completion length", 1, "tokens")
    pairs = [e for e in factorial.effects if e.interaction and e.p < error]
    together = f"Interactions on accuracy: {'; '.join(e.name for e in pairs) or 'none is shown'}."
    return heading, [accuracy, tokens, together]


def _which(found: Sequence[tuple[str, Difference, bool]], what: str, times: float, unit: str) -> str:
    """`found`: names, effects, and whether each is resolved."""
    told = [
        f"{name} changes {what} by {spanned(effect.interval, '+.1f', times)} {unit}"
        for name, effect, sure in sorted(found, key=lambda each: each[1].p)
        if sure
    ]
    if rest := [effect.equal_within for _, effect, sure in found if not sure]:
        least = "the rest is not shown to, and" if told else f"No factor is shown to change {what}; each effect"
        told.append(f"{least} lies within ±{times * max(rest):.1f} {unit}, by two one-sided tests each")
    return "; ".join(told) + "."


def _contrast(side: Callable[[Configuration], Side], cells: Sequence[Configuration], changes: Sequence[Change]) -> Difference:
    weights = _weights(cells, changes)
    return contrast([side(cell).times(weights[cell.key]) for cell in cells if cell.key in weights])


def _weights(cells: Sequence[Configuration], changes: Sequence[Change]) -> dict[str, float]:
    """Cells at the new level of each factor count plus, at the old one minus, at another not at all."""
    signs = {cell.key: sign for cell in cells if (sign := prod(change.sign(cell) for change in changes))}
    each = len(signs) / 2 ** len(changes)  # cells on each side of the contrast
    return {key: sign / each for key, sign in signs.items()}


def _by_seed(group: Group, cells: Sequence[Configuration], changes: Sequence[Change]) -> tuple[float, ...]:
    weights = _weights(cells, changes)
    used = [cell for cell in cells if cell.key in weights]
    seeds = [[run.seed for run in group.runs[cell.key]] for cell in used]
    if any(sorted(each) != sorted(seeds[0]) for each in seeds):
        return ()
    means = [dict(zip(own, group.accuracy_SP(cell).mean(axis=1), strict=True)) for cell, own in zip(used, seeds, strict=True)]
    return tuple(
        float(sum(weights[cell.key] * mean[seed] for cell, mean in zip(used, means, strict=True))) for seed in sorted(seeds[0])
    )
