"""Selection: draws worked out by hand, and runs that choose, throw away, are counted as they were, and go on exactly."""

import json
import math
import os
import random
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT, TIMING_KEYS, TOY, configured

from src.common.errors import RunFailed, UserError
from src.common.files import CHECKSUMS, seal
from src.common.types import Completion, Problem, Stop, Verdict
from src.config.continuing import config_to_continue
from src.experiment.run import run
from src.hardware.ranks import rank, world_size
from src.plan.plan import make_plan
from src.record.checkpoints import STATE_FILE
from src.training.length import Fixed, LengthSchedule, Linear
from src.training.selection.config import SelectionConfig
from src.training.selection.courses import CourseConfig, Moment
from src.training.selection.draws import deal
from src.training.selection.groups import SelectedGroups
from src.training.selection.rates import PassRates, RatesConfig
from src.training.selection.sample import Sample, allocated, by_group, has_signal
from src.training.selection.selection import Candidates, Selection

SHORT = (*TOY, "evaluation.validation.problems_per_level=2", "evaluation.validation.samples=1", "~evaluation.suites.chains")


def selection(draw: dict, rates: list[float | None], roles: str = "", steps: int = 10, **options) -> Selection:
    """One that draws from problems with these pass rates, in their order; a letter of `roles` each: e(asy), c(ore)."""
    problems = [Problem(f"p{number}", "?", "1", "easy", rate, "test") for number, rate in enumerate(rates)]
    names = [{"e": "easy", "c": "core"}[letter] for letter in roles] or ["core"] * len(rates)
    config = SelectionConfig.model_validate({"draw": draw, **options})
    schedule = LengthSchedule(Linear(schedule="linear"), 100, steps)
    return Selection(config, Candidates(problems, names, cycle(range(len(rates)))), schedule, seed=1)


def tries(correct: int, number: int) -> list[Completion]:
    return [Completion("", 1, False, Verdict(place < correct, "", "")) for place in range(number)]


# -- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        ({"start": 0.8, "end": 0.2}, [0.8, 0.65, 0.5, 0.35, 0.2]),
        ({"start": 1, "end": 0, "until": 0.6}, [1, 0.5, 0, 0, 0]),
        ({"start": 1, "end": 0, "course": "cosine"}, [1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0]),
        ({"start": 1, "end": 0, "course": "staged", "stages": 3}, [1, 1, 0.5, 0.5, 0]),
        ({"start": 0.3, "end": 0.9, "course": "constant"}, [0.3] * 5),
        ({"start": 1, "end": 0, "course": "length"}, [1, 0.75, 0.5, 0.25, 0]),
    ],
)
def test_courses(course, expected):
    config = CourseConfig.model_validate(course)
    assert [config.at(Moment(step, 5, step / 4)) for step in range(5)] == pytest.approx(expected)


def test_difficulty_is_coupled_to_the_way_that_the_limit_has_gone():
    rising = LengthSchedule(Linear(schedule="linear", start_fraction=0.5), 100, 6)
    assert [rising.lengthened(step) for step in range(6)] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert LengthSchedule(Fixed(schedule="fixed"), 100, 6).lengthened(0) == 1


def test_what_rounding_takes_is_given_later():
    owed: dict[str, float] = {}
    given = [deal(owed, {"easy": 0.1, "hard": 0.9}, 4)["easy"] for _ in range(10)]
    assert sum(given) == 4 and set(given) == {0, 1}
    assert deal(owed, {"easy": 0.0, "hard": 1.0}, 4) == {"easy": 0, "hard": 4}


def test_a_posterior_counts_older_completions_less():
    rates = PassRates(RatesConfig(decay=0.5, prior_tries=4), [None, 0.25], ["core", "easy"])
    assert rates.posterior(0, 0) == (1, 1) and rates.posterior(1, 0) == (2, 4)
    rates.saw(0, 0, 6, 8)  # of its role 7 of 10, the two of Beta(1, 1) among them: a prior of 1.4 and 0.6
    assert rates.posterior(0, 0) == pytest.approx((7.4, 2.6)) and rates.posterior(0, 1) == pytest.approx((4 / 3 + 3, 2 / 3 + 1))
    rates.saw(0, 1, 0, 8)
    assert rates.posterior(0, 1) == pytest.approx((2 * 4 / 14 + 3, 2 * 10 / 14 + 9))
    assert rates.posterior(1, 9) == (2, 4)  # what was measured beforehand stays, and nothing of its role was seen


