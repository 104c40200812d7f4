"""Curation: each step keeps and drops what it says, is taken up after a kill, and gives pools that a run trains on."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, SHARED, TOY
from hydra.core.override_parser.overrides_parser import OverridesParser

from benchmarks.perturb import CHANGES, make_problems, sibling
from src.common.errors import UserError
from src.common.screen import Screen
from src.curate.canonical import canonical
from src.curate.card import run_command
from src.curate.config import CurateConfig, load_config, parse, shipped
from src.curate.difficulty import wilson
from src.curate.duplicates import find_copies, sign, signature_type
from src.curate.filters import RULES, JudgeConfig, judge
from src.curate.overlap import OverlapConfig, SuiteIndex
from src.curate.pipeline import curate
from src.curate.store import Candidate, read_candidates
from src.data.rows import stream_file

DATA = SHARED / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"real problems are not at {DATA}")
NO_SUITE = OverlapConfig(suites={"none": {"loader": "micro", "role": "chains", "count": 1, "seed": 0}})
COLUMNS = {"question": "problem", "answer": "answer", "pass_rate": "rate"}


def write(path: Path, rows: list) -> str:
    """A JSONL file of rows; texts go in as they are."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n")
    return str(path)


def row(question: str, answer: str = "7", rate: float | None = 0.5) -> dict:
    return {"problem": question, "answer": answer, "rate": rate}


def config(tmp_path: Path, path: str, **settings) -> CurateConfig:
    source = {"loader": "file", "path": path, "level": "hard", "columns": COLUMNS}
    steps = dict.fromkeys(("duplicates", "overlap", "difficulty", "filter", "draw"))
    read = {"sources": {"mine": source}, "grading_workers": 1}
    return parse({"name": "test", "output": str(tmp_path / "out"), "read": read} | steps | settings)


def dropped(tmp_path: Path, step: str) -> list[tuple]:
    frame = pd.read_parquet(tmp_path / "out" / step / "dropped.parquet")
    return list(zip(frame["reason"], frame["place"].str.rpartition(", ")[2], frame["detail"], strict=True))


def candidates(questions, answer: str = "7") -> list[Candidate]:
    return [Candidate(str(n), q, answer, "hard", None, None, None, None, "mine", str(n)) for n, q in enumerate(questions)]


def message_of(function, *args) -> str:
    with pytest.raises(UserError) as error:
        function(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def cli(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "src.curate", *arguments],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300,
    )


# --- read -------------------------------------------------------------------------------------------------------------


def test_malformed_rows_are_set_aside_with_file_and_line_and_the_rest_is_read(tmp_path):
    path = write(
        tmp_path / "raw.jsonl",
        [
            row("What is 3 + 4?"),
            '{"problem": "cut off',
            row("Which of them?", answer="\\sqrt{"),
            "[1, 2]",
            row("Rated?", rate=7),
            '{"problem": "caf\udce9", "answer": "1"}',
            row("", "1"),
            row("What is 4 + 4?", answer="\\frac{16}{2}"),
            row("What is \ud800?", "1"),
        ],
    )
    steps = curate(config(tmp_path, path), Screen())
    assert [c.question for c in steps[0].candidates()] == ["What is 3 + 4?", "What is 4 + 4?"]
    assert steps[0].rows == 9
    assert [(reason, place) for reason, place, _ in dropped(tmp_path, "1_read")] == [
        ("malformed row", "line 2"),
        ("unreadable gold answer", "line 3"),
        ("malformed row", "line 4"),
        ("malformed row", "line 5"),
        ("malformed row", "line 6"),
        ("no question", "line 7"),
        ("malformed row", "line 9"),
    ]
    details = {place: detail for _, place, detail in dropped(tmp_path, "1_read")}
    assert details["line 5"] == "the pass rate is 7, not a number from 0 to 1"
    assert details["line 6"] == "not UTF-8 text"


