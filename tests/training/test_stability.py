"""The monitor: what alarms it and what does not, and what a run does then."""

import json

import pytest
from conftest import TOY, configured
from safetensors.torch import load_file

from src.common.errors import UserError
from src.common.types import Stop
from src.experiment.run import run
from src.record.checkpoints import Checkpoints
from src.training.stability import SIGNALS, StabilityConfig, alarms_of

CONFIG = StabilityConfig(
    on_collapse="none", window_steps=4, confirm_steps=2, threshold=3.0, decay_factor=0.3, actions=2
)
HEALTHY = {
    "accuracy": 0.5, "format_share": 0.9, "language_share": 0.95, "truncated_share": 0.1, "completion_tokens/mean": 60.0,
    "entropy": 0.1, "kl": 0.02, "length_limit": 128,
}


def lines(**changes):
    """Twenty steps of a healthy run with a little noise; a change is a list of values for the last steps."""
    made = []
    for step in range(1, 21):
        noise = 0.98 if step % 2 else 1.02
        made.append({"step": step} | {key: value * (noise if key != "length_limit" else 1) for key, value in HEALTHY.items()})
    for key, values in changes.items():
        for line, value in zip(made[-len(values) :], values, strict=True):
            line[key.replace("__", "/")] = value
    return made


def test_a_healthy_run_is_left_alone():
    assert alarms_of(lines(), CONFIG) == []


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.key)
def test_each_signal_alarms_where_it_goes_wrong_and_says_since_when(signal):
    wrong = {"accuracy": 0.1, "format_share": 0.3, "language_share": 0.6, "truncated_share": 0.5,
             "completion_tokens/mean": 110.0, "entropy": 0.3}[signal.key]
    (alarm,) = alarms_of(lines(**{signal.key.replace("/", "__"): [wrong] * 8}), CONFIG)
    assert alarm.signal == signal.key and alarm.says == signal.says
    assert 13 <= alarm.since < alarm.step == alarm.since + 1 <= 17  # the change is at step 13
    assert signal.key in str(alarm) and f"since step {alarm.since}" in str(alarm)


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.key)
def test_learning_is_no_alarm(signal):
    """The same changes in the other direction."""
    better = {"accuracy": 0.9, "format_share": 1.0, "language_share": 1.0, "truncated_share": 0.0,
              "completion_tokens/mean": 30.0, "entropy": 0.02}[signal.key]
    assert alarms_of(lines(**{signal.key.replace("/", "__"): [better] * 8}), CONFIG) == []


def test_one_bad_step_is_no_alarm():
    assert alarms_of(lines(entropy=[0.9] + [0.1] * 7), CONFIG) == []


def test_another_length_limit_is_not_compared():
    """A schedule that halves the limit cuts completions off; one that doubles it lets them grow."""
    assert alarms_of(lines(length_limit=[64] * 8, truncated_share=[0.5] * 8, accuracy=[0.2] * 8), CONFIG) == []
    assert alarms_of(lines(length_limit=[256] * 8, completion_tokens__mean=[120.0] * 8), CONFIG) == []


def test_problems_in_order_of_difficulty_are_not_compared():
    harder = lines(accuracy=[0.1] * 8, completion_tokens__mean=[110.0] * 8)
    assert alarms_of(harder, CONFIG, shuffled=False) == []
    assert {alarm.signal for alarm in alarms_of(harder, CONFIG)} == {"accuracy", "completion_tokens/mean"}


def test_two_validations_below_the_best_are_an_alarm():
    made = lines()
    for step, value in ((5, 0.6), (10, 0.7), (15, 0.64), (20, 0.6)):
        made[step - 1]["validation/accuracy"] = value
    (alarm,) = alarms_of(made, CONFIG)
    assert (alarm.signal, alarm.since, alarm.step, alarm.value, alarm.best) == ("validation/accuracy", 15, 20, 0.6, 0.7)
    made[-1]["validation/accuracy"] = 0.66  # it came back
    assert alarms_of(made, CONFIG) == []


@pytest.mark.parametrize(("key", "value", "step"), [("truncated_share", 0.8, 4), ("kl", 0.2, 2)])
def test_a_level_that_is_too_high_is_an_alarm_from_the_start(key, value, step):
    (alarm,) = alarms_of([line | {key: value} for line in lines()], CONFIG)
    assert (alarm.signal, alarm.since, alarm.step) == (f"{key}/limit", 1, step)


