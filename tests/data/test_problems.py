"""Problems: every layout of data that is read, every reason to leave a problem out, every fault that is reported."""

import csv
import json
import os
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, SHARED
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import TypeAdapter, ValidationError

from src.common.errors import UserError
from src.common.types import Problem
from src.data.columns import paths_of, value_at
from src.data.loaders import FilePool, MicroPool, PoolConfig, mended, normalise
from src.data.problems import ROLES, ProblemsConfig, check_pools, load_pools, load_suite
from src.grading.code import grade_programs, remark
from src.grading.grader import Grader

CONF = ROOT / "conf"
DATA = SHARED / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"real problems are not at {DATA}")

OPEN_RS = [  # the layout of the Open-RS data sets
    {"problem": "What is $1+1$?", "solution": "Count.", "answer": "2", "level": "Easy"},
    {"problem": "What is $\\frac{1}{2}+\\frac{1}{3}$?", "solution": "Add.", "answer": "\\frac{5}{6}", "level": "Hard"},
]
GURU = [  # the layout of GURU: a chat message with words around the question, values inside structs
    {
        "prompt": [{"role": "user", "content": f"Think well. What is {n} plus {n}? Answer briefly."}],
        "reward_model": {"ground_truth": str(2 * n), "style": "rule"},
        "extra_info": {"index": n, "qwen2.5_7b_pass_rate": n / 16},
    }
    for n in range(1, 5)
]
GURU_COLUMNS = {
    "question": "prompt.0.content",
    "answer": "reward_model.ground_truth",
    "pass_rate": "extra_info.qwen2.5_7b_pass_rate",
    "strip_prefix": "Think well.",
    "strip_suffix": "Answer briefly.",
}
COLUMNS = {"question": "problem", "answer": "answer"}


@pytest.fixture(scope="module")
def grader():
    with Grader(1) as grader:
        yield grader


def pool_config(**settings):
    return TypeAdapter(PoolConfig).validate_python({"level": "hard", "columns": COLUMNS} | settings)


def micro_pool(role: str, count: int, seed: int) -> MicroPool:
    return MicroPool(loader="micro", role=role, count=count, seed=seed)


def file_pool(path: Path, **settings) -> FilePool:
    return pool_config(loader="file", path=str(path), **settings)


