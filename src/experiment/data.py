"""The data of one run: suites, pools, the held-out validation, and the problems in their order of training."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.common.errors import UserError
from src.common.types import LEVELS, Problem, Suite
from src.config.tree import LabConfig
from src.data.mix import EASY, Mix, draw_mix, roles_needed
from src.data.problems import Pools, load_pools, load_suite
from src.data.prompt import prompt_token_ids
from src.evaluation.config import ValidationConfig
from src.grading.grader import Grader
from src.model.architecture import architecture
from src.training.selection.config import check_enough


@dataclass(frozen=True, slots=True)
class Data:
    validation: Suite
    suites: tuple[Suite, ...]
    mix: Mix
    pools: Pools
    notes: tuple[str, ...]  # remarks on the sources, for the screen and the record
    too_long: dict[str, int]  # problems dropped by role because their prompt exceeds the budget
    presentations: tuple[Problem, ...]  # what is trained on, in order; repeats included

    def report(self) -> dict[str, Any]:
        """Counts for the record: what was read, dropped and drawn."""
        return {
            "pools": self.pools.report(),
            "notes": list(self.notes),
            "prompt_too_long": self.too_long,
            "validation": len(self.validation.problems),
            "mix": self.mix.report(),
            "presentations": len(self.presentations),
        }


def prepare_data(config: LabConfig, tokenizer, grader: Grader) -> Data:
    """Load, check, hold out and mix."""
    suites, notes = load_suites(config, tokenizer, grader)
    pools = load_pools(config.problems, roles_to_load(config), {suite.name: suite.problems for suite in suites}, grader)
    fitting, too_long = {}, {}
    for role, problems in pools.by_role.items():
        fitting[role] = [problem for problem in problems if _fits(config, tokenizer, problem)]
        too_long[role] = len(problems) - len(fitting[role])
        if not fitting[role]:
            raise UserError(
                f"scale.prompt_budget: every {role} problem has a prompt longer than {config.scale.prompt_budget} tokens"
            )
    validation, left = hold_out(fitting, config.evaluation.validation, config.evaluation.seed)
    mix = config.mix
    if config.problems.by_level:
        left = {"core": [p for p in left["core"] if p.level != EASY], EASY: [p for p in left["core"] if p.level == EASY]}
        left = {role: problems for role, problems in left.items() if problems}
        mix = mix.among({role: len(problems) for role, problems in left.items()})
    drawn = draw_mix(mix, left, config.seed)
    roles = [role for role, count in drawn.counts.items() if count]
    check_enough(config.selection, drawn.problems, roles, config.batch.prompts_per_generation, config.hardware.processes)
    notes = [*notes, *pools.notes]
    return Data(validation, suites, drawn, pools, tuple(notes), too_long, tuple(drawn.presentations(config.batch.presentations)))


def load_suites(config: LabConfig, tokenizer, grader: Grader) -> tuple[tuple[Suite, ...], list[str]]:
    """The suites of the evaluation, each prompt of which the model can read, and remarks on their sources."""
    suites, notes = [], []
    for name, suite in config.evaluation.suites.items():
        problems, remarks = load_suite(suite.pool, name, grader, suite.grading, config.grading.code.trusted)
        suites.append(Suite(name, tuple(problems), suite.samples, suite.grading))
        notes += remarks
    check_prompts(config, tokenizer, suites)
    return tuple(suites), notes


def hold_out(
    pools: Mapping[str, Sequence[Problem]], config: ValidationConfig, seed: int
) -> tuple[Suite, dict[str, list[Problem]]]:
    """Take the validation problems out of the pools.

    Returns the validation suite (`problems_per_level` of each level that the pools have) and what is left of each
    pool. A problem that stands in several pools leaves all of them. Raises UserError if a level has too few.
    """
    by_level: dict[str, dict[str, Problem]] = {level: {} for level in LEVELS}
    for pool in pools.values():
        for problem in pool:
            by_level[problem.level][problem.id] = problem
    chosen: list[Problem] = []
    for level, problems in by_level.items():
        wanted = config.problems_per_level
        if config.most_of_level:
            wanted = min(wanted, math.ceil(config.most_of_level * len(problems)))
        if 0 < len(problems) <= wanted:
            raise UserError(
                f"evaluation.validation.problems_per_level: {wanted} {level} problems to hold out, "
                f"but the pools have {len(problems)}; lower it or add problems"
            )
        if problems:
            rng = random.Random(f"validation {seed} {level}")
            chosen += rng.sample(sorted(problems.values(), key=lambda problem: problem.id), wanted)
    held = {problem.id for problem in chosen}
    left = {role: [problem for problem in pool if problem.id not in held] for role, pool in pools.items()}
    return Suite("validation", tuple(chosen), config.samples), left


def roles_to_load(config: LabConfig) -> set[str]:
    if config.problems.by_level or not config.mix.weights:
        return set(config.problems.pools)
    # Validation has both levels whatever is trained on, so that runs on different mixes are measured on the same
    # problems; a mix of published problems needs the other pools for that too.
    return roles_needed(config.mix) | ({"core", "broad", "easy"} & set(config.problems.pools))


def check_prompts(config: LabConfig, tokenizer, suites: Sequence[Suite]) -> None:
    """Raise UserError for a suite's problem whose prompt alone is longer than what the model can read: measuring it would take
    the memory of a machine, after the run was paid for."""
    prompt = config.evaluation.asked_with(config.prompt)
    try:
        longest = architecture(config.model).positions
    except UserError:  # a shape that is not known
        return
    for suite in suites:
        for problem in suite.problems:
            if (tokens := len(prompt_token_ids(tokenizer, prompt, problem.question))) >= longest:
                raise UserError(
                    f"suite {suite.name}: the prompt of problem {problem.id} has {tokens} tokens, the model reads {longest}; "
                    "leave the problem out"
                )


def _fits(config: LabConfig, tokenizer, problem: Problem) -> bool:
    return len(prompt_token_ids(tokenizer, config.prompt, problem.question)) <= config.scale.prompt_budget