def test_grading_rules_decide_which_gold_answers_are_kept(tmp_path):
    path = write(tmp_path / "raw.jsonl", [row("Which two numbers?", "2 3"), row("What is 3 + 4?")])
    by_form = curate(config(tmp_path, path), Screen())
    assert [c.answer for c in by_form[0].candidates()] == ["7"]
    library = curate(config(tmp_path, path, grading={"rules": "math_verify"}), Screen())  # it reads the product 6, and the step is not taken from before
    assert [c.answer for c in library[0].candidates()] == ["2 3", "7"]
    drawn = config(tmp_path, path, grading={"rules": "math_verify"}, draw={"roles": {"broad": {"level": "hard"}}})
    assert run_command(drawn).endswith(" grading.rules=math_verify")


def test_a_malformed_csv_row_is_set_aside_and_takes_no_other_with_it(tmp_path):
    rows = ["problem,answer,rate", '"What is\n3 + 4?",7,0.5', "short,1", "What is 1 + 1?,2,0.25"]
    rows += ['"never closed,3,1', "What is 2 + 2?,4,1", '"5","5",1', '"nor this,6,1', "7,7,1"]
    (tmp_path / "raw.csv").write_text("\n".join(rows) + "\n")
    steps = curate(config(tmp_path, str(tmp_path / "raw.csv")), Screen())
    assert [c.answer for c in steps[0].candidates()] == ["7", "2", "4", "5", "7"]
    assert [place for _, place, _ in dropped(tmp_path, "1_read")] == ["line 4", "line 6", "line 9"]


def test_a_parquet_row_that_is_no_text_is_set_aside(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    bytes_of = pa.array([b"Q: 1 + 1?", b"Q: caf\xe9?", b"Q: 1 + 2?"])
    question = pa.Array.from_buffers(pa.string(), 3, bytes_of.buffers())  # Parquet does not check what it is told is text
    table = pa.table({"problem": question, "answer": ["2", "1", "3"], "rate": [0.5] * 3})
    pq.write_table(table, tmp_path / "raw.parquet")
    steps = curate(config(tmp_path, str(tmp_path / "raw.parquet")), Screen())
    assert [c.place.rpartition(", ")[2] for c in steps[0].candidates()] == ["row 1", "row 3"]
    assert dropped(tmp_path, "1_read") == [("malformed row", "row 2", "not UTF-8 text")]


def test_a_parquet_file_is_read_a_piece_at_a_time(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pads = [random.Random(n).randbytes(400) for n in range(20_000)]
    pq.write_table(pa.table({"problem": pads}), tmp_path / "raw.parquet")  # one row group
    held = pa.total_allocated_bytes()
    rows = stream_file(str(tmp_path / "raw.parquet"))
    assert next(rows).record == {"problem": pads[0]}
    assert pa.total_allocated_bytes() - held < (tmp_path / "raw.parquet").stat().st_size / 2


def test_a_question_that_is_a_list_does_not_stop_a_prefix_from_being_stripped(tmp_path):
    path = write(tmp_path / "raw.jsonl", [row("Q: What is 3 + 4?"), row(["What", "is it?"])])
    source = {"loader": "file", "path": path, "level": "hard", "columns": COLUMNS | {"strip_prefix": "Q:"}}
    steps = curate(config(tmp_path, path, read={"sources": {"mine": source}, "grading_workers": 1}), Screen())
    assert [c.question for c in steps[0].candidates()] == ["What is 3 + 4?"]
    assert steps[0].dropped == {"malformed row": 1}


def test_a_source_without_rows_or_without_a_column_and_an_output_that_is_none_are_errors(tmp_path):
    empty = write(tmp_path / "empty.jsonl", [])
    assert message_of(curate, config(tmp_path, empty), Screen()) == f"{empty} holds no rows"
    late = write(tmp_path / "late.jsonl", [{"problem": "1 + 1?", "answer": "2"}] * 1_000 + [row("1 + 2?", "3")])
    message = message_of(curate, config(tmp_path, late), Screen())
    assert message.startswith(f"{late} (in its first 1,000 rows) has no column rate")
    message = message_of(curate, config(tmp_path, late, output=f"{late}/out"), Screen())
    assert f"{late}/out cannot be written (Not a directory); finished steps stay (none yet)" in message


def test_answers_can_come_from_the_box_of_a_solution(tmp_path):
    path = write(
        tmp_path / "raw.jsonl",
        [row("One?", "so \\boxed{1}, or rather \\boxed{\\frac{1}{2}}."), row("Two?", "no box"), row("Three?", "\\boxed{3")],
    )
    columns = COLUMNS | {"answer_boxed": True}
    source = {"loader": "file", "path": path, "level": "hard", "columns": columns}
    steps = curate(config(tmp_path, path, read={"sources": {"mine": source}, "grading_workers": 1}), Screen())
    assert [c.answer for c in steps[0].candidates()] == ["\\frac{1}{2}"]
    assert steps[0].dropped == {"no answer": 2}


# --- duplicates and overlap -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"Find $\dfrac{1}{2}+x\le 3$.", r"Find \( 1/2 + t \leq 3 \)"),
        (r"$10,\!000$ and $90^\circ$ in $\triangle ABC$", "10{,}000 and 90° in △ PQR"),
        (r"Let $\theta$ be $\text{real}$", r"let \phi be \mathrm{real}"),
        (r"\[ x^{2} \cdot y \ldots \]", "$$a^2 * b…$$"),
    ],
)
def test_spellings_of_one_formula_are_equal(one, other):
    assert canonical(one) == canonical(other)