def test_a_problem_that_was_never_seen_is_taken_to_be_like_others_of_its_role():
    chosen = selection({"by": "pass_rate"}, [None] * 6, "eecccc")
    chosen.saw(0, [(0, tries(7, 8)), (2, tries(3, 8))])
    assert chosen.rates.mean(1, 0) == pytest.approx(8 / 10) and chosen.rates.mean(3, 0) == pytest.approx(4 / 10)
    assert set(chosen.draw(1, 3)) == {3, 4, 5}  # what is closest to a half, and rested
    again = selection({"by": "pass_rate"}, [None] * 6, "eecccc")
    again.restore(json.loads(json.dumps(chosen.state_dict())), 0)
    assert again.rates.posterior(4, 2) == chosen.rates.posterior(4, 2) != (1, 1)


def test_those_that_have_rested_longest_fill_up_where_too_few_have_rested():
    chosen = selection({"by": "pass_rate"}, [None] * 5)
    chosen.saw(0, [(0, tries(8, 8)), (1, tries(8, 8))])
    chosen.saw(1, [(2, tries(4, 8)), (3, tries(4, 8)), (4, tries(4, 8))])  # and are closest to a half
    assert set(chosen.draw(2, 3)) > {0, 1}


STRONG = {"by": "pass_rate", "prior_tries": 1e6}


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        ({"aim": "target", "target": 0.5}, {4, 5, 6}),
        ({"aim": "target", "target": 0.0}, {0, 1, 2}),
        ({"aim": "thompson", "target": 0.9}, {7, 8, 9}),  # posteriors as narrow as these leave chance nothing to do
        ({"aim": "band", "band": [0.55, 0.85]}, {6, 7, 8}),
        ({"aim": "pools", "band": [0.15, 0.85], "pools": {"easy": 0.5, "hard": 1}}, {0, 1, 9}),
    ],
)
def test_problems_are_drawn_by_pass_rate(draw, expected):
    chosen = selection(STRONG | draw, [number / 10 if number < 9 else 0.95 for number in range(10)])
    assert set(chosen.draw(0, 3)) == expected and not chosen.notes


def test_a_problem_rests_and_the_learner_s_rate_takes_the_place_of_the_measured_one():
    chosen = selection({"by": "pass_rate", "rest": 1, "prior_tries": 2}, [0.5, 0.6, 0.9, 1.0])
    assert set(chosen.draw(0, 2)) == {0, 1}
    chosen.saw(0, [(0, tries(8, 8)), (1, tries(4, 8))])
    assert set(chosen.draw(1, 2)) == {2, 3}
    chosen.saw(1, [(2, tries(0, 8)), (3, tries(4, 8))])
    assert chosen.draw(2, 2)[0] == 1  # 0 is always solved by now


@pytest.mark.parametrize(("fallback", "others"), [("nearest", {0.7, 0.8}), ("stop", None)])
def test_a_selection_that_starves_says_so_and_falls_back(fallback, others):
    chosen = selection(STRONG | {"aim": "band", "band": [0.4, 0.6], "when_starved": fallback}, [0.5, 0.95, 0.8, 0.7, 0.05])
    if others is None:
        with pytest.raises(RunFailed, match="2 of 3 problems are not there at step 1"):
            chosen.draw(0, 3)
        return
    assert {chosen.candidates.problems[number].pass_rate for number in chosen.draw(0, 3)} == {0.5, *others}
    assert "starves: at step 1 2 of 3" in chosen.notes[0] and chosen.figures["selection/starved"] == 2


def test_easy_problems_fade_out_and_each_role_is_walked_in_the_order_of_the_mix():
    chosen = selection({"by": "schedule", "easy_share": [1, 0]}, [None] * 8, "eeeecccc", steps=3)
    assert [sorted(chosen.draw(step, 4)) for step in range(3)] == [[0, 1, 2, 3], [0, 1, 4, 5], [4, 5, 6, 7]]


