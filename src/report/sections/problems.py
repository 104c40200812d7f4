"""The problems that were gained and lost, with completions side by side, as far as the page has room for them."""

from collections.abc import Sequence
from typing import Any

from src.record.measures import Measure, read_questions, read_samples
from src.report.analysis import Analysis
from src.report.section import Section
from src.report.sections.shown import shown_at_first

ANSWERS = 60  # gained problems of a run with their answers, and as many lost ones
TEXTS = 12  # problems of a run with completions; half of them gained, half lost
LONGEST = 3_000  # characters of a completion; its middle is left out above
ROOM = 1_500_000  # characters of completions on the page
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def problem_views(analysis: Analysis) -> list[dict[str, Any]]:
    """For each suite: its problems, and for each run the samples solved before and after as digits to base 36.

    Answers with their verdicts, and some completions, are there for the first seed of the configurations that are shown at first.
    Where a problem has more than 35 samples, solved ones are counted out of 35.
    """
    room, shown, views = ROOM, set(shown_at_first(analysis)), []
    for group in analysis.ranked:
        samples, runs, asked = min(group.measure.samples, 35), [], {}
        for configuration in group.configurations:
            for number, run in enumerate(group.runs[configuration.key]):
                before, after = run.measures[group.suite, "before"], run.final(group.suite)
                told = number == 0 and configuration.label in shown and room > 0
                pairs = _told(before, after) if told else {}
                room -= sum(len(one.get("text", "")) for pair in pairs.values() for one in pair)
                asked |= read_questions(run.folder) if told else {}
                solved = {"before": _digits(before, samples), "after": _digits(after, samples)}
                runs.append({"label": f"{configuration.label}, seed {run.seed}", "pairs": pairs, **solved})
        views.append(
            {
                "name": group.name,
                "samples": samples,
                "ids": group.measure.problems,
                "levels": group.measure.levels_P.tolist(),
                "runs": runs,
                "questions": {id: asked[id] for id in group.measure.problems if id in asked},
            }
        )
    return views


def _digits(measure: Measure, samples: int) -> str:
    return "".join(_DIGITS[round(share * samples)] for share in measure.accuracy_P.tolist())


Pair = list[dict[str, Any]]  # a sample of before and one of after, with its answer and verdict, some with their text


def _told(before: Measure, after: Measure) -> dict[str, Pair]:
    """By problem that changed most: where gained a wrong sample and a right one, where lost the reverse."""
    change = after.accuracy_P - before.accuracy_P
    order = sorted(range(len(change)), key=lambda at: -change[at])
    gained, lost = [at for at in order if change[at] > 0], [at for at in order[::-1] if change[at] < 0]
    without = _pairs(before, after, gained[:ANSWERS], lost[:ANSWERS], text=False)
    return without | _pairs(before, after, gained[: TEXTS // 2], lost[: TEXTS // 2], text=True)


def _pairs(before: Measure, after: Measure, gained: Sequence[int], lost: Sequence[int], *, text: bool) -> dict[str, Pair]:
    ids = [before.problems[at] for at in (*gained, *lost)]
    if not ids:
        return {}
    old, new = (read_samples(measure, ids, text=text) for measure in (before, after))
    return {
        problem: [_pick(old[problem], at not in gained), _pick(new[problem], at in gained)]
        for problem, at in zip(ids, (*gained, *lost), strict=True)
    }


def _pick(samples: Sequence[dict[str, Any]], correct: bool) -> dict[str, Any]:
    chosen = next((sample for sample in samples if sample["correct"] == correct), samples[0])
    text = chosen.get("text", "")
    if len(text) > LONGEST:
        half = LONGEST // 2
        text = f"{text[:half]}\n\n[… {len(text) - LONGEST} characters left out …]\n\n{text[-half:]}"
    return chosen | ({"text": text} if text else {})


SECTION = Section(
    "problems",
    "Problems gained and lost",
    "What it was asked, what it answered before and after training, and what the grader made of that.",
    besides=lambda analysis: analysis.ranked,  # the table with its views
)