def test_duplicates_of_each_kind_and_what_is_none(tmp_path):
    question = "Let $x$ be a real number with $x^2 - 5x + 6 = 0$. What is the sum of all possible values of $x$ in the plane?"
    texts = [
        (question, "5"),
        (question, "5"),
        (question.upper().replace(" ", "  "), "5"),
        (question.replace("$x$", "\\(t\\)").replace("x", "t").replace("$t^2", "$ t^{2}"), "5"),
        (question, "6"),
        (question.replace("6", "4"), "5"),  # another number: another problem
        (question.replace("sum", "product"), "6"),  # another answer: another problem
    ]
    path = write(tmp_path / "raw.jsonl", [row(*text) for text in texts])
    steps = curate(config(tmp_path, path, duplicates={}), Screen())
    assert [c.place.rpartition(" ")[2] for c in steps[-1].candidates()] == ["1", "6", "7"]
    assert [(reason, place) for reason, place, _ in dropped(tmp_path, "2_duplicates")] == [
        ("exact duplicate", "line 2"),
        ("duplicate but for case and spaces", "line 3"),
        ("near duplicate", "line 4"),
        ("duplicate with another gold answer", "line 5"),
    ]
    frame = pd.read_parquet(tmp_path / "out" / "2_duplicates" / "dropped.parquet")
    assert set(frame["other_question"]) == {question} and frame["other"].str.endswith("line 1").all()
    assert not list((tmp_path / "out" / "2_duplicates").glob("*.bin"))


def planted(suite: list[str], others: list[str]) -> tuple[dict[str, float], float, float]:
    """Share of changed suite problems found by kind of change; of siblings, and of other problems, that are flagged."""
    index = SuiteIndex(NO_SUITE, {"suite": candidates(suite)})
    found = {}
    for name, change in CHANGES.items():
        changed = [(n, change(q, random.Random(n))) for n, q in enumerate(suite)]
        twins = [(n, index.twin(text)) for n, text in changed if text != suite[n]]
        found[name] = sum(twin is not None and twin.problem.id == str(n) for n, twin in twins) / len(twins)
    siblings = [text for n, q in enumerate(suite) if (text := sibling(q, random.Random(n))) != q]
    flagged = [sum(index.twin(text) is not None for text in texts) / len(texts) for texts in (siblings, others)]
    return found, *flagged


def test_planted_suite_problems_are_found_and_others_are_left_alone():
    problems = make_problems(600, random.Random(0))
    found, _, others = planted(problems[:200], problems[200:])
    assert min(found.values()) >= 0.95, found
    assert others < 0.005