def test_any_weight_is_a_function_of_the_step():
    chosen = selection({"by": "schedule", "weights": {"easy": [1, 0], "core": 1}}, [None] * 8, "eeeecccc", steps=2)
    assert [sorted(chosen.draw(step, 4)) for step in range(2)] == [[0, 1, 4, 5], [4, 5, 6, 7]]


@pytest.mark.parametrize("aim", ["target", "thompson", "band", "pools"])
def test_the_same_seed_and_history_draw_the_same_in_a_new_session_too(aim):
    def drawn(new_session: bool) -> list[list[int]]:
        chosen, chance, found = selection({"by": "pass_rate", "aim": aim}, [None] * 40), random.Random(0), []
        for step in range(6):
            found.append(chosen.draw(step, 4) + chosen.draw(step, 3))
            chosen.saw(step, [(problem, tries(chance.randint(0, 8), 8)) for problem in found[-1]])
            if step == 3 and new_session:
                state = json.loads(json.dumps(chosen.state_dict()))
                chosen = selection({"by": "pass_rate", "aim": aim}, [None] * 40)
                chosen.restore(state, 0)
            assert len(set(found[-1])) == 7
        return found

    assert drawn(new_session=True) == drawn(new_session=False)


def test_what_was_used_counts_what_differs_and_epochs():
    chosen = selection({"by": "walk"}, [None] * 3)
    chosen.train_on([0, 1])
    assert chosen.used() == {"samples": 2, "unique_samples": 2, "epochs": pytest.approx(2 / 3)}
    chosen.train_on([0, 2, 1, 0])
    assert chosen.used() == {"samples": 6, "unique_samples": 3, "epochs": 2}


def test_what_is_asked_for_follows_what_was_needed():
    chosen = selection({"by": "walk"}, [None] * 9, resample={})
    assert chosen.asked_for(4) == 4
    chosen.needed(8, 4)
    assert chosen.asked_for(4) == 8 and chosen.asked_for(1) == 2


@pytest.mark.parametrize(
    ("variances", "expected"),
    [
        ([0.25, 0.25, 0.25], [6, 6, 6]),
        ([0.25, 0.0, 0.0], [12, 3, 3]),  # nothing to learn of the others, and yet they have their least
        ([0.16, 0.04, 0.01], [10, 5, 3]),  # as 0.4 : 0.2 : 0.1, but for the least
    ],
)
def test_completions_go_where_the_variance_is(variances, expected):
    assert allocated(variances, 18, least=3, most=12) == expected


def test_the_variance_is_that_of_the_posterior():
    chosen = selection({"by": "walk"}, [None] * 2, allocate={"min": 2, "max": 10})
    assert chosen.sizes([0, 1], 0, 4) == [4, 4]
    chosen.saw(0, [(0, tries(4, 8)), (1, tries(8, 8))])  # Beta(5, 5) and Beta(9, 1): 0.227 and 0.082
    assert chosen.sizes([0, 1], 0, 4) == [5, 3]


def test_a_barren_step_does_not_have_many_drawn_for_long():
    chosen = selection({"by": "walk"}, [None] * 2, resample={"max_rounds": 4})
    assert chosen.asked_for(12) == 12
    chosen.needed(48, 0)
    chosen.needed(48, 48)
    assert chosen.asked_for(12) == 24  # 96 drawn for 48 with a signal


@pytest.mark.parametrize(
    ("scale", "others", "expected"),
    [
        ("none", False, [0.5, -0.5, 0.25, 0.25, 0.25, -0.75]),
        ("none", True, [1, -1, 1 / 3, 1 / 3, 1 / 3, -1]),  # over the mean of the group's others
        ("group", False, [0.5 / (0.5**0.5 + 1e-4), -0.5 / (0.5**0.5 + 1e-4), *[0.25 / 0.5001] * 3, -0.75 / 0.5001]),
        ("batch", False, [value / ((4 / 15) ** 0.5 + 1e-4) for value in (0.5, -0.5, 0.25, 0.25, 0.25, -0.75)]),
    ],
)
def test_baselines_of_groups_of_their_own_size(scale, others, expected):
    rewards = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    assert by_group(rewards, [2, 4], scale, others).tolist() == pytest.approx(expected)


