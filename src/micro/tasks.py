"""Chain arithmetic and other tasks: generated problems in two levels, with known answers.

A problem is a chain of one-digit operations, worked from left to right; the running value stays within 0 to 99.
Copying digits and comparing numbers are there to see what training on chains does outside of them; sums in words are for
models that know words.
To add a role, add an entry to ROLES (and its name to SUITES if it is for evaluation only).
"""

import hashlib
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from src.common.errors import UserError, nearest
from src.common.types import Problem
from src.micro.words import draw_words

Operations = tuple[tuple[str, int], ...]  # such as (("+", 5), ("×", 2))
MAX_VALUE = 99
QUESTION = "Work from left to right: {chain}"
COPYING = "Copy the digits: {digits}"
COMPARISON = "Which is larger: {first} or {second}?"


@dataclass(frozen=True, slots=True)
class Chain:
    """A start value and the operations applied to it, such as 7, (("+", 5), ("×", 2))."""

    start: int
    operations: Operations

    @property
    def text(self) -> str:
        return f"{self.start}" + "".join(f"{operator}{operand}" for operator, operand in self.operations)

    @property
    def value(self) -> int:
        value = self.start
        for operator, operand in self.operations:
            value = apply(value, operator, operand)
        return value


def apply(value: int, operator: str, operand: int) -> int:
    """One operation of a chain."""
    if operator == "+":
        return value + operand
    return value - operand if operator == "-" else value * operand


def parse_chain(question: str) -> Chain:
    """The chain that a question asks for."""
    text = question.rsplit(" ", 1)[-1]
    for operator in "+-×":
        text = text.replace(operator, f" {operator}")
    start, *operations = text.split()
    return Chain(int(start), tuple((operation[0], int(operation[1:])) for operation in operations))


def draw_chain(length: int, rng: random.Random) -> Chain:
    """A random chain of `length` operations whose running value stays within 0 to MAX_VALUE."""
    start = value = rng.randint(1, MAX_VALUE)
    operations: list[tuple[str, int]] = []
    while len(operations) < length:
        operator = rng.choices("+-×", (4, 4, 2))[0]
        operand = rng.randint(2, 4) if operator == "×" else rng.randint(1, 9)
        result = apply(value, operator, operand)
        # A product of 0 would make the rest of the chain trivial, so a value of 0 is never multiplied.
        if 0 <= result <= MAX_VALUE and not (operator == "×" and value == 0):
            operations.append((operator, operand))
            value = result
    return Chain(start, tuple(operations))


def draw_question(length: int, rng: random.Random) -> tuple[str, str]:
    """A chain of `length` operations: question and answer."""
    chain = draw_chain(length, rng)
    return QUESTION.format(chain=chain.text), str(chain.value)


def draw_copying(length: int, rng: random.Random) -> tuple[str, str]:
    """`length` digits to copy, the first not 0: question and answer."""
    digits = [str(rng.randint(1, 9)), *(str(rng.randint(0, 9)) for _ in range(length - 1))]
    return COPYING.format(digits=" ".join(digits)), "".join(digits)


def draw_comparison(length: int, rng: random.Random) -> tuple[str, str]:
    """Two different numbers of `length` digits: question and the larger one."""
    first, second = rng.sample(range(10 ** (length - 1), 10**length), 2)
    return COMPARISON.format(first=first, second=second), str(max(first, second))


@dataclass(frozen=True, slots=True)
class Role:
    """What a pool of problems is made of: the lengths of each level, and what draws a question of a length."""

    lengths: dict[str, tuple[int, ...]]
    draw: Callable[[int, random.Random], tuple[str, str]] = draw_question


EASY_LENGTHS = (1, 2, 3)
HARD_LENGTHS = (4, 5, 6, 7)
LONG_EASY_LENGTHS = (3, 4, 5)  # of the large embedded model, whose chains are longer
LONG_HARD_LENGTHS = (8, 9, 10, 11, 12)
ROLES = {
    "easy": Role({"easy": EASY_LENGTHS}),
    "core": Role({"hard": (5, 6)}),  # narrower: the curated pool
    "broad": Role({"hard": HARD_LENGTHS}),
    "chains": Role({"easy": EASY_LENGTHS, "hard": HARD_LENGTHS}),
    "chains_long": Role({"hard": (8, 9, 10)}),  # longer than anything trained on
    "one_step": Role({"easy": (1,)}),
    "beyond": Role({"hard": (8, 9, 10)}),  # of the length of chains_long's, and none of them
    "copying": Role({"easy": (4, 5, 6), "hard": (7, 8, 9)}, draw_copying),
    "comparison": Role({"easy": (3,), "hard": (4, 5)}, draw_comparison),
    "large_easy": Role({"easy": LONG_EASY_LENGTHS}),
    "large_core": Role({"hard": (9, 10)}),
    "large_broad": Role({"hard": LONG_HARD_LENGTHS}),
    "large_chains": Role({"easy": LONG_EASY_LENGTHS, "hard": LONG_HARD_LENGTHS}),
    "large_chains_long": Role({"hard": (14, 15, 16)}),
    "words_easy": Role({"easy": (1,)}, draw_words),
    "words_core": Role({"hard": (2,)}, draw_words),
    "words_broad": Role({"hard": (2, 3)}, draw_words),
    "words": Role({"easy": (1,), "hard": (2,)}, draw_words),
}
OTHER_TASKS = ("copying", "comparison")
# Evaluation only: no question of theirs in other roles.
SUITES = frozenset({"chains", "chains_long", "large_chains", "large_chains_long", "words", *OTHER_TASKS})
SUITE_SHARE = 5  # one question in five belongs to the suites
MAX_TRIES_PER_PROBLEM = 200  # a pool that is nearly used up yields few new questions


def _digest(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()


def in_suites(question: str) -> bool:
    """Whether a question belongs to the evaluation suites; by its content, so whatever the seed."""
    return int(_digest(question)[-8:], 16) % SUITE_SHARE == 0


def make_problems(role: str, count: int, seed: int, exclude: Collection[str] = ()) -> list[Problem]:
    """`count` distinct problems of a role, the same ones for the same arguments.

    `exclude` holds questions that must not occur. A role with two levels yields them in turn, half each.
    Raises UserError for an unknown role, or when the role has not enough distinct questions.
    """
    if role not in ROLES:
        raise UserError(f"no generated problems for the role {role!r}: {nearest(role, ROLES)}")
    rng = random.Random(f"{role}/{seed}")
    taken = set(exclude)
    levels = list(ROLES[role].lengths.items())
    problems: list[Problem] = []
    for index in range(count):
        level, lengths = levels[index % len(levels)]
        question, answer = _draw_new(role, lengths, taken, rng)
        taken.add(question)
        problems.append(Problem(_digest(question)[:12], question, answer, level, None, f"micro/{role}"))
    return problems


def _draw_new(role: str, lengths: tuple[int, ...], taken: set[str], rng: random.Random) -> tuple[str, str]:
    for _ in range(MAX_TRIES_PER_PROBLEM):
        question, answer = ROLES[role].draw(rng.choice(lengths), rng)
        if question not in taken and in_suites(question) == (role in SUITES):
            return question, answer
    raise UserError(f"generated problems of the role {role!r} are used up after {len(taken)}: ask for fewer")
