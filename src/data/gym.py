"""Problems of reasoning-gym's task generators: logic, words, counting, puzzles; each with a difficulty of its own.

Only tasks with one right answer, a number or a word that the grader reads as what it is: where a task accepts any answer that
passes a check (a route, a colouring, an equation), its gold answer says too little, and its own check would have to be run on
what a model wrote, which for some tasks is `eval`. To add a task, add its name to TASKS; tests/data/test_gym.py asks of each
that the grader reads its answers.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from src.common.errors import UserError, nearest

TASKS = frozenset(
    "acre aiw basic_arithmetic binary_alternation chain_sum coin_flip color_cube_rotation count_bits count_primes "
    "course_schedule decimal_arithmetic decimal_chain_sum dice family_relationships figlet_font game_of_life_halting gcd "
    "gsm_symbolic isomorphic_strings largest_island lcm leg_counting letter_counting mahjong_puzzle maze needle_haystack "
    "number_format number_sequence products ransom_note rectangle_count rotten_oranges self_reference simple_equations "
    "simple_geometry spell_backward syllogism zebra_puzzles".split()
)


Entry = tuple[str, str, str]  # task, question, answer


def draw(tasks: Mapping[str, Mapping[str, Any]], count: int, seed: int) -> list[Entry]:
    """`count` questions, of each task in turn; the settings of a task are reasoning-gym's own.

    Raises UserError for unknown tasks and settings, and where reasoning-gym is not installed.
    """
    share, rest = divmod(count, len(tasks))
    made = [entries(task, tasks[task], share + (place < rest), seed) for place, task in enumerate(tasks)]
    return [entry for turn in itertools.zip_longest(*made) for entry in turn if entry]


def entries(task: str, settings: Mapping[str, Any], count: int, seed: int) -> Iterator[Entry]:
    """`count` entries of a task, made one after the other; raises what `draw` raises."""
    if not count:
        return iter(())
    try:
        import reasoning_gym
    except ImportError as error:
        raise UserError("loader: reasoning_gym needs a package; pip install -e '.[reasoning-gym]' -c constraints.txt") from error
    if task not in TASKS:
        raise UserError(f"reasoning_gym: no task {task!r} with one right answer; {nearest(task, TASKS)}")
    try:
        made = reasoning_gym.create_dataset(task, seed=seed, size=count, **settings)
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(f"reasoning_gym: {task} with {dict(settings)}: {error}") from error
    return ((task, made[number]["question"].strip(), str(made[number]["answer"]).strip()) for number in range(count))