def test_a_group_has_a_signal_where_its_rewards_differ_and_for_gdpo_where_those_of_a_term_do():
    alike = [Sample(0, tries(1, 1)[0], rewards) for rewards in ([1.0, 0.0, 5.0], [0.0, 1.0, 7.0])]
    assert not has_signal(alike, [1.0, 1.0, 0.0], by_term=False) and has_signal(alike, [1.0, 1.0, 0.0], by_term=True)
    assert not has_signal(alike, [0.0, 0.0, 0.0], by_term=True) and has_signal(alike, [1.0, 2.0, 0.0], by_term=False)


def test_a_course_reaches_its_end_in_the_last_batch_that_several_updates_learn_from():
    seen = []
    for steps, updates in ((8, 4), (3, 4)):
        chosen = selection({"by": "schedule", "easy_share": {"start": 1, "end": 0}}, [None] * 6, "eeeccc", steps)
        chosen.updates = updates
        seen.append([chosen.candidates.roles[problem] for step in range(0, steps, updates) for problem in chosen.draw(step, 2)])
    assert seen == [["easy", "easy", "core", "core"], ["core", "core"]]  # a single batch is the last one


def test_replayed_groups_are_young_enough_and_come_so_often_only():
    chosen = selection({"by": "walk"}, [None] * 9, replay={"share": 0.5, "max_age": 2, "times": 1})
    first, second = [Sample(0, tries(1, 1)[0], [1.0], policy_T=[-0.1])], [Sample(1, tries(1, 1)[0], [0.0])]
    chosen.remember(0, [first])
    chosen.remember(2, [second])
    assert chosen.replayed(2, 1, 1) == [] == chosen.replayed(2, 4, 4)  # half of one prompt is none, and of four not one for each of four processes
    assert chosen.replayed(2, 4, 1) == [first, second] and chosen.replayed(2, 4, 1) == []
    chosen.remember(2, [first])
    other = selection({"by": "walk"}, [None] * 9, replay={"share": 0.5, "max_age": 2})
    other.restore(json.loads(json.dumps(chosen.state_dict())), 0)
    assert other.replayed(4, 4, 1) == [first] and chosen.replayed(5, 4, 1) == []


def test_a_problem_s_limit_follows_its_correct_completions_and_never_falls_below_the_floor():
    own = {"slack": 1.5, "floor": 0.2, "correct": 2}
    schedule = LengthSchedule(Fixed(schedule="fixed", per_problem=own), 100, 10)
    right, wrong = Verdict(True, "", ""), Verdict(False, "", "")
    schedule.saw(0, [Completion("", 30, False, right), Completion("", 90, True, wrong)])
    assert schedule.limit_of(0, 0) == 100  # one is not enough
    schedule.saw(0, [Completion("", 10, False, right)])
    schedule.saw(1, [Completion("", 2, False, right)] * 2)
    schedule.saw(2, [Completion("", 95, False, right)] * 2)
    again = LengthSchedule(schedule.config, 100, 10)
    again.state = json.loads(json.dumps(schedule.state))
    assert [again.limit_of(problem, 1) for problem in range(4)] == [30, 20, 100, 100]


