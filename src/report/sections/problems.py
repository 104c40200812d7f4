"""The problems that were gained and lost, with completions side by side, as far as the page has room for them."""

from typing import Any

from src.record.measures import Measure, read_questions, read_texts
from src.report.analysis import Analysis
from src.report.section import Section
from src.report.sections.shown import shown_at_first

PAIRS_A_RUN = 12  # half of them gained, half lost
LONGEST = 3_000  # characters of a completion; its middle is left out above
ROOM = 1_500_000  # characters of completions on the page
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def problem_views(analysis: Analysis) -> list[dict[str, Any]]:
    """For each suite: its problems, and for each run the samples solved before and after as digits to base 36.

    Completions are there for the first seed of the configurations that are shown at first. Where a problem has more
    than 35 samples, solved ones are counted out of 35.
    """
    room, shown, views = ROOM, set(shown_at_first(analysis)), []
    for group in analysis.ranked:
        samples, runs, questions = min(group.measure.samples, 35), [], {}
        for configuration in group.configurations:
            for number, run in enumerate(group.runs[configuration.key]):
                before, after = run.measures[group.suite, "before"], run.final(group.suite)
                texts = {}
                if number == 0 and configuration.label in shown and room > 0:
                    texts = _pairs(before, after)
                    room -= sum(len(one["text"]) for pair in texts.values() for one in pair)
                    questions |= {key: value for key, value in read_questions(run.folder).items() if key in texts}
                runs.append(
                    {
                        "label": f"{configuration.label}, seed {run.seed}",
                        "texts": texts,
                        "before": _digits(before, samples),
                        "after": _digits(after, samples),
                    }
                )
        views.append(
            {
                "name": group.name,
                "samples": samples,
                "ids": group.measure.problems,
                "levels": group.measure.levels_P.tolist(),
                "runs": runs,
                "questions": questions,
            }
        )
    return views


def _digits(measure: Measure, samples: int) -> str:
    return "".join(_DIGITS[round(share * samples)] for share in measure.accuracy_P.tolist())


def _pairs(before: Measure, after: Measure) -> dict[str, list[dict[str, Any]]]:
    """By problem, a completion of before and one of after: where gained a wrong and a right one, where lost the reverse."""
    change = after.accuracy_P - before.accuracy_P
    order = sorted(range(len(change)), key=lambda at: -change[at])
    gained = [at for at in order[: PAIRS_A_RUN // 2] if change[at] > 0]
    lost = [at for at in order[::-1][: PAIRS_A_RUN // 2] if change[at] < 0]
    ids = [before.problems[at] for at in (*gained, *lost)]
    if not ids:
        return {}
    texts_before, texts_after = read_texts(before, ids), read_texts(after, ids)
    return {
        problem: [_pick(texts_before[problem], at not in gained), _pick(texts_after[problem], at in gained)]
        for problem, at in zip(ids, (*gained, *lost), strict=True)
    }


def _pick(samples: list[dict[str, Any]], correct: bool) -> dict[str, Any]:
    chosen = next((sample for sample in samples if sample["correct"] == correct), samples[0])
    text = chosen["text"]
    if len(text) > LONGEST:
        half = LONGEST // 2
        text = f"{text[:half]}\n\n[… {len(text) - LONGEST} characters left out …]\n\n{text[-half:]}"
    return chosen | {"text": text}


SECTION = Section(
    "problems",
    "Problems gained and lost",
    "Each problem of a suite, before and after training.",
    besides=lambda analysis: analysis.ranked,  # the table with its views
)
