"""Which problems a run trains on next, decided from what all of its processes know, and what it has trained on."""

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from src.common.types import Completion, Problem
from src.training.length import LengthSchedule
from src.training.selection.config import SelectionConfig
from src.training.selection.courses import Moment
from src.training.selection.draws import View
from src.training.selection.rates import PassRates
from src.training.selection.sample import Group, Kept, allocated

REMEMBERED = 8  # steps whose need for prompts says how many to draw at once


@dataclass(frozen=True, slots=True)
class Candidates:
    """The problems that may be drawn, each once; their places are the numbers that a selection goes by."""

    problems: Sequence[Problem]
    roles: Sequence[str]  # of each
    order: Iterable[int]  # in which the mix presents them, without an end


class Selection:
    """All processes make the same calls with the same values, so they have the same state. What is drawn follows from the seed, the
    step and the completions seen, and from nothing else; the completions are others with another number of processes.

    Attributes:
        presented: numbers of the problems that were trained on, in order.
        figures: of what was sampled, for the step's line in metrics.jsonl; none where the mix is walked through.
        notes: what a person should know, until somebody takes it.
    """

    def __init__(self, config: SelectionConfig, candidates: Candidates, schedule: LengthSchedule, seed: int, updates: int = 1) -> None:
        self.config, self.candidates, self.schedule, self.seed = config, candidates, schedule, seed
        self.updates = updates  # optimiser steps from one batch to the next
        self.presented: list[int] = []
        self.figures: dict[str, float] = {}
        self.notes: list[str] = []
        self.rates = PassRates(config.draw.rates, [problem.pass_rate for problem in candidates.problems], candidates.roles)
        self._order: Iterator[int] = iter(candidates.order)
        self._queues: dict[str | None, list[int]] = {}  # what has come of the order, by role
        self._given: dict[str, int] = {}  # of each queue
        self._owed: dict[str, float] = {}
        self._kept: list[Kept] = []  # groups to be learnt from again
        self._needs: list[tuple[int, int]] = []  # groups drawn, and those with a signal, in the last steps
        self._step, self._drawn = -1, set[int]()  # what was drawn in a step
        self._said = False  # that it starves

    # -- drawing --------------------------------------------------------------------------------------------------

    def draw(self, step: int, number: int) -> list[int]:
        """The next problems, or as many as there are. In one step none comes twice, but where the mix is walked through."""
        if self._step != step:
            self._step, self._drawn = step, set()
        drawn = self.config.draw.next(self._view(step), number)
        self._drawn.update(drawn.problems)
        if drawn.starved:
            self._say_starved(drawn.starved, number)
        return drawn.problems

    def _view(self, step: int) -> View:
        rng = random.Random(f"selection {self.seed} {step} {len(self._drawn)}")
        batches_end = max(1, self.schedule.total_steps - self.updates + 1)  # the last batch is drawn so many updates before the end
        moment = Moment(step, batches_end, self.schedule.lengthened(step))
        return View(moment, self._walk, lambda number: self._free(number, rng), self.rates, self._parts, self._owed, rng)

    @cached_property
    def _parts(self) -> dict[str, float]:
        return {role: count / len(self.candidates.roles) for role, count in Counter(self.candidates.roles).items()}

    def _walk(self, role: str | None, number: int) -> list[int]:
        queue, name = self._queues.setdefault(role, []), role or "all"
        start = self._given.get(name, 0)
        while len(queue) < start + number:
            problem = next(self._order)
            self._queues.setdefault(self.candidates.roles[problem] if role else None, []).append(problem)
        self._given[name] = start + number
        return queue[start : start + number]

    def _free(self, number: int, rng: random.Random) -> list[int]:
        problems = [problem for problem in range(len(self.candidates.problems)) if problem not in self._drawn]
        rng.shuffle(problems)
        since = self._step - self.config.draw.rest_steps * self.updates
        rested = [problem for problem in problems if self.rates.last(problem) < since]
        return rested if len(rested) >= number else sorted(problems, key=self.rates.last)[:number]

    def _say_starved(self, missing: int, number: int) -> None:
        self.figures["selection/starved"] = self.figures.get("selection/starved", 0) + missing
        if not self._said:
            self._said = True
            self.notes.append(
                f"selection starves: at step {self._step + 1} {missing} of {number} problems are not as asked; others are taken "
                "(selection.draw.when_starved), and selection/starved counts them"
            )

    # -- what came of it ------------------------------------------------------------------------------------------

    def saw(self, step: int, groups: Sequence[tuple[int, Sequence[Completion]]]) -> None:
        """Take note of the completions that were sampled for problems."""
        for problem, completions in groups:
            correct = sum(completion.verdict.correct for completion in completions)
            self.rates.saw(problem, step, correct, len(completions))
            self.schedule.saw(problem, completions)

    def asked_for(self, missing: int) -> int:
        """Prompts to draw for so many groups with a signal, by what the last steps needed."""
        if not (self.config.resample and self._needs):
            return missing
        drawn, with_signal = map(sum, zip(*self._needs, strict=True))
        return math.ceil(missing * drawn / max(1, with_signal))

    def needed(self, drawn: int, with_signal: int) -> None:
        """Take note of a step's groups."""
        self._needs = [*self._needs, (drawn, with_signal)][-REMEMBERED:]

    def sizes(self, problems: Sequence[int], step: int, group: int) -> list[int]:
        """Completions to sample for each problem, so many in the mean."""
        if (allocate := self.config.allocate) is None:
            return [group] * len(problems)
        variances = [self.rates.variance(problem, step) for problem in problems]
        return allocated(variances, group * len(problems), allocate.min, allocate.max)

    def remember(self, step: int, groups: Sequence[Group]) -> None:
        """Keep groups with a signal, to be learnt from again."""
        self._kept += [Kept(step, self.config.replay.times, group) for group in groups]

    def replayed(self, step: int, prompts: int, processes: int) -> list[Group]:
        """The groups of a batch that are learnt from again, drawn at random; as many for each process, which samples the rest."""
        if (replay := self.config.replay) is None:
            return []
        self._kept = [kept for kept in self._kept if kept.left and step + self.updates - 1 - kept.step <= replay.max_age]
        places = range(len(self._kept))
        rng = random.Random(f"replay {self.seed} {step}")
        chosen = sorted(rng.sample(places, min(len(places), int(replay.share * prompts)) // processes * processes))
        groups = [self._kept[place].group for place in chosen]
        for place in chosen:
            self._kept[place] = replace(self._kept[place], left=self._kept[place].left - 1)
        return groups

    def train_on(self, problems: Sequence[int]) -> None:
        """Take note of the prompts of a batch."""
        self.presented += problems
        if not self.config.walks:
            levels = [self.candidates.problems[problem].level for problem in problems]
            self.figures["selection/easy_share"] = levels.count("easy") / len(levels)

    def take_figures(self) -> dict[str, float]:
        """The figures of what was sampled since they were last taken."""
        figures, self.figures = self.figures, {}
        return figures

    def used(self) -> dict[str, float]:
        """Samples (prompts presented), how many of them differ, and epochs, so far."""
        samples, problems = len(self.presented), len(self.candidates.problems)
        return {"samples": samples, "unique_samples": len(set(self.presented)), "epochs": samples / problems}

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON; nothing for the walk through the mix, which the step alone determines."""
        if self.config.walks:
            return {}
        return {
            "presented": self.presented, "given": self._given, "owed": self._owed, "needs": self._needs,
            "rates": self.rates.state_dict(), "kept": [kept.state_dict() for kept in self._kept],
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any], presented: int) -> None:
        """Go on from a checkpoint's state, up to which so many prompts were presented."""
        if self.config.walks:
            self.train_on(self._walk(None, presented))
            return
        self.presented, self._given, self._owed, self._needs = (state[key] for key in ("presented", "given", "owed", "needs"))
        self._kept = [Kept.load(kept) for kept in state["kept"]]
        self.rates.load(state["rates"])
