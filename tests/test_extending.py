"""docs/extending.md is true: its blocks, written into a copy of the project, pass their tests and make a run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT, TOY

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
# "`src/x.py`, at the end:", an empty line, and a block.
BLOCK = re.compile(r"^`([^`]+)`(, at the end)?:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = {path: bool(to_the_end) for path, to_the_end, _ in BLOCK.findall(PAGE)}
RUN, SWEEP = re.findall(r"^python -m src.run (.*)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the project with all blocks of the page."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("src", "conf", "sweeps", "hydra_plugins", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path, to_the_end, text in BLOCK.findall(PAGE):
        file = folder / path
        assert file.exists() == bool(to_the_end), path
        file.parent.mkdir(exist_ok=True)
        with file.open("a", encoding="utf-8") as opened:
            opened.write(f"\n\n{text}" if to_the_end else text)
    return folder


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python process in the copy, which finds the copy's modules, and of the project what is no module."""
    places = os.pathsep.join(map(str, (folder, ROOT)))
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | {"PYTHONPATH": places},
        capture_output=True, text=True, timeout=300,
    )


def test_each_option_is_one_place_in_the_code_and_one_test():
    for section in PAGE.split("\n## ")[1:-1]:
        paths = [path for path, *_ in BLOCK.findall(section)]
        changed = [path for path in paths if path.startswith("src/") and FILES[path]]
        kinds = [path.partition("/")[0] for path in paths]
        configured = 0 if "src/report/sections/__init__.py" in changed else 1
        assert (kinds.count("conf"), kinds.count("tests")) == (configured, 1), section.splitlines()[0]
        assert len(changed) <= 1, section.splitlines()[0]


def test_the_tests_of_the_page_pass(copy):
    tests = [path for path in FILES if path.startswith("tests/")]
    done = python(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *tests)
    assert f"{len(tests)} passed" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]


def test_a_run_of_all_of_it_leaves_its_traces_in_the_record(copy):
    toy = [change for change in TOY if not change.startswith("scale.steps")]
    done = python(copy, "-m", "src.run", *shlex.split(RUN), *toy, "run_dir=run")
    assert done.returncode == 0, done.stderr[-3000:]
    run = copy / "run"
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["rollout"]["engine"] == "transformers_static" and config["reward"]["weights"]["brief"] == 1
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["length_limit"] for line in lines] == [64, 128]
    assert any(line["reward/brief/mean"] > 0 for line in lines)
    assert any(abs(line["advantage/mean"]) > 1e-3 for line in lines)  # over a mean they add up to 0, over a median they need not
    assert set(pd.read_parquet(run / "problems.parquet")["source"]) == {"sums"}
    assert json.loads((run / "summary.json").read_text())["evaluation"]["sums"]["after"]["problems"] == 8
    done = python(copy, "-m", "src.report", "run")
    assert "tokens for each right answer" in (copy / "report" / "index.html").read_text().lower(), done.stderr
    assert "sums" in (copy / "report" / "tables" / "tokens_per_answer.csv").read_text()


def test_a_sweep_over_them_is_planned(copy):
    done = python(copy, "-m", "src.run", *shlex.split(SWEEP.replace("(", r"\(").replace(")", r"\)")))
    assert done.returncode == 0 and "reward.weights.brief" in done.stdout, done.stderr


@pytest.mark.parametrize(("change", "said"), [("length=sawtoth", "sawtooth"), ("reward.weights.breif=1", "did you mean brief?")])
def test_a_name_that_is_nearly_right_is_answered_with_the_new_one(copy, change, said):
    done = python(copy, "-m", "src.run", change)
    assert done.returncode == 2 and said in done.stderr, done.stderr
