"""Every example of every rule, judged as a run judges it; and what the check of a gold answer refuses."""

from collections.abc import Iterator

import pytest

from src.grading.equality import COMPARISONS
from src.grading.extraction import box
from src.grading.grader import Grader
from src.grading.reading import READERS
from src.grading.rules import RULES


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=1) as grader:
        yield grader


def misjudged(grader: Grader, pairs: list[tuple[str, str]], correct: bool) -> list[tuple[str, str]]:
    verdicts = grader.grade([box(answer) for _, answer in pairs], [gold for gold, _ in pairs])
    return [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.correct != correct]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_the_examples_of_a_rule(grader: Grader, rule) -> None:
    assert misjudged(grader, list(rule.right), correct=True) == []
    assert misjudged(grader, list(rule.wrong), correct=False) == []
    golds = [gold for gold, _ in (*rule.right, *rule.wrong)]
    assert [(gold, v.found) for gold, v in zip(golds, grader.check_gold(golds), strict=True) if not v.correct] == []
    assert {verdict.reason for verdict in grader.check_gold(rule.refused)} <= {"unreadable gold"}


def test_every_reader_and_comparison_belongs_to_a_rule() -> None:
    read_by = {function for rule in RULES for function in rule.in_front}
    assert set(READERS) <= read_by
    compared_by = {function.__name__ for rule in RULES for function in rule.behind}
    assert {compare.__name__ for *_, compare in COMPARISONS} <= compared_by
