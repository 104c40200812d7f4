"""Trials that do the same up to a step run it once: the tree of a grid, and real runs that are what they are alone."""

import json
import time
from pathlib import Path

import pytest
from conftest import TINY, configured
from test_sweep import billed, learnt

from src.common.files import file_hash
from src.experiment.run import run
from src.record.record import read_summary
from src.sweep.beginnings import Beginnings, steps_alike
from src.sweep.engines.channel import Channel
from src.sweep.engines.trial import BEGINNING, TrialSpec, run_trial

TWENTY = ("+experiment=mix_easy_hard", "scale.steps=20")
FIXED = ("length=fixed",)
FALLS = ("length=staged", "length.stage_begins=[0,0.5]", "length.stage_fractions=[1,0.5]")
FALLS_TWICE = ("length=staged", "length.stage_begins=[0,0.5,0.75]", "length.stage_fractions=[1,0.5,0.25]")


@pytest.mark.parametrize(
    ("one", "other", "steps"),
    [
        (FIXED, FALLS, 10),
        (FALLS, FALLS_TWICE, 15),
        (FIXED, ("length=staged", "length.stage_begins=[0,0.5]", "length.stage_fractions=[0.5,1]"), 0),
        (FIXED, ("length=fixed", "length.fraction=0.5"), 0),
        (FIXED, (*FIXED, "length.per_problem={slack: 1.5, floor: 0.25, correct: 4}"), 0),  # which depends on the answers
        (FIXED, ("length=adaptive", "length.start_fraction=1"), 0),  # what it has seen stands in its checkpoint
        (("lr=linear", "lr.warmup_steps=6"), ("lr=constant_warmup", "lr.warmup_steps=6"), 6),
        (("lr=constant",), ("lr=linear",), 0),
        ((*FIXED, "++trainer.num_iterations=4"), (*FALLS, "++trainer.num_iterations=4"), 8),  # which completions in hand do not outlive
    ],
)  # fmt: skip
def test_until_when_two_configurations_do_the_same(one, other, steps):
    first, second = configured(*TWENTY, *one), configured(*TWENTY, *other)
    assert steps_alike(first, second) == steps == steps_alike(second, first)


def test_the_tree_shares_each_branch_once():
    configs = {"a": FIXED, "b": FALLS, "c": FALLS_TWICE, "d": (*FIXED, "lr.peak=1e-5")}
    tree = Beginnings({name: configured(*TWENTY, *words) for name, words in configs.items()}, Path("stems"))
    deep, flat = tree.stem("c", 42), tree.stem("a", 42)
    assert (deep.steps, deep.parent.steps, deep.parent.folder) == (15, 10, flat.folder) and tree.stem("b", 42) == deep
    threads = Beginnings({1: configured(*TWENTY), 2: configured(*TWENTY, "hardware.cpu_threads=2")}, Path("stems"))
    assert threads.stem(1, 42) is None  # another rounding
    assert tree.stem("d", 42) is None and tree.stem("a", 43).folder != flat.folder
    assert tree.saved() == (4 * 20 - (10 + 10 + 5 + 5 + 5 + 20), 80)


def test_the_plan_says_what_shared_beginnings_save(tmp_path, capsys):
    given = ("+experiment=mix_easy_hard", "scale.steps=20", "length.fraction=1.0", "lr=linear,constant_warmup", "lr.warmup_steps=6",
             "sweep.share_beginnings=true")
    assert billed(tmp_path, *given)["steps_saved"] == 6
    assert "what shared beginnings save, 6 of 40 steps (15%)" in capsys.readouterr().out


def carried_out(folder, name, words, stem, stop=False):
    """A trial of these words, or its first step; its outcome."""
    config = configured("+experiment=mix_easy_hard", *TINY, *words, f"output_root={folder}", f"run_dir={folder}/{name}")
    control = folder / "control" / name
    Channel(control).prepare()
    if stop:
        Channel(control).stop("enough")
    run_trial(TrialSpec(0, "", [config.model_dump(mode="json")], config.run_dir, str(control), "", [], 0, False, 60, {}, time.monotonic(), [stem]))
    return Channel(control).outcome()


def found(folder):
    """What a run has left, but for what it took."""
    (weights,) = folder.glob("checkpoints/checkpoint-*/model.safetensors")
    return learnt(folder), file_hash(weights), read_summary(folder)["evaluation"]


def test_a_trial_that_branches_is_to_the_last_bit_what_it_is_alone(tmp_path):
    schedules = {"falls": (*FALLS, "scale.steps=4"), "falls_twice": (*FALLS_TWICE, "scale.steps=4")}
    common = ("+experiment=mix_easy_hard", *TINY, f"output_root={tmp_path}", "record.checkpoint=weights")
    tree = Beginnings({name: configured(*common, *words) for name, words in schedules.items()}, tmp_path / "stems")
    stem = tree.stem("falls_twice", 42)
    assert stem.steps == 3 and tree.stem("falls", 42) == stem
    stopped = carried_out(tmp_path, "falls", (*FALLS, "scale.steps=4", "record.checkpoint=weights"), stem.written(), stop=True)
    assert stopped.status == "interrupted" and read_summary(Path(stem.folder))["steps"] == 1 and not (tmp_path / "falls").exists()
    outcomes = [carried_out(tmp_path, name, (*words, "record.checkpoint=weights"), stem.written()) for name, words in schedules.items()]
    assert [outcome.status for outcome in outcomes] == ["complete"] * 2, outcomes
    for name, words in schedules.items():
        run(configured(*common, *words, f"run_dir={tmp_path}/{name}_alone"))
        assert found(tmp_path / name) == found(tmp_path / f"{name}_alone")
    assert [json.loads((tmp_path / name / BEGINNING).read_text()) == {} for name in schedules] == [True, False]
    whole = sum(read_summary(tmp_path / "falls_twice")["cost"]["seconds"].values())
    assert outcomes[1].seconds < 0.7 * whole and outcomes[1].seconds > 0  # the other one has paid for the beginning