@needs_data
def test_planted_problems_of_math_500_are_found():
    from src.curate.overlap import load_suites

    guru = load_config("guru", [f"data={DATA}"])
    suite = [c.question for c in load_suites(guru.overlap)["math_500"]]
    source = guru.read.sources["guru"]
    others = [problem.question for problem in source.load("guru").problems][::3]
    found, siblings, flagged = planted(suite, others)
    assert min(found.values()) >= 0.95, found
    assert siblings < 0.02  # one number changed: another problem
    assert flagged < 0.005  # among them real overlaps


def test_near_duplicates_of_generated_problems_are_found():
    import numpy as np

    problems = make_problems(300, random.Random(1))
    rng = random.Random(2)
    copies = [CHANGES[rng.choice(list(CHANGES))](question, rng) for question in problems]
    rows = np.array(list(sign(candidates(problems + copies), 4)), dtype=signature_type())
    result = find_copies(rows, 0.5)
    assert (result.first[300:] == np.arange(300)).mean() >= 0.95
    assert (result.kind[:300] > 0).mean() < 0.005


def test_overlap_lists_each_pair(tmp_path):
    suite = write(tmp_path / "suite.jsonl", [row("How many primes are there below $100$ that end in a $3$?", "7")])
    path = write(
        tmp_path / "raw.jsonl",
        [
            row("How many primes are there below $100$ that end in a $3$?"),
            row("How many  primes are there below $100$ that end in a $3$ ?"),
            row("Below \\(100\\), how many primes are there that end in a \\(3\\)? Give the number."),
            row("How many primes are there below $200$ that end in a $3$?"),
        ],
    )
    pool = {"loader": "file", "path": suite, "level": "hard", "columns": COLUMNS}
    steps = curate(config(tmp_path, path, overlap={"suites": {"primes": pool}}), Screen())
    assert [c.question for c in steps[-1].candidates()] == ["How many primes are there below $200$ that end in a $3$?"]
    frame = pd.read_parquet(tmp_path / "out" / "3_overlap" / "dropped.parquet")
    assert list(frame["reason"]) == [f"in suite primes ({kind})" for kind in ("exact", "normalised", "n-grams")]
    assert frame["other"].str.endswith("suite.jsonl, line 1").all() and frame["share"].iloc[2] < 1


# --- difficulty -------------------------------------------------------------------------------------------------------


def test_a_pass_rate_column_gets_its_interval(tmp_path):
    path = write(tmp_path / "raw.jsonl", [row("One?", rate=0.0), row("Two?", rate=0.5), row("Three?", rate=None)])
    steps = curate(config(tmp_path, path, difficulty={"by": "column", "tries": 16}), Screen())
    rates = [(c.pass_rate, round(c.rate_low, 2), round(c.rate_high, 2)) for c in steps[-1].candidates()]
    assert rates == [(0.0, 0.0, 0.19), (0.5, 0.28, 0.72)]
    assert steps[-1].dropped == {"no pass rate": 1}
    assert wilson(16, 16)[1] == 1.0 and wilson(16, 16)[0] == pytest.approx(0.806, abs=1e-3)


def micro(tmp_path: Path, *overrides: str) -> CurateConfig:
    counts = ("read.sources.chains.count=20", "read.sources.short_chains.count=20", "read.grading_workers=1")
    cache = f"difficulty.cache={tmp_path}/cache.sqlite"
    return load_config("micro", [f"output={tmp_path}/out", cache, *counts, "difficulty.samples=2", "filter=null", *overrides])


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    """A curation whose difficulty was measured with the embedded model."""
    folder = tmp_path_factory.mktemp("measured")
    curate(micro(folder), Screen())
    return folder


