"""Pairs that others wrote for their own graders are judged as they say, but where a stated rule differs."""

from benchmarks.rewrites import OTHERWISE, peer_pairs
from src.grading.extraction import box
from src.grading.grader import Grader


def test_pairs_of_other_graders_are_judged_as_there_but_for_stated_rules() -> None:
    pairs = peer_pairs()
    with Grader(workers=2, seconds_per_answer=60.0) as grader:
        verdicts = grader.grade([box(pair.answer) for pair in pairs], [pair.gold for pair in pairs])
    judged = list(zip(pairs, verdicts, strict=True))
    assert [pair for pair, verdict in judged if pair.form != OTHERWISE and verdict.correct != pair.equal] == []
    assert [pair for pair, verdict in judged if pair.form == OTHERWISE and verdict.correct == pair.equal] == []
    assert sum(pair.form != OTHERWISE for pair in pairs) > 700
