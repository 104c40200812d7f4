"""Sums in words, for pre-trained models too small for competition problems: bare, or as the story of somebody's belongings."""

import random

NAMES = ("Anna", "Ben", "Carla", "David", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jamal")
THINGS = ("apples", "books", "coins", "eggs", "pens", "shells", "stamps", "tickets")
GAINS = ("buys {n} more", "finds {n} more", "gets {n} more")
LOSSES = ("gives away {n}", "loses {n}", "sells {n}")


def draw_words(steps: int, rng: random.Random) -> tuple[str, str]:
    """A question of `steps` sums or differences of one-digit numbers, whose value never falls below 0, and its answer."""
    start = value = rng.randint(2, 9)
    changes = []
    for _ in range(steps):
        most = min(9, value)
        changes.append(rng.randint(1, 9) if rng.random() < 0.5 or most < 1 else -rng.randint(1, most))
        value += changes[-1]
    return (_bare if rng.random() < 0.5 else _story)(start, changes, rng), str(value)


def _bare(start: int, changes: list[int], rng: random.Random) -> str:
    return f"What is {start}" + "".join(f" {'+' if change > 0 else '-'} {abs(change)}" for change in changes) + "?"


def _story(start: int, changes: list[int], rng: random.Random) -> str:
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    events = [rng.choice(GAINS if change > 0 else LOSSES).format(n=abs(change)) for change in changes]
    told = ", then ".join(events)
    return f"{name} has {start} {things} and {told}. How many {things} does {name} have now?"
