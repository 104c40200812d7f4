"""Length schedules: limits worked out by hand, and the shipped options."""

import json
from pathlib import Path

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import TypeAdapter, ValidationError

from src.training.length import LengthConfig, LengthSchedule

CONF = ROOT / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "length").glob("*.yaml"))


def config(**settings) -> LengthConfig:
    return TypeAdapter(LengthConfig).validate_python(settings)


def schedule(budget: int = 4096, steps: int = 100, **settings) -> LengthSchedule:
    return LengthSchedule(config(**settings), budget, steps)


def compose_length(folder: Path, *overrides: str) -> LengthConfig:
    (folder / "primary.yaml").write_text(
        f"defaults: [length: fixed, _self_]\nhydra: {{searchpath: ['file://{CONF}']}}\n", encoding="utf-8"
    )
    with initialize_config_dir(str(folder), version_base="1.3"):
        tree = compose("primary", list(overrides))
    return config(**OmegaConf.to_container(tree.length, resolve=True))


@pytest.mark.parametrize(
    ("fraction", "budget", "tokens"),
    [
        (1.0, 4096, 4096),
        (0.875, 4096, 3584),  # Open-RS experiments 2 and 3
        (0.875, 128, 112),
        (0.5, 5, 3),  # half up
        (0.145, 100, 15),  # 14.5, although 0.145 * 100 is just below it in binary
        (0.01, 10, 1),  # at least one token
    ],
)
def test_fixed(fraction, budget, tokens):
    fixed = schedule(budget, 10, schedule="fixed", fraction=fraction)
    assert fixed.maximum == tokens
    assert [fixed.limit(step) for step in (0, 5, 9, 50)] == [tokens] * 4


def test_staged_begins_each_stage_at_its_share_of_the_run():
    stages = {"stage_fractions": [0.5, 0.75, 1.0], "stage_begins": [0.0, 0.3, 0.7]}
    staged = schedule(4096, 10, schedule="staged", fraction=0.875, **stages)
    assert staged.maximum == 3584
    assert [staged.limit(step) for step in range(11)] == [1792] * 3 + [2688] * 4 + [3584] * 4


def test_staged_from_long_to_short():
    stages = {"stage_fractions": [1.0, 0.5], "stage_begins": [0.0, 0.5]}
    staged = schedule(100, 5, schedule="staged", **stages)
    assert [staged.limit(step) for step in range(5)] == [100, 100, 100, 50, 50]


def test_linear_reaches_the_highest_limit_at_the_last_step():
    rising = schedule(100, 6, schedule="linear", start_fraction=0.5)
    assert [rising.limit(step) for step in range(7)] == [50, 60, 70, 80, 90, 100, 100]


def test_linear_until_a_share_of_the_run():
    rising = schedule(100, 12, schedule="linear", start_fraction=0.5, until=0.5)
    assert [rising.limit(step) for step in range(8)] == [50, 60, 70, 80, 90, 100, 100, 100]
    assert schedule(100, 1, schedule="linear", start_fraction=0.5).limit(0) == 100


ADAPTIVE = {
    "schedule": "adaptive",
    "start_fraction": 0.5,
    "min_fraction": 0.4,
    "grow_above": 0.2,
    "grow_factor": 1.5,
    "shrink_below": 0.1,
    "shrink_factor": 0.5,
    "window_steps": 2,
}


def follow(adaptive: LengthSchedule, shares: list[float], first_step: int = 0) -> list[int]:
    """The limit at each step, given the share of completions truncated in it."""
    limits = []
    for step, share in enumerate(shares, first_step):
        limits.append(adaptive.limit(step))
        adaptive.observe(step, share)
    return [*limits, adaptive.limit(first_step + len(shares))]


def test_adaptive_grows_by_its_factor_up_to_the_highest_limit():
    # A change needs two new steps: 50 -> 75 -> 112.5, held at 100.
    assert follow(schedule(100, 20, **ADAPTIVE), [0.3] * 6) == [50, 50, 75, 75, 100, 100, 100]


def test_adaptive_shrinks_down_to_its_lowest_limit():
    assert follow(schedule(100, 20, **ADAPTIVE), [0.0] * 4) == [50, 50, 40, 40, 40]


def test_adaptive_stays_between_the_two_shares():
    # Means 0.15, 0.2, 0.1: none above 0.2, none below 0.1.
    assert follow(schedule(100, 20, **ADAPTIVE), [0.0, 0.3, 0.1, 0.1]) == [50] * 5


def test_adaptive_averages_over_the_window():
    # One bad step is not enough: mean 0.15. With the next, the mean is 0.3.
    assert follow(schedule(100, 20, **ADAPTIVE), [0.0, 0.3, 0.3]) == [50, 50, 50, 75]


