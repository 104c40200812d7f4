"""The shipped hub loaders on small repositories of the real layout: columns, licenses, a local mirror, no hub."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import configured

from src.grading import Grader
from src.hub import MIRROR
from src.model import load_tokenizer, located
from src.problems import load_pools, load_suite
from src.prompt import prompt_token_ids
from src.text import has_format

OPEN_RS_ROW = {"problem": "Find 1+{n}.", "solution": "It is $\\boxed{{{m}}}$.", "answer": "{m}", "level": "Easy"}
GURU = ("You are a knowledgeable math assistant. Answer the following questions and think step by step. ",
        " Please output the final answer within \\boxed{}.")


def rows(template, count):
    return [{key: value.format(n=n, m=n + 1) for key, value in template.items()} for n in range(1, count + 1)]


def guru_rows(rates):
    return [
        {
            "data_source": "math__deepscaler_preview",
            "prompt": [{"role": "user", "content": f"{GURU[0]}What is {n} squared?{GURU[1]}"}],
            "ability": "math",
            "reward_model": {"ground_truth": str(n * n), "style": "rule"},
            "extra_info": {"index": n, "qwen2.5_7b_pass_rate": rate, "split": "train"},
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
    aime = {"id": 1, "problem": "Find n.", "solution": "...", "answer": "33", "url": "x", "year": "2024"}
    parquet(root / "HuggingFaceH4/aime_2024/data/train-00000-of-00001.parquet", [aime])
    (root / "HuggingFaceH4/MATH-500").mkdir(parents=True)
    math = {"problem": "Find r.", "solution": "...", "answer": "\\frac{1}{2}", "level": 2, "unique_id": "a"}
    (root / "HuggingFaceH4/MATH-500/test.jsonl").write_text(json.dumps(math) + "\n")
    gsm = {"question": "How many?", "answer": "Two and two make four.\n#### 4"}
    parquet(root / "openai/gsm8k/main/test-00000-of-00001.parquet", [gsm])
    (root / "openai/gsm8k/README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: test\n    path: main/test-*\n---\n"
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


@pytest.mark.parametrize(("name", "answer"), [("aime24", "33"), ("math_500", "\\frac{1}{2}"), ("gsm8k", "4")])
def test_benchmarks_of_the_real_layout(mirror, grader, name, answer):
    suite, notes = load_suite(configured("scale=open_rs").evaluation.suites[name].pool, name, grader)
    assert [problem.answer for problem in suite] == [answer]
    assert any("rows where the publication counts" in note for note in notes)


def test_a_model_from_the_mirror(mirror):
    import shutil

    from src.model import EMBEDDED

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
    from src.completions import graded
    from src.types import Problem

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