def test_difficulty_is_measured_with_the_embedded_model(measured):
    rows = list(read_candidates(measured / "out" / "4_difficulty" / "kept.parquet"))
    assert {c.pass_rate for c in rows} <= {0.0, 0.5, 1.0} and all(c.tries == 2 for c in rows)
    by_source = {name: [c.pass_rate for c in rows if c.source == name] for name in ("chains", "short_chains")}
    assert sum(by_source["short_chains"]) > sum(by_source["chains"]) > 0  # the embedded model finds short ones easier


def test_what_a_model_was_asked_once_is_not_asked_again(measured, tmp_path, monkeypatch):
    from src.rollout.in_process import TransformersEngine

    def refuse(*_, **__):
        raise AssertionError("the model was asked again")

    monkeypatch.setattr(TransformersEngine, "generate", refuse)
    cache = f"difficulty.cache={measured}/cache.sqlite"
    again = curate(micro(tmp_path, cache), Screen())
    first = (measured / "out" / "4_difficulty" / "kept.parquet").read_bytes()
    assert (tmp_path / "out" / "4_difficulty" / "kept.parquet").read_bytes() == first
    assert [step.name for step in again][-1] == "draw"
    with pytest.raises(AssertionError):  # other samples are another measurement
        curate(micro(tmp_path, cache, "difficulty.seed=1"), Screen())


# --- filter -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "question"),
    [
        ("multi-part", "Given $f(x) = x^2$. (1) Find $f(2)$; (2) Find the minimum of $f$."),
        ("multi-part", "A box holds 3 balls. a) What is the chance of red? b) What is the chance of blue?"),
        ("proof only", "Prove that $\\sqrt{2}$ is irrational."),
        ("proof only", "Let $n > 1$. Show that $n^4 + 4$ is composite."),
        ("missing figure", "In the figure, $AB = 3$. What is the area of the shaded region?"),
        ("missing figure", "What is the area of the square? ![](square.png)"),
        ("other language", "已知 $x^2 = 4$，求 $x$ 的最大值。"),
        ("other language", "Найдите наибольшее значение $x$."),
        ("other language", "¿Cuál es el valor de $x$ para que la suma de los números sea igual a $10$?"),
        ("other language", "Wie viele Zahlen gibt es, die durch 3 und durch 5 teilbar sind und kleiner als 100?"),
    ],
)
def test_rules_find_what_they_are_for(rule, question):
    assert RULES[rule](question)
    assert not any(RULES[other](question) for other in RULES if other != rule)


@pytest.mark.parametrize(
    "question",
    [
        "A function satisfies (1) $f(0) = 1$ and (2) $f(x+1) = 2 f(x)$. What is $f(5)$?",
        "How many figures can be drawn with $4$ lines? (A) 1 (B) 2 (C) 3",
        "Find $n$ and prove that it is the only one.",
        "[asy] draw((0,0)--(1,1)); [/asy] In the figure, what is the length of the line?",
        "Sketch the graph of $y = x^2$. What is its minimum?",
        "Evaluate $\\int_0^1 x\\,dx$.",
        "Let $\\alpha$ and $\\beta$ be the roots of $x^2 = x + 1$. Compute $\\alpha^3 + \\beta^3$.",
    ],
)
def test_rules_leave_ordinary_problems_alone(question):
    assert {rule: seen for rule, look in RULES.items() if (seen := look(question))} == {}


def test_pass_rates_and_rules_give_their_reasons(tmp_path):
    rows = [
        row("Trivial one, find it?", rate=1.0),
        row("Hopeless, find it?", rate=0.0),
        row("Prove that $1 = 1$."),
        row("Find it."),
    ]
    settings = {"trivial_from": 1.0, "impossible_to": 0.0}
    steps = curate(config(tmp_path, write(tmp_path / "raw.jsonl", rows), filter=settings), Screen())
    assert steps[-1].dropped == {"trivial": 1, "impossible": 1, "proof only": 1} and steps[-1].kept == 1