def test_the_plan_pays_for_what_is_thrown_away_and_not_for_what_is_replayed():
    plain, resampled, replayed = (
        make_plan(configured(*overrides))
        for overrides in ([], ["selection=resample", "selection.resample.planned_share=0.5"], ["selection=replay", "selection.replay.share=0.5"])
    )
    assert "thrown away" not in plain.tokens
    assert resampled.tokens["sampled"] == resampled.tokens["thrown away"] == pytest.approx(plain.tokens["sampled"])
    assert resampled.seconds["rollout"] == pytest.approx(2 * plain.seconds["rollout"]) and resampled.seconds["training"] == plain.seconds["training"]
    assert replayed.flops["sampling"] == pytest.approx(plain.flops["sampling"] / 2)
    assert replayed.flops["log-probabilities"] == pytest.approx(2 * plain.flops["log-probabilities"])  # those of the sampler, beside the reference's


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["selection=pass_rate", "selection.draw.band=[0.9,0.1]"], r"selection.draw: band: no problem can be in \[0.9, 0.1\]"),
        (["selection=schedule", "selection.draw.easy_share.end=-0.1"], "selection.draw.easy_share.end: must be greater than or equal to 0"),
        (["selection=schedule", "selection.draw.weights={core: [0,1.5]}"], "selection.draw.weights.core.end: must be less than or equal to 1"),
        (["selection=schedule", "selection.draw.weights={core: [0,1,0]}"], "a list is .start, end., not 3 numbers"),
        (["selection=schedule", "mix=hard_only"], "draws from the role easy, of which the mix has nothing"),
        (["selection=schedule", "mix=easy_only"], "the mix has easy problems alone"),
        (["selection=schedule", "selection.draw.easy_share.course=length"], "course=length goes with a limit that rises"),
        (["selection=pass_rate", "selection.draw.aim=bnd"], "no aim is called bnd; did you mean band"),
        (["selection=replay", "algorithm=rloo"], "selection.replay: it wants clipped ratios .* trainer=rloo"),
        (["selection.allocate={min: 2, max: 4}"], "from 2 to 4 completions of a prompt cannot be 6 in the mean"),
        (["selection.allocate={min: 4, max: 16}", "reward=efficient"], "the reward efficient compares groups of one size"),
        (["selection.allocate={min: 4, max: 16}", "selection.replay={share: 0.5}"], "groups of other sizes cannot take the place of one"),
        (["selection=resample", "algorithm=sft_shortest"], "selection: supervised training samples from the base"),
        (["selection=resample", "algorithm=distill", "algorithm.teacher=embedded/micro"], "distillation learns from every completion"),
        (["selection=resample", "algorithm=reinforce_pp"], "without a baseline of the prompt's, a group of equal rewards has a signal"),
        (["selection=resample", "length=adaptive"], "an adaptive limit follows all that is sampled"),
        (["selection=replay", "algorithm=cispo"], "max_age: a batch is used for 4 optimiser steps, so the one before is up to 7 steps old"),
        (["length=adaptive", "+length.per_problem={slack: 1.5, floor: 0.25, correct: 4}"], "per_problem: a limit that follows truncations"),
    ],
)  # fmt: skip
def test_a_selection_that_cannot_be_is_one_line(overrides, said):
    with pytest.raises(UserError, match=said) as raised:
        configured(*overrides)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["selection=resample", "mix.size=2"], "a batch is of 4 prompts and the mix has 2 problems"),
        (["selection=schedule", "mix.size=4", "mix.weights={core: 0.99, easy: 0.01}"], "draws from the role easy, of which the mix has nothing"),
        (["selection=replay", "selection.replay.share=0.2"], "0.2 of 4 prompts is less than one for each training process .1.; set at least 0.25"),
        (["selection=pass_rate", "selection.draw.aim=band", "selection.draw.band=[0.9,1]"], "no problem is between 0.9 and 1.0, they are from 0.50 to 0.50"),
    ],
)  # fmt: skip
def test_too_few_problems_are_refused_before_anything_is_written(tmp_path, overrides, said):
    with pytest.raises(UserError, match=said):
        run(configured(*SHORT, *overrides, f"output_root={tmp_path}/out"))
    assert not (tmp_path / "out").exists()


# -- runs -------------------------------------------------------------------------------------------------------------


def lines(folder: Path) -> list[dict]:
    """Of metrics.jsonl, without what differs between two runs of the same seed."""
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith(TIMING_KEYS)} for line in read]


def test_fixed_leaves_nothing_of_a_selection(toy_run):
    assert not [key for line in lines(toy_run) for key in line if key.startswith("selection/")]
    assert not (toy_run / "candidates.parquet").exists() and len(pd.read_parquet(toy_run / "problems.parquet")) == 16


EVERYTHING = ("selection=pass_rate", "selection.draw.target=0.95", "selection.resample={max_rounds: 3}", "record.completions_every_steps=1", "algorithm=dapo")


@pytest.fixture(scope="module")
def chosen(tmp_path_factory) -> Path:
    """A run that draws by pass rate and throws away what has no signal."""
    folder = tmp_path_factory.mktemp("chosen") / "run"
    run(configured(*SHORT, *EVERYTHING, f"output_root={folder.parent}", f"run_dir={folder}"))
    return folder


