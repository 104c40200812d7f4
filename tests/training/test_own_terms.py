"""Rewards and problems by functions from outside the project: what they see, what is recorded, and what is wrong with them."""

import json
import os

import pandas as pd
import pytest
import yaml
from conftest import TINY, command, composed, configured

from src.common.errors import RunFailed, UserError
from src.common.files import file_hash
from src.config.tree import parse
from src.experiment.run import run
from src.record.recipe import flat, recipe_of

CODE = """
def seen(batch, config):
    assert all(len(group) == batch.group_size for group in batch.groups())
    return [
        float(p.question.startswith(p.columns["opening"]) and p.answer == str(p.columns["sum"]) and len(p.columns) == 2) + (a.tokens > 1)
        for a, p in zip(batch.completions, batch.problems, strict=True)
    ]

def one(batch, config):
    return [1.0]

def nothing(batch, config):
    return [None for _ in batch.completions]

def short(batch, config):
    return [[0.0, 1.0][a.tokens > 1 and 1 / 0] for a in batch.completions]

def sums(count):
    for n in range(1, count + 1):
        question = f"Work from left to right: {n}+3"
        yield {"q": question, "gold": n + 3, "opening": "Work from", "sum": n + 3} if n < 800 else n
"""
POOL = "+problems.pools.core={loader: code, code: mine.terms.sums, level: hard, columns: {question: q, answer: gold}, options: {count: 60}}"
MINE = (*TINY, "mix=hard_only", "mix.size=20", POOL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder with a package of theirs."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "terms.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_on_ones_own_problems_and_reward(folder):
    asked = (*MINE, "++reward.terms.seen=mine/terms.py:seen", "++reward.weights.seen=-0.5", "output_root=out", "run_dir=run")
    summary = run(configured(*asked))
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert line["reward/seen/mean"] == 2.0  # of every completion: it saw question, gold answer, columns and length
        known = line["reward/format/mean"] + 2 * line["reward/accuracy/mean"] - 0.5 * line["reward/seen/mean"]
        assert line["reward/mean"] == pytest.approx(known, abs=1e-5)
    assert summary["status"] == "complete" and "columns" not in pd.read_parquet(folder / "run" / "problems.parquet")
    config = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    assert config["reward"]["terms"]["seen"] == {"path": "mine/terms.py:seen", "sha256": file_hash(folder / "mine" / "terms.py")}


def test_other_code_is_another_recipe_and_no_continuation(folder):
    asked = (*MINE, "++reward.terms.seen=mine.terms.seen")
    before = configured(*asked)
    (folder / "mine" / "terms.py").write_text(CODE.replace("> 1)", "> 2)"))
    after = configured(*asked)
    differing = recipe_of(flat(before.published())).items() ^ recipe_of(flat(after.published())).items()
    assert {key for key, _ in differing} == {"reward.terms.seen.sha256", "problems.pools.core.code.sha256"}
    assert parse(composed(*TINY)).reward.terms == {}
    with pytest.raises(UserError, match="reward.terms.seen: .*terms.py is not what it was when this run was asked for; restore it"):
        run(before)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("++reward.terms.x=mine.tems.seen", "reward.terms.x: there is no module mine.tems"),
        ("++reward.terms.x=mine.terms.sen", "reward.terms.x: mine.terms has no function sen; did you mean seen"),
        ("++reward.terms.x=other.py:seen", "reward.terms.x: there is no file other.py"),
        ("++reward.terms.x=broken.py:seen", "reward.terms.x: broken.py does not import (ModuleNotFoundError: No module named 'nowhere')"),
        ("++reward.terms.x=mine.terms.one", "reward.terms.x (mine.terms.one) gave 1 numbers for 6 completions"),
        ("++reward.terms.x=mine.terms.nothing", "reward.terms.x (mine.terms.nothing) gave None for one; it must give one finite number"),
        ("++reward.terms.accuracy=mine.terms.one", "reward.terms: accuracy is a term of the project"),
        ("++problems.pools.core.options.count=900", "core.code: mine.terms.sums failed after 800 rows (TypeError: it gave a int"),
        ("++problems.pools.core.code=mine.terms.seen", "core.code: mine.terms.seen failed after 0 rows (TypeError: seen() got an"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(change, says, folder):
    (folder / "broken.py").write_text("import nowhere")
    with pytest.raises(UserError) as error:
        run(configured(*MINE, change, "output_root=out", "run_dir=run"))
    assert says in str(error.value) and "\n" not in str(error.value)
    assert not (folder / "run").exists() and not (folder / "out").exists()


def test_a_reward_that_raises_ends_the_run_with_its_name_and_the_completion(folder):
    with pytest.raises(RunFailed, match=r"reward.terms.short \(mine.terms.short\) failed: ZeroDivisionError: .*at the completion '.+") as error:
        run(configured(*MINE, "++reward.terms.short=mine.terms.short", "output_root=out", "run_dir=run"))
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["status"] == "failed" and str(error.value) in summary["reason"]


def test_the_command_line_takes_it_from_the_folder_where_it_is_given(tmp_path):
    (tmp_path / "my_rewards.py").write_text(CODE)
    arguments = (*TINY, "reward.terms.x=my_rewards.one")
    result = command(*arguments, cwd=tmp_path, PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "my_rewards.one) gave 1 numbers" in result.stderr
    planned = command(*TINY, "reward.terms.x=my_rewards.no", "plan=true", cwd=tmp_path, PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    assert planned.returncode == 2 and "my_rewards has no function no" in planned.stderr and not (tmp_path / "outputs").exists()