def test_a_model_can_judge(tmp_path):
    """The embedded model answers with a box: a pattern that rejects some of its answers rejects those problems."""
    difficulty = micro(tmp_path).difficulty.model_dump(mode="json", exclude={"by", "samples"})
    settings = {**difficulty, "reject": r"boxed\{-?\d*[02468]\}", "accept": r"boxed\{-?\d*[13579]\}"}
    settings["sampling"] = settings["sampling"] | {"temperature": 0.0}
    base = micro(tmp_path).model_dump(mode="json")
    judging = parse({**base, "difficulty": None, "draw": None, "filter": {"rules": [], "judge": settings}})
    step = curate(judging, Screen())[-1]
    unclear = sum(int(word) for note in step.notes for word in note.split() if word.isdigit())
    assert 0 < step.dropped["rejected by the judge"] < step.rows
    assert unclear < step.kept
    replies = pd.read_parquet(tmp_path / "out" / "5_filter" / "dropped.parquet")["detail"]
    assert replies.str.contains(r"boxed\{-?\d*[02468]\}").all()


def test_a_reply_with_both_words_or_neither_is_unclear():
    config = JudgeConfig.model_construct(reject="(?i)no", accept="(?i)yes")
    assert [judge(config, reply) for reply in ("Yes.", "No!", "yes and no", "")] == ["accept", "reject", *["unclear"] * 2]


# --- draw -------------------------------------------------------------------------------------------------------------