def write(path: Path, rows: list[dict]) -> Path:
    """Rows as a file of the format that the suffix names."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows(*pairs: tuple[str, str], **more) -> list[dict]:
    return [{"problem": question, "answer": answer} | more for question, answer in pairs]


def problems_of(grader, suites=None, minus=None, **files: Path):
    """Pools of the given roles from files; what load_pools makes of all of them."""
    pools = {role: file_pool(path, level="easy" if role == "easy" else "hard") for role, path in files.items()}
    config = ProblemsConfig(name="files", pools=pools, minus=minus or {})
    return load_pools(config, files, suites or {}, grader)


def message_of(function, *args) -> str:
    with pytest.raises(UserError) as error:
        function(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "json", "parquet", "csv"])
def test_every_file_format_gives_the_same_problems(tmp_path, suffix):
    path = write(tmp_path / f"open_rs.{suffix}", OPEN_RS)
    pool = file_pool(path, columns=COLUMNS | {"level": "level"}).load("problems.pools.core")
    assert [(p.question, p.answer, p.level, p.pass_rate, p.source) for p in pool.problems] == [
        ("What is $1+1$?", "2", "easy", None, str(path)),
        ("What is $\\frac{1}{2}+\\frac{1}{3}$?", "\\frac{5}{6}", "hard", None, str(path)),
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_nested_columns_and_words_around_the_question(tmp_path, suffix):
    path = write(tmp_path / f"guru.{suffix}", GURU)
    pool = file_pool(path, columns=GURU_COLUMNS | {"id": "extra_info.index"}).load("problems.pools.core")
    assert [(p.id, p.question, p.answer, p.pass_rate) for p in pool.problems[:2]] == [
        ("1", "What is 1 plus 1?", "2", 1 / 16),
        ("2", "What is 2 plus 2?", "4", 2 / 16),
    ]


def test_thresholds_on_the_pass_rate_include_their_ends(tmp_path):
    unmeasured = GURU[0] | {"extra_info": {"index": 9, "qwen2.5_7b_pass_rate": None}}
    path = write(tmp_path / "guru.jsonl", [*GURU, unmeasured])
    pool = file_pool(path, columns=GURU_COLUMNS, min_pass_rate=2 / 16, max_pass_rate=3 / 16).load("")
    assert [problem.pass_rate for problem in pool.problems] == [2 / 16, 3 / 16]
    assert [(drop.reason, drop.place) for drop in pool.unfit] == [
        ("outside the pass-rate thresholds", "line 1"),
        ("outside the pass-rate thresholds", "line 4"),
        ("no pass rate", "line 5"),
    ]


def test_answers_after_a_marker_and_answers_that_are_numbers(tmp_path):
    path = write(tmp_path / "gsm8k.jsonl", [{"question": "How many?", "answer": "4 and 3 are 7.\n#### 7"}])
    columns = {"question": "question", "answer": "answer", "answer_after": "####"}
    assert file_pool(path, columns=columns).load("").problems[0].answer == "7"
    path = write(tmp_path / "numbers.jsonl", rows(("a", 204), ("b", 204.0), ("c", 0.5)))
    assert [problem.answer for problem in file_pool(path).load("").problems] == ["204", "204", "0.5"]


def test_a_line_separator_inside_a_text_is_no_line_end(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"problem": "one\u2028two", "answer": "2"}\n\n', encoding="utf-8")
    assert file_pool(path).load("").problems[0].question == "one\u2028two"


def test_hub_data_sets_are_read_from_a_clone(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "open-rs" / "data").mkdir(parents=True)
    write(tmp_path / "open-rs" / "data" / "train-00000-of-00001.parquet", OPEN_RS)
    config = pool_config(loader="hub", dataset=str(tmp_path / "open-rs"), columns=COLUMNS | {"level": "level"})
    pool = config.load("problems.pools.released")
    assert [(problem.answer, problem.level) for problem in pool.problems] == [("2", "easy"), ("\\frac{5}{6}", "hard")]
    missing = config.model_copy(update={"split": "test"})
    message = message_of(missing.load, "problems.pools.released")
    assert "Unknown split" in message and message.endswith("'+problems.pools.released={loader: file, path: FILE}'")


def test_generated_problems():
    pool = micro_pool("easy", 5, 0).load("")
    assert [problem.level for problem in pool.problems] == ["easy"] * 5
    assert pool.source == "micro/easy" and len({problem.id for problem in pool.problems}) == 5


def test_value_at_prefers_the_longest_name():
    record = {"a": {"b.c": 1, "b": {"c": 2, "d": 3}}, "a.e": 4, "list": [{"x": 5}], "none": None}
    assert [value_at(record, path) for path in ("a.b.c", "a.b.d", "a.e", "list.0.x", "none")] == [1, 3, 4, 5, None]
    assert paths_of(record) == ["a.b.c", "a.b.c", "a.b.d", "a.e", "list.0.x", "none"]


# --- what is left out -------------------------------------------------------------------------------------------------


def test_every_reason_to_leave_a_problem_out_is_counted(tmp_path, grader):
    path = write(
        tmp_path / "core.jsonl",
        [
            *rows(("What is 1+1?", "2"), ("what IS  1 + 1?", "2")),  # the same but for case and spaces
            *rows(("", "3"), ("No answer?", None), ("How many dogs?", "4"), ("Unreadable?", "\\text{}")),
            *rows(("In the suite: \uff11?", "1"), ("In broad?", "5"), ("Kept?", "6")),
        ],
    )
    other = write(tmp_path / "broad.jsonl", rows(("in Broad?", "5")))
    suites = {"math_500": [Problem("s", "In the suite: 1?", "1", "hard", None, "math")]}  # \uff11 is a wide 1
    pools = problems_of(grader, suites, {"core": "broad"}, core=path, broad=other)
    assert [problem.question for problem in pools.by_role["core"]] == ["What is 1+1?", "How many dogs?", "Kept?"]
    assert [(drop.place, drop.reason) for drop in pools.dropped["core"]] == [
        ("line 3", "no question"),
        ("line 4", "no answer"),
        ("line 2", "duplicate"),
        ("line 7", "in evaluation suite math_500"),
        ("line 8", "in role broad"),
        ("line 6", "unreadable gold answer"),
    ]
    report = json.loads(json.dumps(pools.report()))["roles"]
    assert report["core"]["rows"] == 9 and report["core"]["kept"] == 3 and report["core"]["levels"] == {"hard": 3}
    assert report["core"]["dropped"]["duplicate"] == 1
    assert report["core"]["examples"]["duplicate"] == [{"place": "line 2", "question": "what IS  1 + 1?"}]
    assert report["broad"]["kept"] == 1 and report["broad"]["dropped"] == {}
    assert len(pools.drops) == 6


def test_only_the_roles_asked_for_are_read(tmp_path, grader):
    config = ProblemsConfig(
        name="files",
        pools={
            "core": file_pool(write(tmp_path / "a.jsonl", rows(("a", "1")))),
            "easy": file_pool(tmp_path / "not there.csv"),
        },
    )
    assert set(load_pools(config, ["core"], {}, grader).by_role) == {"core"}


def test_equal_questions_have_equal_ids_in_all_pools_and_different_ones_different_ids(tmp_path, grader):
    columns = COLUMNS | {"id": "id"}
    core = [{"id": 1, "problem": "a", "answer": "1"}, {"id": 1, "problem": "b", "answer": "2"}]
    broad = [{"id": 1, "problem": "c", "answer": "3"}, {"id": 2, "problem": "A", "answer": "1"}]
    pools = {
        role: file_pool(write(tmp_path / f"{role}.jsonl", content), columns=columns)
        for role, content in (("core", core), ("broad", broad))
    }
    loaded = load_pools(ProblemsConfig(name="files", pools=pools), pools, {}, grader).by_role
    assert [problem.id for problem in loaded["core"]] == ["1", "1-2"]
    assert [problem.id for problem in loaded["broad"]] == ["1-3", "1"]


def test_ids_without_a_column_come_from_the_question(tmp_path):
    path = write(tmp_path / "a.jsonl", rows(("What is 1+1?", "2"), ("What is 1 + 1?", "2"), ("What is 1+2?", "3")))
    first, again, other = (problem.id for problem in file_pool(path).load("").problems)
    assert first == again != other and len(first) == 12
    assert normalise("ﬁnd  $X^2$") == "find$x^2$"


def test_a_count_that_differs_from_the_publication_is_noted(tmp_path, grader):
    path = write(tmp_path / "a.jsonl", rows(("a", "1"), ("b", "2")))
    config = ProblemsConfig(name="files", pools={"core": file_pool(path, published_rows=3)})
    assert load_pools(config, ["core"], {}, grader).notes == [f"core: {path} has 2 rows where the publication counts 3"]
    assert file_pool(path, published_rows=2).remark(2) is None


def test_doubled_backslashes_are_mended_counted_and_said(tmp_path, grader):
    golds = [r"\\frac{1}{2}", r"19 \\text{ and } 30", r"\sqrt{2}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "5"]
    path = write(tmp_path / "a.jsonl", rows(*((str(number), gold) for number, gold in enumerate(golds))))
    pools = load_pools(ProblemsConfig(name="files", pools={"core": file_pool(path)}), ["core"], {}, grader)
    assert [problem.answer for problem in pools.by_role["core"]] == [r"\frac{1}{2}", r"19 \text{ and } 30", *golds[2:]]
    assert pools.notes == [f"core: {path}: 2 gold answers had their backslashes doubled and were mended"]
    assert load_suite(file_pool(path), "x", grader)[1] == [f"suite x: {pools.notes[0].removeprefix('core: ')}"]


def test_a_column_of_doubled_backslashes_is_mended_as_a_whole(tmp_path, grader):
    golds = [r"\\frac{1}{2}", r"1 \\ 2"]  # the second says nothing of itself
    path = write(tmp_path / "a.jsonl", rows(*((str(number), gold) for number, gold in enumerate(golds))))
    pool, count = mended(file_pool(path).load(""))
    assert ([problem.answer for problem in pool.problems], count) == ([r"\frac{1}{2}", "1 \\ 2"], 2)


@pytest.mark.parametrize(("value", "text"), [(1e-7, "0.0000001"), (2.5e-05, "0.000025"), (1e22, str(10**22)), (-1e-5, "-0.00001")])
def test_a_float_is_written_without_an_exponent(tmp_path, value, text):
    path = write(tmp_path / "a.jsonl", rows(("a", value)))
    assert [problem.answer for problem in file_pool(path).load("").problems] == [text]


def test_suites_keep_every_problem(tmp_path, grader):
    path = write(tmp_path / "suite.jsonl", rows(("a", "1"), ("A", "1"), ("b", "2")))
    suite, _ = load_suite(file_pool(path), "aime24", grader)
    assert [problem.question for problem in suite] == ["a", "A", "b"]
    assert len({problem.id for problem in suite}) == 3


def test_suites_name_the_row_that_is_no_problem(tmp_path, grader):
    path = write(tmp_path / "suite.jsonl", rows(("a", "1"), ("b", None)))
    assert message_of(load_suite, file_pool(path), "aime24", grader) == f"suite aime24: {path}, line 2 has no answer"


def test_suites_keep_a_gold_answer_that_cannot_be_read_and_say_so(tmp_path, grader):
    path = write(tmp_path / "suite.jsonl", rows(("a", "1"), ("b", "\\text{}")))
    suite, notes = load_suite(file_pool(path), "aime24", grader)
    assert len(suite) == 2
    assert notes == ["suite aime24: 1 gold answers cannot be read, such as '\\\\text{}'"]
    path = write(tmp_path / "none.jsonl", rows(("b", "\\text{}")))
    assert "none of the 1 gold answers" in message_of(load_suite, file_pool(path), "aime24", grader)


def test_a_pool_without_a_readable_answer_or_without_a_problem(tmp_path, grader):
    path = write(tmp_path / "a.jsonl", rows(("a", "\\text{}"), ("b", "\\text{ }")))
    message = message_of(lambda: problems_of(grader, core=path))
    assert message.startswith(
        f"core: none of the 2 gold answers of {path} can be read, such as '\\\\text{{}}' (line 1)"
    )
    path = write(tmp_path / "b.jsonl", rows(("a", None), ("", "1"), ("c", "1")))
    suites = {"amc23": [Problem("s", "C", "1", "hard", None, "")]}
    assert message_of(lambda: problems_of(grader, suites, core=path)) == (
        f"core: no problem of {path} is left to train on (1 no answer, 1 no question, 1 in evaluation suite amc23)"
    )


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"problem": "a", "answer": "1"}\n\n{"problem": "b", \n', "a.jsonl, line 3: not a JSON object"),
        (
            "a.jsonl",
            b'{"problem": "a", "answer": "1"}\n["b", "2"]\n',
            "a.jsonl, line 2: one JSON object a line is needed",
        ),
        ("a.json", b'[\n{"problem": "a"}\n]', "a.json, line 1: not a JSON object"),
        ("a.jsonl", b'{"problem": "a", "answer": "1"}\n{"problem": "\xff"}', "a.jsonl, line 2: not UTF-8 text"),
        (
            "a.jsonl",
            b'{"problem": "a", "answer": "1"}\n{"problem": ["b"], "answer": "2"}',
            "a.jsonl, line 2: the question is a list",
        ),
        ("a.jsonl", b'{"problem": "a", "answer": true}', "a.jsonl, line 1: the answer is true or false, not text; columns.answer must name another column"),
        ("a.jsonl", b'{"problem": "a", "answer": {"value": 2}}', "columns.answer may name a part of it, such as answer.value"),
        ("a.jsonl", b'{"problem": "a", "answer": [{"x": {"y": 1}}]}', "columns.answer may name a part of it, such as answer.0.x.y"),
        ("a.jsonl", b'{"problem": "a", "answer": []}', "the answer is a list of nothing, not text"),
        ("a.jsonl", b"\n\n", "a.jsonl holds no rows"),
        ("a.csv", b'problem,answer\n"a\nb",1\nc,2,3\n', "a.csv, line 4: 3 values where the header has 2"),
        ("a.csv", b'problem,answer\na,1\n"b"x,2\n', "a.csv, line 3: not CSV"),
        ("a.csv", b"problem,answer\n", "a.csv holds no rows"),
        ("a.csv", b"problem,answer\na,1\nb\xff,2\n", "a.csv, line 3: not UTF-8 text"),
        ("a.parquet", b"PAR2 is not a format", "a.parquet cannot be read as Parquet"),
        ("a.txt", b"", "a.txt is not JSONL, Parquet or CSV by its name: it must end in .jsonl,"),
        (
            "a.jsonl",
            b'{"problm": "a", "answer": "1"}',
            "a.jsonl has no column problem; did you mean problm? It has answer, problm",
        ),
        ("a.csv", b"Q,A\na,1\n", "a.csv has no column problem; choose one of: A, Q"),
    ],
)
def test_malformed_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert message in message_of(file_pool(tmp_path / name).load, "problems.pools.core")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"pass_rate": "rate"}, "a.jsonl, line 2: the pass rate is 75, not a number from 0 to 1"),
        ({"level": "grade"}, "a.jsonl, line 1: the level is 'level 5', not easy or hard"),
        ({"answer_after": "####"}, "a.jsonl, line 1: the answer holds no '####'"),
        ({"strip_prefix": "Solve: "}, "a.jsonl: columns.strip_prefix 'Solve: ' was found in no question"),
        ({"question": "problem.0.content"}, "a.jsonl has no column problem.0.content; "),
    ],
)
def test_columns_that_do_not_fit(tmp_path, columns, message):
    path = write(
        tmp_path / "a.jsonl",
        [row | {"rate": rate, "grade": "Level 5"} for row, rate in zip(OPEN_RS, (0.5, 75), strict=True)],
    )
    assert message in message_of(file_pool(path, columns=COLUMNS | columns).load, "")


def test_files_and_roles_are_checked_before_anything_is_read(tmp_path):
    present = write(tmp_path / "a.jsonl", OPEN_RS)
    config = ProblemsConfig(
        name="files",
        pools={"core": file_pool(present), "broad": file_pool(Path("???")), "easy": file_pool(tmp_path / "gone.jsonl")},
    )
    check_pools(config, ["core"])
    assert message_of(check_pools, config, ["broad"]).startswith("problems.pools.broad.path is not set")
    assert message_of(check_pools, config, ["easy"]).startswith(f"{tmp_path / 'gone.jsonl'} does not exist")
    assert "has no pool for the role released, only for broad, core, easy" in message_of(
        check_pools, config, ["released"]
    )
    config = ProblemsConfig(name="files", pools={"core": file_pool(tmp_path)})
    assert "is a folder" in message_of(check_pools, config, ["core"])


@pytest.mark.parametrize("offline", [False, True])
def test_a_hub_out_of_reach_names_the_local_alternative_at_once(tmp_path, monkeypatch, offline):
    import datasets

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr("datasets.config.HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", offline)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    started = time.monotonic()
    message = message_of(pool_config(loader="hub", dataset="knoveleng/open-s1").load, "problems.pools.core")
    assert time.monotonic() - started < 6
    assert message == (
        "the hub cannot be reached for knoveleng/open-s1, and no copy is cached; "
        "a local file will do: '+problems.pools.core={loader: file, path: FILE}'"
    )
    assert datasets.config.HF_HUB_OFFLINE == offline


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loader": "file", "path": "a.csv", "min_pass_rate": 0.3}, "need columns.pass_rate"),
        (
            {
                "loader": "file",
                "path": "a.csv",
                "min_pass_rate": 0.3,
                "max_pass_rate": 0.2,
                "columns": COLUMNS | {"pass_rate": "p"},
            },
            "min_pass_rate 0.3 is above max_pass_rate 0.2",
        ),
        ({"loader": "file", "path": "a.csv", "max_pass_rate": 30}, "less than or equal to 1"),
        ({"loader": "file", "path": "a.csv", "paht": "b.csv"}, "Extra inputs"),
        ({"loader": "hub", "dataset": "a/b", "path": "b.csv"}, "Extra inputs"),
        ({"loader": "fiel", "path": "a.csv"}, "'hub', 'file', 'code', 'micro'"),
        ({"loader": "file", "path": "a.csv", "columns": {"question": "q"}}, "Field required"),
        ({"loader": "file", "path": "a.csv", "level": "medium"}, "'easy' or 'hard'"),
    ],
)
def test_unusable_pools(settings, message):
    with pytest.raises(ValidationError, match=message):
        pool_config(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"pools": {"cor": {"loader": "micro", "role": "core", "count": 1, "seed": 0}}},
            r"no role is called cor; did you mean core\?",
        ),
        ({"minus": {"easy": "core"}}, r"minus.easy must name another role with a pool \(core\), not core"),
        ({"minus": {"core": "core"}}, "minus.core must name another role"),
    ],
)
def test_unusable_roles(settings, message):
    core = {"core": {"loader": "micro", "role": "core", "count": 1, "seed": 0}}
    with pytest.raises(ValidationError, match=message):
        ProblemsConfig.model_validate({"name": "x", "pools": core} | settings)


# --- what is shipped --------------------------------------------------------------------------------------------------


def shipped(folder: Path, *overrides: str) -> ProblemsConfig:
    (folder / "primary.yaml").write_text(
        f"defaults: [problems: micro, _self_]\nhydra: {{searchpath: ['file://{CONF}']}}\n", encoding="utf-8"
    )
    with initialize_config_dir(str(folder), version_base="1.3"):
        tree = compose("primary", list(overrides))
    return ProblemsConfig.model_validate(OmegaConf.to_container(tree.problems, resolve=True))


def test_shipped_choices(tmp_path):
    choices = ["files", "guru", "micro", "micro_large", "micro_wide", "my_data", "open_rs", "reasoning_gym", "words"]
    assert sorted(path.stem for path in (CONF / "problems").glob("*.yaml")) == choices
    open_rs = shipped(tmp_path, "problems=open_rs")
    assert {role: (pool.dataset, pool.published_rows, pool.level) for role, pool in open_rs.pools.items()} == {
        "core": ("knoveleng/open-s1", 18_615, "hard"),
        "broad": ("knoveleng/open-deepscaler", 21_044, "hard"),
        "easy": ("agentica-org/DeepScaleR-Preview-Dataset", 40_315, "easy"),
        "released": ("knoveleng/open-rs", 7_000, "hard"),
    }
    assert tuple(open_rs.pools) == ROLES and set(PoolConfig.kinds()) == {"hub", "file", "code", "micro", "own", "reasoning_gym"}
    files = shipped(tmp_path, "problems=files")
    assert message_of(check_pools, files, ["core"]).startswith("problems.pools.core.path is not set")


def test_generated_pools_pass_every_check(tmp_path, grader):
    config = shipped(tmp_path)
    suite, _ = load_suite(micro_pool("chains", 50, 1), "chains", grader)
    pools = load_pools(config, config.pools, {"chains": suite}, grader)
    assert {role: len(problems) for role, problems in pools.by_role.items()} == dict.fromkeys(config.pools, 1600)
    assert pools.drops == []


def test_the_hint_for_a_hub_out_of_reach_works_on_the_command_line(tmp_path):
    path = write(tmp_path / "s1.jsonl", OPEN_RS)
    for choice, role in (("open_rs", "core"), ("open_rs", "released"), ("files", "easy")):
        config = shipped(tmp_path, f"problems={choice}", f"+problems.pools.{role}={{loader: file, path: {path}}}")
        assert isinstance(config.pools[role], FilePool)
        assert len(config.pools[role].load("").problems) == 2


# --- real data --------------------------------------------------------------------------------------------------------


def real_columns(path: Path, pass_rate: str | None = None) -> dict:
    """Columns of a GURU file, with the words that all its questions begin and end with."""
    asked = [row["prompt"][0]["content"] for row in pq.read_table(path, columns=["prompt"]).to_pylist()]
    reverse = os.path.commonprefix([text[::-1] for text in asked])
    return GURU_COLUMNS | {
        "pass_rate": pass_rate,
        "strip_prefix": os.path.commonprefix(asked),
        "strip_suffix": reverse[::-1],
    }


@needs_data
@pytest.mark.parametrize(("name", "count"), [("aime2024", 30), ("amc2023", 40), ("math_500", 500)])
def test_real_suites(grader, name, count):
    path = DATA / f"{name}.parquet"
    suite, _ = load_suite(file_pool(path, columns=real_columns(path)), name, grader)
    assert len(suite) == len({problem.id for problem in suite}) == count
    assert not any("boxed{}" in problem.question for problem in suite)


@needs_data
def test_real_pool_against_real_suites(tmp_path, grader):
    suites = {}
    for name in ("amc2023", "math_500"):
        path = DATA / f"{name}.parquet"
        suites[name] = file_pool(path, columns=real_columns(path)).load(name).problems
    whole = DATA / "guru_math_5120.parquet"
    columns = real_columns(whole, "extra_info.qwen2.5_7b_pass_rate")
    table = pq.read_table(whole)
    part = tmp_path / "guru.parquet"  # 480 rows, among them the three that also stand in the suites
    pq.write_table(pa.concat_tables([table.slice(500, 300), table.slice(2700, 90), table.slice(3600, 90)]), part)
    pools = {
        "core": file_pool(part, columns=columns, max_pass_rate=0.25),
        "easy": file_pool(part, columns=columns, level="easy", min_pass_rate=0.3),  # arXiv 2509.25300: easy from 0.3
    }
    loaded = load_pools(ProblemsConfig(name="guru", pools=pools), pools, suites, grader)
    outside = {role: loaded.counts(role)["outside the pass-rate thresholds"] for role in pools}
    assert outside["core"] + outside["easy"] == 480  # a rate is a number of sixteenths, so each row is in one pool
    suite_drops = Counter(drop.reason for drop in loaded.drops if "suite" in drop.reason)
    assert suite_drops == {"in evaluation suite amc2023": 1, "in evaluation suite math_500": 2}  # one of them twice
    assert r"49.5\%" in {problem.answer for problem in loaded.by_role["easy"]}  # which math-verify could not read
    assert any("had their backslashes doubled and were mended" in note for note in loaded.notes)
    for role in pools:
        assert len(loaded.by_role[role]) + sum(loaded.counts(role).values()) == 480


def test_multiple_choice_gets_letters(tmp_path, grader):
    rows = [
        {"puzzle": "Two houses.", "question": "Who drinks tea?", "choices": ["Ann", "Bob"], "answer": "Bob"},
        {"puzzle": "Two houses.", "question": "Who has a dog?", "choices": ["Ann", "Bob"], "answer": "A"},
    ]
    pool = FilePool(
        loader="file", path=str(write(tmp_path / "zebra.jsonl", rows)), level="hard",
        columns={"question": "question", "answer": "answer"}, choices={"options": "choices", "context": "puzzle"},
    )
    first, second = load_suite(pool, "zebra", grader)[0]
    assert first.question == "Two houses.\nWho drinks tea?\n(A) Ann\n(B) Bob\nAnswer with the letter of the right option."
    assert (first.answer, second.answer) == ("B", "A") and first.id != second.id
    verdicts = grader.grade(["so \\boxed{B}", "so \\boxed{A}", "so \\boxed{\\text{B}}"], ["B"] * 3)
    assert [verdict.correct for verdict in verdicts] == [True, False, True]


def test_an_answer_that_is_no_option_is_named(tmp_path, grader):
    rows = [{"question": "Who?", "choices": ["Ann", "Bob"], "answer": "Cy"}]
    pool = FilePool(
        loader="file", path=str(write(tmp_path / "zebra.jsonl", rows)), level="hard",
        columns={"question": "question", "answer": "answer"}, choices={"options": "choices"},
    )
    with pytest.raises(UserError, match="line 1: the answer 'Cy' is none of the options"):
        load_suite(pool, "zebra", grader)


def test_a_suite_of_programs_is_not_read_as_mathematics(tmp_path, grader):
    rows = [{"prompt": "def add(a, b):\n", "test": "def check(candidate):\n    assert candidate(1, 1) == 2\n"}]
    pool = FilePool(
        loader="file", path=str(write(tmp_path / "code.jsonl", rows)), level="hard",
        columns={"question": "prompt", "answer": "test"},
    )
    problems, notes = load_suite(pool, "humaneval", grader, "code")
    assert len(problems) == 1 and notes == [remark("humaneval", trusted=False)]
    assert grade_programs(["```python\ndef add(a, b):\n    return a + b\n```"], problems, 1)[0].correct