def test_the_record_is_of_what_was_trained_on(chosen):
    presented, steps = pd.read_parquet(chosen / "problems.parquet")["id"], lines(chosen)
    learnt = [pd.read_parquet(path)["problem_id"][::6] for path in sorted((chosen / "completions").glob("*.parquet"))]
    assert list(presented) == list(pd.concat(learnt)) and len(presented) == 16
    assert [line["samples"] for line in steps] == [4, 8, 12, 16]
    assert steps[-1]["unique_samples"] == presented.nunique() and steps[-1]["epochs"] == 16 / 1400
    assert set(presented) <= set(pd.read_parquet(chosen / "candidates.parquet")["id"])


def test_groups_without_a_signal_make_room_and_are_paid_for(chosen):
    steps = lines(chosen)
    for line in steps:
        assert line["groups_without_signal"] == 0 or line["selection/rounds"] == 3
        assert line["selection/drawn"] - line["selection/thrown_away"] == 4
    learnt = sum(pd.read_parquet(path)["tokens"].sum() for path in (chosen / "completions").glob("*.parquet"))
    cost = json.loads((chosen / "summary.json").read_text())["cost"]
    assert sum(line["selection/thrown_away"] for line in steps) > 0
    assert cost["thrown_away"]["tokens"] == cost["completion_tokens"] - learnt > 0
    assert 0 < cost["thrown_away"]["seconds"] < cost["seconds"]["rollout"] and cost["thrown_away"]["share"] == cost["thrown_away"]["tokens"] / cost["completion_tokens"]
    assert cost["flops"]["generation"] > cost["flops"]["training"] / 3  # what was thrown away was sampled, not learnt


MORE = (
    ("selection=replay", "selection.replay.share=0.5"),
    ("selection=schedule", "selection.allocate={min: 4, max: 8}", "+length.per_problem={slack: 1.5, floor: 0.25, correct: 1}", "algorithm=dapo"),
)


@pytest.mark.parametrize("given", [EVERYTHING, *MORE])
def test_a_selection_goes_on_exactly(given, chosen, tmp_path):
    def half(line, measured):
        return Stop("interrupted", "for a test") if line["step"] == 2 else None

    folder, whole = tmp_path / "run", chosen if given == EVERYTHING else tmp_path / "whole"
    run(configured(*SHORT, *given, f"output_root={tmp_path}", f"run_dir={folder}"), watches=[half])
    run(config_to_continue(folder, None))
    if whole != chosen:
        run(configured(*SHORT, *given, f"output_root={tmp_path}", f"run_dir={whole}"))
    assert lines(folder) == lines(whole) and len(lines(whole)) == 4
    assert pd.read_parquet(folder / "problems.parquet").equals(pd.read_parquet(whole / "problems.parquet"))