def two_sources(tmp_path: Path, **settings) -> CurateConfig:
    rows = [
        row(f"Find {'a long and winding ' * (n % 4)}number {n}", rate=n % 10 / 10) | {"from": "abc"[n % 6 // 3]}
        for n in range(240)
    ]
    source = {"loader": "file", "path": write(tmp_path / "raw.jsonl", rows), "level": "hard"}
    read = {"sources": {"mine": source | {"columns": COLUMNS | {"source": "from"}}}, "grading_workers": 1}
    return config(tmp_path, "", read=read, difficulty={"by": "column"}, **settings)


def test_the_draw_is_exact_seeded_and_stratified(tmp_path):
    roles = {"core": {"level": "hard", "count": 50}, "easy": {"level": "easy", "count": 24}}
    drawing = {"roles": roles, "easy_from": 0.7, "seed": 1}

    def drawn(seed: int, folder: str) -> dict[str, pd.DataFrame]:
        drawing_there = two_sources(tmp_path, draw=drawing | {"seed": seed}, output=str(tmp_path / folder))
        curate(drawing_there, Screen())
        return {role: pd.read_parquet(tmp_path / folder / "6_draw" / f"{role}.parquet") for role in roles}

    first, again, other = drawn(1, "a"), drawn(1, "b"), drawn(2, "c")
    assert {role: len(frame) for role, frame in first.items()} == {"core": 50, "easy": 24}
    assert first["core"]["pass_rate"].max() < 0.7 <= first["easy"]["pass_rate"].min()
    assert set(first["core"]["level"]) == {"hard"} and set(first["easy"]["level"]) == {"easy"}
    assert first["core"].equals(again["core"]) and not first["core"].equals(other["core"])
    (tmp_path / "a" / "6_draw" / "core.parquet").unlink()
    assert drawn(1, "a")["core"].equals(first["core"])  # a step that lost a file is done again
    assert set(first["core"]["source"].value_counts()) <= {24, 25, 26}  # eight strata are rounded, each by less than one
    lengths = first["core"]["problem"].str.len() // 20
    assert lengths.value_counts().max() - lengths.value_counts().min() <= 3  # 168 hard ones of four even lengths


def test_a_quantile_chooses_levels(tmp_path):
    roles = {"core": {"level": "hard"}, "easy": {"level": "easy"}}
    step = curate(two_sources(tmp_path, draw={"roles": roles, "easy_share": 0.4}), Screen())[-1]
    assert step.notes[1:] == ["core: 144 hard problems", "easy: 96 easy problems"]  # rates 0 to 0.5, 0.6 to 0.9


def test_too_few_problems_or_no_pass_rates_are_errors(tmp_path):
    settings = {"draw": {"roles": {"easy": {"level": "easy", "count": 99}}, "easy_from": 0.7}}
    message = message_of(curate, two_sources(tmp_path, **settings), Screen())
    assert message.startswith("draw.roles.easy: 99 easy problems asked for and 72 are left")
    bare = config(tmp_path, write(tmp_path / "b.jsonl", [row("One?", rate=None)]), draw=settings["draw"])
    assert "1 problems have no pass rate" in message_of(curate, bare, Screen())


# --- the whole --------------------------------------------------------------------------------------------------------


def test_an_empty_result_is_an_error_with_the_funnel(tmp_path):
    path = write(tmp_path / "raw.jsonl", [row("One?", rate=1.0), "{", row("Two?", rate=1.0)])
    message = message_of(curate, config(tmp_path, path, duplicates={}, filter={"trivial_from": 0.9}), Screen())
    assert message.startswith(
        "nothing is left after the step filter: read: 3 -> 2: 1 malformed row; then duplicates: 2 -> 2; "
        "then filter: 2 -> 0: 2 trivial; see "
    )
    assert message.endswith(f"/5_filter/dropped.parquet, which begins with {path}, line 1 (pass rate 1)")


def test_finished_steps_are_taken_and_changed_ones_done_again(tmp_path, capsys):
    path = tmp_path / "raw.jsonl"
    write(path, [row(f"What is {n} + 1?", str(n + 1)) for n in range(20)])

    def taken(**settings) -> list[bool]:
        capsys.readouterr()
        curate(config(tmp_path, str(path), duplicates={}, **settings), Screen())
        return ["taken" in line for line in capsys.readouterr().out.splitlines()]

    assert taken(filter={}) == [False, False, False]
    assert taken(filter={}) == [True, True, True]
    assert taken(filter={"impossible_to": 0.1}) == [True, True, False]  # other settings
    write(path, [row(f"What is {n} + 1?", str(n + 1)) for n in range(21)])
    assert taken(filter={}) == [False, False, False]  # other content
    kept = tmp_path / "out" / "2_duplicates" / "kept.parquet"
    kept.write_bytes(kept.read_bytes()[:-10])
    assert taken(filter={}) == [True, False, True]  # a damaged step is done again; what follows has the same input


def test_a_kill_leaves_finished_steps_and_the_same_result(tmp_path):
    arguments = ["micro", f"output={tmp_path}/out", f"difficulty.cache={tmp_path}/cache.sqlite", "difficulty.samples=16"]
    small = ["read.sources.chains.count=140", "read.sources.short_chains.count=20", "filter=null"]
    process = subprocess.Popen([sys.executable, "-m", "src.curate", *arguments, *small], cwd=ROOT)
    partial = tmp_path / "out" / ".4_difficulty.partial"
    deadline = time.monotonic() + 120
    while not partial.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.name[0] != ".") == [
        "1_read", "2_duplicates", "3_overlap",
    ]
    fewer = [argument for argument in arguments if "samples" not in argument] + ["difficulty.samples=1"]
    result = cli(*fewer, *small, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("taken from an earlier call") == 3 and not partial.exists()


def test_a_full_disk_leaves_finished_steps(tmp_path):
    """A limit on the size of a file fails as a full disk does."""
    rows = [row(f"What is {n} + 1? {random.Random(n).getrandbits(9000):x}", str(n + 1)) for n in range(400)]
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "from src.curate.__main__ import main; size = int(sys.argv.pop(1)); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)); sys.exit(main())"
    )
    settings = config(tmp_path, write(tmp_path / "raw.jsonl", rows), duplicates={}, filter={"trivial_from": 0.4}).model_dump()
    (tmp_path / "c.yaml").write_text(json.dumps(settings))
    kept = curate(parse(settings | {"duplicates": None, "filter": None}), Screen())[0].folder / "kept.parquet"
    command = [sys.executable, "-c", limited, str(kept.stat().st_size // 2), str(tmp_path / "c.yaml")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "step duplicates" in result.stderr and "finished steps stay (read)" in result.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1_read"]


def test_the_card_and_a_run_on_the_drawn_pools(measured, command_here, tmp_path):
    result = cli(
        "micro", f"output={tmp_path}/out", f"difficulty.cache={measured}/cache.sqlite", "read.sources.chains.count=20",
        "read.sources.short_chains.count=20", "read.grading_workers=1", "difficulty.samples=2", "filter.trivial_from=null",
        "filter.impossible_to=null", cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    card = (tmp_path / "out" / "card.md").read_text()
    content = json.loads((tmp_path / "out" / "card.json").read_text())
    assert [entry["step"] for entry in content["funnel"]] == list(CurateConfig.model_fields)[3:9]
    assert all(step["rows"] - step["kept"] == sum(step["dropped"].values()) for step in content["funnel"])
    assert all(entry["sha256"] in card for entry in content["files"].values())
    for name in ("funnel", "rate", "length", "source"):
        assert (tmp_path / "out" / "figures" / f"{name}.png").stat().st_size > 1000
        assert "<svg" in (tmp_path / "out" / "figures" / f"{name}.svg").read_text()
    assert f"\npython -m src.curate micro output={tmp_path}/out " in card
    words = next(shlex.split(line) for line in card.splitlines() if line.startswith("python -m src.run"))
    toy = [option for option in TOY if "problems_per_level" not in option and "steps=" not in option]
    smaller = ["evaluation.validation.problems_per_level=2", "scale.steps=1", "evaluation.validation.every_steps=1"]
    result = command_here(*words[3:], *toy, *smaller, "algorithm.prompts_per_step=2", f"run_dir={tmp_path}/run")
    assert result.returncode == 0, result.stderr[-2000:]
    trained = set(pd.read_parquet(tmp_path / "run" / "problems.parquet")["question"])
    drawn = {q for entry in content["files"].values() for q in pd.read_parquet(entry["path"])["problem"]}
    assert trained and trained <= drawn


def test_the_command_that_trains_is_good_for_any_folder_and_any_roles(tmp_path):
    settings = {"output": f"{tmp_path}/a mix, [its]", "draw": {"roles": {"broad": {"level": "hard"}}}}
    words = shlex.split(run_command(config(tmp_path, "raw.jsonl", **settings)))
    overrides = OverridesParser.create().parse_overrides(words[3:])
    path = next(each.value() for each in overrides if each.key_or_group == "problems.pools.broad.path")
    assert path == f"{tmp_path}/a mix, [its]/6_draw/broad.parquet"
    assert [each.key_or_group for each in overrides if each.is_delete()] == ["problems.pools.core", "problems.pools.easy"]


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_curation_is_valid(name):
    loaded = load_config(name, ["data=somewhere"])
    assert loaded.name == name
    if loaded.published:
        assert max(loaded.published.values()) <= next(iter(loaded.read.sources.values())).published_rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gru"], "no curation is called gru; did you mean guru?"),
        (["guru"], "data is not set; add data=VALUE to the command"),
        (["guru", "data=x", "draw.sed=1"], "draw has no key sed; did you mean seed?"),
        (["guru", "data=x", "filter.rules=[multi-prt]"], "no rule is called multi-prt; did you mean multi-part?"),
        (["guru", "data=x", "difficulty.by=hand"], "difficulty"),
        (["guru", "data=x", "draw.seed=[1"], "expected ',' or ']'"),
        (["guru", "data=x", "draw"], "draw sets nothing; write key=value"),
        (["micro", "overlap.evaluation=open_r"], "no evaluation is called open_r; did you mean open_rs?"),
        (["micro", "difficulty.model.path=./no"], "difficulty.model.path: ./no holds no model"),
        (["micro", "draw.easy_from=0.3"], "easy_from and easy_share are two ways"),
        (["guru", "data=/nowhere"], "/nowhere/guru_math_5120.parquet does not exist"),
    ],
)
def test_bad_requests_are_one_line_and_exit_code_2(tmp_path, arguments, message, capsys, monkeypatch):
    from src.curate.__main__ import main

    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
