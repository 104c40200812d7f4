"""The shipped hub loaders on small repositories of the real layout: columns, licenses, a local mirror, no hub."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import configured

from src.common.hub import MIRROR
from src.data.problems import load_pools, load_suite
from src.data.prompt import prompt_token_ids
from src.grading.grader import Grader
from src.grading.looks import has_format
from src.model.load import load_tokenizer
from src.model.places import located

OPEN_RS_ROW = {"problem": "Find 1+{n}.", "solution": "It is $\\boxed{{{m}}}$.", "answer": "{m}", "level": "Easy"}
GURU_REQUEST = " Please output the final answer within \\boxed{}."
AIME = {"id": 1, "problem": "Find n.", "solution": "...", "answer": "33", "url": "x", "year": "2024"}
OLYMPIAD = {"id": 7, "question": "Find all n.", "solution": ["..."], "answer": "$n=2$", "is_multiple_answer": False}
HUMANEVAL = {
    "task_id": "HumanEval/0", "prompt": 'def twice(n):\n    """Twice n."""\n', "canonical_solution": "    return 2 * n\n",
    "test": "def check(candidate):\n    assert candidate(3) == 6\n", "entry_point": "twice",
}
SUPERGPQA = {
    "uuid": "u", "question": "Which is lightest?", "options": ["Oxygen", "Hydrogen", "Iron"], "answer": "Hydrogen",
    "answer_letter": "B", "discipline": "Science", "field": "Chemistry", "difficulty": "easy", "is_calculation": False,
}
ZEBRA = {
    "id": "lgp-test-2x2-0#mc-0", "puzzle": "There are 2 houses.", "question": "Who lives first?",
    "choices": ["Eric", "Arnold"], "answer": "Arnold", "created_at": "2024-07-03",
}
MATH = {"problem": "Find r.", "solution": "...", "answer": "\\frac{1}{2}", "subject": "A", "level": 2, "unique_id": "a"}
MINERVA = {
    "problem": "Find r.", "type": "Physics", "idx": 0, "solution": "So \\$r=2$ and it is $\\boxed{4 \\times 10^{33}}$ erg.",
}
# Of each suite: where the hub has its file, a row as it is there, and the gold answer to be read from it.
SUITES = {
    "aime24": ("HuggingFaceH4/aime_2024/data/train-00000-of-00001.parquet", AIME, "33"),
    "aime25": ("yentinglin/aime_2025/data/train-00000-of-00001.parquet", AIME | {"year": "2025"}, "33"),
    "amc23": ("knoveleng/AMC-23/data/train-00000-of-00001.parquet", {"problem": "Find n.", "answer": "27"}, "27"),
    "math_500": ("HuggingFaceH4/MATH-500/test.jsonl", MATH, "\\frac{1}{2}"),
    "minerva": ("knoveleng/Minerva-Math/data/train-00000-of-00001.parquet", MINERVA, "4 \\times 10^{33}"),
    "olympiadbench": ("knoveleng/OlympiadBench/data/train-00000-of-00001.parquet", OLYMPIAD, "$n=2$"),
    "gsm8k": ("openai/gsm8k/main/test-00000-of-00001.parquet",
              {"question": "How many?", "answer": "Two and two make four.\n#### 4"}, "4"),
    "humaneval": ("openai/openai_humaneval/openai_humaneval/test-00000-of-00001.parquet", HUMANEVAL,
                  HUMANEVAL["test"].strip()),
    "supergpqa": ("m-a-p/SuperGPQA/SuperGPQA-all.jsonl", SUPERGPQA, "B"),
    "zebralogic": ("WildEval/ZebraLogic/mc_mode/test-00000-of-00001.parquet", ZEBRA, "B"),
}
CARDS = {  # what tells configurations and splits where file names do not
    "openai/gsm8k": ("main", "test", "main/test-*"),
    "WildEval/ZebraLogic": ("mc_mode", "test", "mc_mode/test-*"),
    "m-a-p/SuperGPQA": ("default", "train", "SuperGPQA-all.jsonl"),
    "openai/openai_humaneval": ("openai_humaneval", "test", "openai_humaneval/test-*"),
}


def rows(template, count):
    return [{key: value.format(n=n, m=n + 1) for key, value in template.items()} for n in range(1, count + 1)]


def guru_rows(rates):
    return [
        {
            "data_source": "math__deepscaler_preview",
            "prompt": [{"role": "user", "content": f"What is {n} squared?{GURU_REQUEST}"}],
            "ability": "math",
            "reward_model": {"ground_truth": str(n * n), "style": "rule"},
            "extra_info": {"index": n, "split": "train"},
            "qwen2.5_7b_pass_rate": rate,
            "qwen3_30b_pass_rate": 1.0,
        }
        for n, rate in enumerate(rates, 1)
    ]


def parquet(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(content), path)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Copies of hub repositories under their names, files where the hub has them; the hub itself is switched off."""
    root = tmp_path / "mirror"
    plain = {key: OPEN_RS_ROW[key] for key in ("problem", "solution", "answer")}
    parquet(root / "knoveleng/open-s1/data/train-00000-of-00001.parquet", rows(plain, 6))
    deeper = plain | {"problem": "Find {n}+1 deeply."}
    parquet(root / "knoveleng/open-deepscaler/data/train-00000-of-00001.parquet", rows(deeper, 5))
    parquet(root / "knoveleng/open-rs/data/train-00000-of-00001.parquet", rows(OPEN_RS_ROW, 4))
    raw = rows(deeper, 7) + [plain | {"problem": "Without an answer", "answer": ""}]  # the real one has six of those
    (root / "agentica-org/DeepScaleR-Preview-Dataset").mkdir(parents=True)
    (root / "agentica-org/DeepScaleR-Preview-Dataset/deepscaler.json").write_text(json.dumps(raw))
    parquet(root / "LLM360/guru-RL-92k/train/math__combined_54.4k.parquet", guru_rows((0.0, 0.0625, 0.25, 0.3125, 1.0)))
    parquet(root / "LLM360/guru-RL-92k/train/codegen__taco_8.8k.parquet", [{"other": 1}])  # of another layout
    for path, row, _ in SUITES.values():
        if path.endswith(".parquet"):
            parquet(root / path, [row])
        else:
            (root / path).parent.mkdir(parents=True)
            (root / path).write_text(json.dumps(row) + "\n")
    for repository, (config, split, pattern) in CARDS.items():
        (root / repository / "README.md").write_text(
            f"---\nconfigs:\n- config_name: {config}\n  data_files:\n  - split: {split}\n    path: {pattern}\n---\n"
        )
    monkeypatch.setenv(MIRROR, str(root))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_ENDPOINT", "http://127.0.0.1:9")
    return root