def test_a_run_of_before_there_was_a_selection_goes_on_exactly(toy_run, tmp_path):
    def half(line, measured):
        return Stop("interrupted", "for a test") if line["step"] == 2 else None

    folder = tmp_path / "run"
    run(configured("+experiment=mix_easy_hard", *TOY, f"output_root={tmp_path}", f"run_dir={folder}"), watches=[half])
    checkpoint = folder / "checkpoints" / "checkpoint-2"
    state = json.loads((checkpoint / STATE_FILE).read_text())
    assert not state.pop("selection")
    state["ledger"].pop("thrown_away")
    (checkpoint / STATE_FILE).write_text(json.dumps(state))
    seal(checkpoint)
    content = yaml.safe_load((folder / "config.yaml").read_text())
    content.pop("selection")
    content["length"].pop("per_problem")
    (folder / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    (folder / CHECKSUMS).unlink()
    run(config_to_continue(folder, None))
    assert lines(folder) == lines(toy_run)


def test_replayed_completions_are_weighed_by_the_policy_that_sampled_them(tmp_path, monkeypatch):
    weigh, steps = SelectedGroups._weigh_and_remember, []

    def seen(self, output, groups):
        fresh = [sample.policy_T is None for sample in self.ready]
        weigh(self, output, groups)
        logps = output["old_per_token_logps"]
        rows = zip(fresh, self.ready, logps, strict=True)
        steps.append([(new, sample.completion.token_ids, row[: sample.completion.tokens].tolist()) for new, sample, row in rows])

    monkeypatch.setattr(SelectedGroups, "_weigh_and_remember", seen)
    folder = tmp_path / "run"
    run(configured(*SHORT, "selection=replay", "selection.replay.share=0.5", "algorithm=dapo", "lr=constant", f"output_root={tmp_path}", f"run_dir={folder}"))
    known = {ids: logps for step in steps for new, ids, logps in step if new}
    replayed = [(ids, logps) for step in steps for new, ids, logps in step if not new]
    assert replayed and all(known[ids] == logps for ids, logps in replayed)  # to the last bit
    told = lines(folder)
    assert [line["selection/replayed"] * 6 for line in told] == [sum(not new for new, *_ in step) for step in steps]
    assert told[-1]["samples"] == 16 > told[-1]["unique_samples"]
    assert any(line["clipped_share"] > 0 for line in told)  # the policy has moved since


def test_groups_of_their_own_size_fill_the_same_batch(tmp_path):
    folder = tmp_path / "run"
    both_ends = ("problems=micro_wide", "mix.weights={core: 0, broad: 1, easy: 1}", "mix.size=4")
    run(configured(*SHORT, *both_ends, "scale.steps=2", "selection.allocate={min: 2, max: 12}", "record.completions_every_steps=1",
                   f"output_root={tmp_path}", f"run_dir={folder}"))
    batches = [pd.read_parquet(path) for path in sorted((folder / "completions").glob("*.parquet"))]
    sizes = [batch.groupby("problem_id", sort=False).size() for batch in batches]
    assert [len(batch) for batch in batches] == [24] * 2 and list(sizes[0]) == [6] * 4  # nothing is known at first
    hard = set(batches[0]["problem_id"][batches[0]["level"] == "hard"])
    assert all(2 <= size < 6 if problem in hard else 6 < size <= 12 for problem, size in sizes[1].items())


def test_a_run_whose_selection_starves_says_so_in_that_step_and_goes_on(tmp_path, capsys):
    band = ("selection=pass_rate", "selection.draw.aim=band", "selection.draw.band=[0.45,0.55]", "mix.size=4", "scale.steps=2")
    summary = run(configured(*SHORT, *band, f"output_root={tmp_path}", f"run_dir={tmp_path}/run"))
    first, second = lines(tmp_path / "run")
    assert "selection/starved" not in first and 0 < (missing := second["selection/starved"]) <= 4 == second["samples"] - first["samples"]
    assert f"selection starves: at step 2 {missing} of 4 problems are not as asked" in " ".join(capsys.readouterr().out.split())
    assert summary["status"] == "complete"


def test_completions_are_cut_at_their_problem_s_limit(tmp_path):
    folder = tmp_path / "run"
    own = "length.per_problem={slack: 1, floor: 0.1, correct: 1}"
    run(configured(*SHORT, "scale.steps=3", "mix.size=4", own, "record.completions_every_steps=1",
                   f"output_root={tmp_path}", f"run_dir={folder}"))
    seen: dict[str, list[int]] = {}
    for path in sorted((folder / "completions").glob("*.parquet")):
        batch = pd.read_parquet(path)
        for problem, rows in batch.groupby("problem_id"):
            if lengths := seen.get(problem):
                limit = max(13, math.floor(sum(lengths) / len(lengths) + 0.5))  # a tenth of 128 tokens is the floor
                assert rows["tokens"].max() <= limit and (rows["tokens"][rows["truncated"]] == limit).all()
            seen.setdefault(problem, []).extend(rows["tokens"][rows["correct"]])
    assert any(line["truncated_share"] > 0.3 for line in lines(folder)[1:])


# What is drawn with one process and with two, by name of the run; `fixed` is in tests/hardware/test_launch.py.
DRAWING = {
    "resample": ("selection=resample",), "everything": EVERYTHING,
    "replay": ("selection=replay", "selection.replay.share=0.5"), "allocate": ("selection=pass_rate", "selection.allocate={min: 4, max: 8}"),
    "schedule": ("selection=schedule", "+length.per_problem={slack: 1.5, floor: 0.25, correct: 1}"),
}  # fmt: skip


def drawing(name: str, *rest: str):
    return configured(*SHORT, *DRAWING[name], "scale.steps=3", *rest)


def drawn(folder: Path, *names: str) -> None:
    """Do some runs, and have each process write down what its selection drew and saw, step by step."""
    draw, saw = Selection.draw, Selection.saw
    for name in names:
        calls: list[list] = []

        def drew(self, step, number, calls=calls, name=name):
            (folder / f"{name}_{rank()}_roles.json").write_text(json.dumps(self.candidates.roles))
            calls.append(["draw", step, number, draw(self, step, number)])
            return calls[-1][-1]

        def seen(self, step, groups, calls=calls):
            calls.append(["saw", step, [[problem, sum(c.verdict.correct for c in group), len(group)] for problem, group in groups]])
            saw(self, step, groups)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.distributed, "destroy_process_group", lambda *_: None)  # the next run is of the same processes
            patch.setattr(Selection, "draw", drew)
            patch.setattr(Selection, "saw", seen)
            run(drawing(name, f"hardware.processes={world_size()}", f"output_root={folder}", f"run_dir={folder}/{name}"))
        (folder / f"{name}_{rank()}.json").write_text(json.dumps(calls))