def test_further_updates_on_the_same_completions_are_not_counted_again():
    """Four updates a batch: one bad batch is no alarm, though its figures stand in four lines."""
    made = lines(accuracy=[0.1] * 4, format_share=[0.1] * 4, truncated_share=[0.9] * 4)
    for line in made:
        if line["step"] % 4 != 1:
            line |= {"truncated_share": None, "completion_tokens/mean": None}
    assert alarms_of(made, CONFIG) == []


# A rate at which the embedded model loses what it knows within a few steps.
RUINED = (
    *TOY, "lr=constant", "lr.peak=2e-3", "scale.steps=8", "stability.window_steps=3", "stability.confirm_steps=1",
    "stability.actions=1", "record.checkpoints_kept=20", "~evaluation.suites.chains",
)


def ruined(tmp_path, action, *changes, **watched):
    folder = tmp_path / action
    settings = ("+experiment=mix_easy_hard", *RUINED, f"stability.on_collapse={action}", f"output_root={tmp_path}", *changes)
    resume = f"resume={folder}" if folder.exists() else "resume=null"
    summary = run(configured(*settings, f"run_dir={folder}", resume), **watched)
    return summary, [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_stop_ends_at_the_best_checkpoint(tmp_path, capsys):
    summary, steps = ruined(tmp_path, "stop")
    first = summary["stability"]["alarms"][0]
    assert summary["status"] == "complete" and first["step"] == summary["steps"] == len(steps) < 8
    assert "going wrong at step" in capsys.readouterr().out and steps[-1]["stability"][0] == first
    assert summary["best_step"] < summary["steps"] and "gain" in summary["evaluation"]["validation"]["best"]


def test_decay_lowers_the_rate_from_then_on(tmp_path):
    summary, steps = ruined(tmp_path, "decay")
    alarm = summary["stability"]["alarms"][0]["step"]
    rates = [line["learning_rate"] for line in steps]
    assert rates[alarm - 1] == 2e-3 and rates[alarm] == pytest.approx(6e-4)
    assert summary["stability"]["actions"] >= 1


def test_rollback_goes_back_to_the_best_weights_and_survives_an_interruption(tmp_path):
    still = "stability.decay_factor=1e-12"  # what is gone back to then stays as it was
    summary, steps = ruined(tmp_path, "rollback", still)
    alarm = summary["stability"]["alarms"][0]["step"]
    assert (alarm, steps[alarm]["learning_rate"]) == (3, pytest.approx(2e-15))
    best, after = (load_file(tmp_path / f"rollback/checkpoints/checkpoint-{step}/model.safetensors") for step in (2, 4))
    assert all(after[name].allclose(best[name], atol=1e-9) for name in best)

    interrupt = [lambda line, measured: Stop("interrupted", "test") if line["step"] == alarm else None]
    interrupted, _ = ruined(tmp_path / "again", "rollback", still, watches=interrupt)
    checkpoints = Checkpoints(tmp_path / "again" / "rollback" / "checkpoints", 20)
    assert interrupted["steps"] == alarm and checkpoints.progress().pending == "rollback"
    _, continued = ruined(tmp_path / "again", "rollback", still)
    for key in ("loss", "kl", "learning_rate", "accuracy"):
        assert [line[key] for line in continued] == [line[key] for line in steps]


def test_an_action_waits_until_the_completions_in_hand_are_used_up(tmp_path):
    summary, steps = ruined(tmp_path, "decay", "+trainer.num_iterations=2", "lr.peak=5e-3")
    rates = [line["learning_rate"] for line in steps]
    changed = next(number for number, rate in enumerate(rates) if rate != 5e-3)  # the first step with another rate, from 0
    assert summary["stability"]["alarms"][0]["step"] <= changed and rates[changed] == pytest.approx(1.5e-3)
    assert steps[changed]["completion_tokens/mean"] is not None  # on completions of its own


def test_nothing_is_done_after_the_last_step(tmp_path):
    summary, _ = ruined(tmp_path, "rollback", "scale.steps=3")
    assert summary["stability"]["alarms"][0]["step"] == 3 and summary["stability"]["actions"] == 0


def test_rollback_is_refused_where_the_optimiser_is_split():
    with pytest.raises(UserError, match="stability.on_collapse: rollback cannot put back"):
        configured("+experiment=mix_easy_hard", "scale=open_rs", "stability.on_collapse=rollback", "hardware.sharding=zero2")