def test_adaptive_growth_is_not_lost_in_rounding():
    # 5, 5.5, 6.05, 6.655, 7.3205: rounded at each step, 5 would stay at 6 (5.5 -> 6 -> 6.6 -> 7 -> 7.7 -> 8).
    slow = schedule(10, 20, **{**ADAPTIVE, "grow_factor": 1.1, "window_steps": 1})
    assert follow(slow, [1.0] * 4) == [5, 6, 6, 7, 7]


def test_adaptive_resumes_exactly():
    shares = [0.3, 0.3, 0.4, 0.0, 0.0, 0.3, 0.25, 0.25, 0.0]
    whole = follow(schedule(100, 20, **ADAPTIVE), shares)
    for cut in range(len(shares)):
        before, after = schedule(100, 20, **ADAPTIVE), schedule(100, 20, **ADAPTIVE)
        limits = follow(before, shares[:cut])[:-1]
        after.state = json.loads(json.dumps(before.state))
        assert limits + follow(after, shares[cut:], cut) == whole


def test_adaptive_goes_on_from_the_state_that_checkpoints_hold():
    resumed = schedule(100, 20, **ADAPTIVE)
    resumed.state = {"present": 0.6, "window": [0.3]}
    assert follow(resumed, [0.3, 0.0], first_step=7) == [60, 90, 90]  # the second bad step in a row


def test_only_adaptive_listens():
    for option in ("fixed", "linear"):
        deaf = schedule(100, 10, schedule=option)
        before = [deaf.limit(step) for step in range(10)]
        follow(deaf, [1.0] * 10)
        assert deaf.state == {}  # nothing to save
        assert [deaf.limit(step) for step in range(10)] == before


@pytest.mark.parametrize("option", OPTIONS)
def test_options_can_be_swapped_under_a_fraction(tmp_path, option):
    swapped = compose_length(tmp_path, f"length={option}", "length.fraction=0.875")
    built = LengthSchedule(swapped, 4096, 60)
    limits = [built.limit(step) for step in range(60)]
    assert built.maximum == 3584
    assert min(limits) >= 1792 and max(limits) <= built.maximum


def test_shipped_stages_are_thirds_of_the_run(tmp_path):
    up = LengthSchedule(compose_length(tmp_path, "length=staged"), 128, 60)
    down = LengthSchedule(compose_length(tmp_path, "length=staged_down"), 128, 60)
    limits = [up.limit(step) for step in range(60)]
    assert limits == [64] * 20 + [96] * 20 + [128] * 20
    assert [down.limit(step) for step in range(60)] == limits[::-1]


def test_every_schedule_is_shipped(tmp_path):
    shipped = {compose_length(tmp_path, f"length={option}").schedule for option in OPTIONS}
    assert shipped == set(LengthConfig.kinds())


STAGED = {"schedule": "staged", "stage_fractions": [0.5, 1.0], "stage_begins": [0.0, 0.5]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "fixed", "fraction": 0.0}, "greater than 0"),
        ({"schedule": "fixed", "fraction": 1.5}, "less than or equal to 1"),
        ({"schedule": "fixed", "fractoin": 1.0}, "Extra inputs are not permitted"),
        ({"schedule": "stagd"}, "'fixed', 'staged', 'linear', 'adaptive'"),
        ({**STAGED, "stage_fractions": [0.5, 0.7, 1.0], "stage_begins": [0.0, 0.6, 0.3]}, "stages out of order"),
        ({**STAGED, "stage_begins": [0.2, 0.5]}, "the first stage must begin at 0"),
        ({**STAGED, "stage_begins": [0.0]}, "2 stage_fractions and 1 stage_begins"),
        ({**STAGED, "stage_fractions": [0.5, 0.75]}, "the largest of stage_fractions is 0.75, it must be 1"),
        ({**STAGED, "stage_fractions": [], "stage_begins": []}, "the first stage must begin at 0"),
        ({"schedule": "linear", "until": 0.0}, "greater than 0"),
        ({"schedule": "adaptive", "grow_factor": 1.0}, "greater than 1"),
        ({"schedule": "adaptive", "shrink_below": 0.5}, "shrink_below 0.5 is above grow_above 0.2"),
        ({"schedule": "adaptive", "start_fraction": 0.1}, "start_fraction 0.1 is below min_fraction 0.25"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValidationError) as error:
        config(**settings)
    assert message in str(error.value)


def test_impossible_truncated_share_is_refused():
    with pytest.raises(ValueError, match="truncated_share is 1.5 at step 3"):
        schedule(100, 10, **ADAPTIVE).observe(3, 1.5)