def noted(folder: Path, name: str, process: int | str = 0) -> list:
    return json.loads((folder / f"{name}_{process}.json").read_text())


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """The folder of the runs with two processes."""
    folder = tmp_path_factory.mktemp("two")
    code = f"import pathlib, test_selection; test_selection.drawn(pathlib.Path({str(folder)!r}), *test_selection.DRAWING)"
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python", sys.executable, "-c", code]
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), str(ROOT), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(launched, env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, cwd=folder, capture_output=True, text=True,
                            timeout=600, check=False)  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", DRAWING)
def test_both_processes_of_a_run_draw_and_see_the_same(two, name):
    assert noted(two, name, 0) == noted(two, name, 1) and {call[0] for call in noted(two, name)} == {"draw", "saw"}


def test_prompts_drawn_anew_come_in_the_same_order_with_any_number_of_processes(two, tmp_path):
    """How many are drawn follows the completions, which differ."""
    drawn(tmp_path, "resample")
    orders = [[problem for call in noted(folder, "resample") if call[0] == "draw" for problem in call[3]] for folder in (tmp_path, two)]
    shorter = min(map(len, orders))
    assert orders[0][:shorter] == orders[1][:shorter] and shorter >= 12


def test_what_goes_by_pass_rate_follows_the_seed_and_the_completions_alone(two):
    """So the draws of two processes are those of one that saw the same."""
    config, rates = drawing("everything"), pd.read_parquet(two / "everything" / "candidates.parquet")["pass_rate"]
    problems = [Problem(f"p{number}", "?", "1", "easy", None if math.isnan(rate) else rate, "test") for number, rate in enumerate(rates.astype(float))]
    schedule = LengthSchedule(config.length, config.scale.completion_budget, config.scale.steps)
    again = Selection(config.selection, Candidates(problems, noted(two, "everything", "0_roles"), ()), schedule, config.seed)
    for kind, step, *rest in noted(two, "everything"):
        if kind == "draw":
            assert again.draw(step, rest[0]) == rest[1]
        else:
            again.saw(step, [(problem, tries(correct, size)) for problem, correct, size in rest[0]])
    assert step == 2 and len(again.rates.seen) >= 8


def test_two_processes_record_what_both_learnt(chosen, two):
    folder, steps = two / "everything", lines(two / "everything")
    assert pd.read_parquet(folder / "candidates.parquet").equals(pd.read_parquet(chosen / "candidates.parquet"))
    assert steps[-1]["samples"] == len(pd.read_parquet(folder / "problems.parquet")) == 12
    assert all(line["selection/drawn"] - line["selection/thrown_away"] == 4 for line in steps)
    learnt = pd.concat([pd.read_parquet(path)["problem_id"][::6] for path in sorted((folder / "completions").glob("*.parquet"))])
    assert list(learnt) == list(pd.read_parquet(folder / "problems.parquet")["id"])