@pytest.fixture(scope="module")
def grader():
    with Grader(1) as grader:
        yield grader


def test_the_published_pools_from_a_mirror_without_a_hub(mirror, grader):
    config = configured("scale=open_rs").problems
    pools = load_pools(config, config.pools, {}, grader)
    assert {role: len(problems) for role, problems in pools.by_role.items()} == {
        "core": 6, "broad": 5, "easy": 2, "released": 4,  # easy: what raw DeepScaleR has beyond open-deepscaler
    }
    assert pools.counts("easy") == {"no answer": 1, "in role broad": 5}
    assert {problem.level for problem in pools.by_role["released"]} == {"easy"}
    report = pools.report()["roles"]
    assert {role: found["license"] for role, found in report.items()} == dict.fromkeys(config.pools, "mit")
    assert report["core"]["source"] == "knoveleng/open-s1"  # the data set's name, not where this machine has it
    assert any("6 rows where the publication counts 18615" in note for note in pools.notes)


def test_guru_by_pass_rate_without_its_instruction(mirror, grader):
    config = configured("problems=guru", "mix=scaling").problems
    pools = load_pools(config, config.pools, {}, grader)
    rates = {role: [problem.pass_rate for problem in problems] for role, problems in pools.by_role.items()}
    assert rates == {"core": [0.0, 0.0625, 0.25], "easy": [0.3125, 1.0]}
    assert pools.by_role["easy"][0].question == "What is 4 squared?" and pools.by_role["easy"][0].answer == "16"


@pytest.mark.parametrize("scale", ["open_rs", "qwen2_5"])
def test_benchmarks_of_the_real_layout(mirror, grader, scale):
    suites = configured(f"scale={scale}", *(["mix=scaling"] if scale == "qwen2_5" else [])).evaluation.suites
    for name, suite in suites.items():
        problems, notes = load_suite(suite.pool, name, grader, suite.grading)
        assert [problem.answer for problem in problems] == [SUITES[name][2]], name
        assert not any("cannot be read" in note for note in notes), notes
        if suite.grading == "math":
            (verdict,) = grader.grade([f"It is \\boxed{{{problems[0].answer}}}"], [problems[0].answer])
            assert verdict.correct, name


def test_a_program_is_graded_by_the_tests_of_humaneval(mirror, grader):
    from src.grading.code import grade_programs

    suite = configured("scale=qwen2_5", "mix=scaling").evaluation.suites["humaneval"]
    (problem,), _ = load_suite(suite.pool, "humaneval", grader, suite.grading)
    programs = [f"```python\n{HUMANEVAL['prompt']}    return {n} * n\n```" for n in (2, 3)]
    assert [verdict.correct for verdict in grade_programs(programs, [problem] * 2, 1)] == [True, False]


def test_multiple_choice_shows_the_puzzle_and_lettered_options(mirror, grader):
    suite = configured("scale=qwen2_5", "mix=scaling").evaluation.suites["zebralogic"]
    (problem,), _ = load_suite(suite.pool, "zebralogic", grader)
    assert problem.question.startswith("There are 2 houses.\nWho lives first?\n(A) Eric\n(B) Arnold")


def test_a_model_from_the_mirror(mirror):
    import shutil

    from src.model.places import EMBEDDED

    shutil.copytree(EMBEDDED["embedded/micro"], mirror / "someone" / "model")
    config = configured("model.path=someone/model").model
    assert located(config.path) == str(mirror / "someone" / "model")
    assert load_tokenizer(config).eos_token == "<|im_end|>"


DEEPSEEK = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '<｜User｜>' + m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}"
)


def test_a_template_that_opens_the_reasoning_leaves_it_to_the_prompt():
    """As DeepSeek's: `<think>` ends the prompt, so completion, format and length begin after it."""
    from src.common.types import Problem
    from src.grading.completions import graded

    config = configured("+experiment=mix_easy_hard")
    tokenizer = load_tokenizer(config.model)
    tokenizer.chat_template = DEEPSEEK
    prompt = prompt_token_ids(tokenizer, config.prompt, "7+5")
    assert tokenizer.decode(prompt).endswith("<think>\n")
    written = "7+5=12\n</think>\nThe answer is \\boxed{12}"
    ids = [*tokenizer(written, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    problem = Problem("a", "7+5", "12", "easy", None, "x")
    with Grader(1) as grader:
        (completion,) = graded([problem], [ids], tokenizer, frozenset({tokenizer.eos_token_id}), grader)
    assert completion.text == written and completion.tokens == len(ids)
    assert has_format(completion.text) and completion.verdict.correct
    assert not has_format(f"<think>\n{written.replace('</think>', '')}")  # an opening alone is no format
