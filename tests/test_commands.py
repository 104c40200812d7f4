"""The command `grpo-lab`, and what stands beside it: one page of help, and any way to start that a person may try."""

import subprocess
import sys

import pytest
from conftest import ROOT, command

from src.commands import COMMANDS


def started(*arguments, cwd=ROOT):
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=100)


def test_without_arguments_every_command_is_shown_with_an_example(tmp_path):
    shown = command(cwd=tmp_path)
    assert shown.returncode == 0 and not list(tmp_path.iterdir()), shown.stderr
    for word in COMMANDS:
        assert f"\n  {word} " in shown.stdout and f"  grpo-lab {word}" in shown.stdout
    assert started("-m", "src.commands").stdout == shown.stdout


def test_a_misspelt_command_is_answered_with_the_nearest():
    refused = started("-m", "src.commands", "reprot", "outputs")
    assert (refused.returncode, refused.stderr) == (2, "error: no command reprot; did you mean report?\n")


@pytest.mark.parametrize("word", COMMANDS)
def test_every_command_answers_a_call_for_help(word):
    helped = started("-m", "src.commands", word, "--help")
    assert helped.returncode == 0 and len(helped.stdout.splitlines()) > 3 and not helped.stderr, helped.stderr


def test_the_file_itself_can_be_run_from_anywhere(tmp_path):
    for place, file in ((tmp_path, ROOT / "src" / "run.py"), (ROOT / "src", "run.py")):
        refused = started(file, "scale.stesp=3", cwd=place)
        assert (refused.returncode, refused.stderr) == (2, "error: no key scale.stesp; did you mean steps?\n")


@pytest.mark.parametrize(("typed", "said"), [
    ("--experiment mix_easy_hard", "--experiment: no such option"),
    ("problems=files plan=true", "problems.pools.broad.path is not set"),
    ("evaluation.suites.chains.pool={loader:file,path:none.jsonl,level:hard,columns:{question:q,answer:a}} plan=true", "none.jsonl does not exist"),
])  # fmt: skip
def test_what_cannot_be_is_said_in_a_line_before_anything_is_written(typed, said, tmp_path):
    refused = command(*typed.split(), cwd=tmp_path)
    assert refused.returncode == 2 and refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1
    assert said in refused.stderr and not list(tmp_path.iterdir())
