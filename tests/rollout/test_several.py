"""Several engines as one: each samples for a part of the prompts, and one that fails is done without."""

import pytest

from src.common.errors import RunFailed
from src.rollout.several import Several


class Counting:
    """Writes of each prompt and sample what was asked for, as an engine whose samples go by their number alone."""

    ends, room, identity = frozenset({0}), 64, "counting"

    def __init__(self, fails=False):
        self.fails, self.asked = fails, []

    def generate(self, prompts_P, samples, *, done=lambda number: None, seed=0):
        self.asked.append(len(prompts_P))
        if self.fails:
            raise RunFailed("out of memory")
        done(samples * len(prompts_P))
        return [[[*prompt, seed, sample] for sample in range(samples)] for prompt in prompts_P]


PROMPTS = [[number] for number in range(7)]


def test_each_does_a_part_and_the_samples_are_those_of_one():
    first, others, came = Counting(), [Counting(), Counting()], []
    engine = Several(first, lambda: others, pytest.fail)
    assert engine.generate(PROMPTS, 2, seed=5, done=came.append) == Counting().generate(PROMPTS, 2, seed=5)
    assert [each.asked for each in (first, *others)] == [[3], [2], [2]] and sum(came) == 14
    assert engine.generate(PROMPTS[:1], 1) == Counting().generate(PROMPTS[:1], 1)  # fewer prompts than engines
    assert (engine.room, engine.identity) == (64, "counting")


def test_the_others_are_started_by_the_first_sample_and_once():
    started = []
    engine = Several(Counting(), lambda: started.append(1) or [], pytest.fail)
    assert not started
    assert engine.generate(PROMPTS, 1) == engine.generate(PROMPTS, 1) and started == [1]


def test_what_cannot_be_started_is_done_without():
    def start():
        raise OSError("no such card")

    engine = Several(Counting(), start, (warnings := []).append)
    assert engine.generate(PROMPTS, 1) == Counting().generate(PROMPTS, 1) and "no such card" in warnings[0]


def test_what_one_cannot_do_the_first_does():
    first, bad, warnings = Counting(), Counting(fails=True), []
    engine = Several(first, lambda: [bad, Counting()], warnings.append)
    for _ in range(2):
        assert engine.generate(PROMPTS, 1) == Counting().generate(PROMPTS, 1)
    assert bad.asked == [2] and first.asked == [3, 2, 4]
    assert len(warnings) == 1 and "out of memory" in warnings[0]
