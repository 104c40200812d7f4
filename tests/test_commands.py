"""The command `grpo-lab`, and what stands beside it: one page of help, and any way to start that a person may try."""

import subprocess
import sys

import pytest
from conftest import ROOT, command

from src.commands.__main__ import COMMANDS


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
    assert refused.returncode == 2 and refused.stderr.startswith("error: no command reprot; did you mean report")


@pytest.mark.parametrize("word", COMMANDS)
def test_every_command_answers_a_call_for_help(word):
    helped = started("-m", "src.commands", word, "--help")
    assert helped.returncode == 0 and len(helped.stdout.splitlines()) > 3 and not helped.stderr, helped.stderr


def test_the_file_itself_can_be_run_from_anywhere(tmp_path):
    for place, file in ((tmp_path, ROOT / "src" / "run.py"), (ROOT / "src", "run.py")):
        refused = started(file, "scale.stesp=3", cwd=place)
        assert (refused.returncode, refused.stderr) == (2, "error: no key scale.stesp; did you mean steps?\n")


def test_a_shell_completes_words_groups_options_and_keys(tmp_path):
    (tmp_path / "grpo-lab").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m src.commands "$@"\n')
    (tmp_path / "grpo-lab").chmod(0o755)
    script = 'eval "$(grpo-lab -sc install=bash)"\n' + "".join(
        f'COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}; COMP_CWORD={place}; hydra_bash_completion; echo ${{COMPREPLY[@]}}\n'
        for line, place in (("grpo-lab ru", 1), ("grpo-lab run mix=e", 2), ("grpo-lab run experiment=cos", 2), ("grpo-lab sweep lr.pe", 2))
    )
    done = subprocess.run(["bash", "-c", f"PATH={tmp_path}:$PATH\n{script}"], capture_output=True, text=True, timeout=100)
    words = [line.split() for line in done.stdout.splitlines()]
    assert words == [["run", "runs"], ["mix=easy_hard", "mix=easy_only"], ["experiment=cosine_length"], ["lr.peak="]], done.stderr
