"""What is said of a run while it goes."""

import pytest

from src.common.screen import Screen, duration

HEALTHY = {
    "step": 1, "reward/mean": 1.0, "accuracy": 0.5, "completion_tokens/mean": 50.0, "truncated_share": 0.1,
    "groups_without_signal": 0.2, "length_limit": 112, "format_share": 0.8,
}


@pytest.fixture
def screen():
    screen = Screen()
    screen.start(steps=4, done=0)
    return screen


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"truncated_share": 0.51}, "most completions are truncated: 51.0 % reach the limit of 112 tokens at step 1"),
        ({"groups_without_signal": 1.0}, "all rewards are equal"),
        ({"format_share": 0.0}, "the format is never met"),
        ({"effective_sample_share": 0.4}, "few samples count: importance ratios between vLLM and the trainer leave 40.0 %"),
    ],
)
def test_a_worthless_run_is_said_at_once_and_once(screen, capsys, change, says):
    screen.step(HEALTHY | change)
    screen.step(HEALTHY | change | {"step": 2})
    assert capsys.readouterr().out.count(says.partition(":")[0]) == 1


def test_a_healthy_run_has_no_warning_and_plain_lines_without_a_terminal(screen, capsys):
    screen.step(HEALTHY)
    output = capsys.readouterr().out
    assert "warning" not in output
    assert "step 1/4  reward 1.00  accuracy 50 %  50 tokens  truncated 10 %" in output


def test_what_of_a_gain_is_boxing_is_said_beside_it(screen, capsys):
    figures = {"accuracy": 0.5, "ci_low": 0.4, "ci_high": 0.6, "problems": 9, "samples": 2, "mean_tokens": 40.0, "truncated_share": 0.0, "by_level": {}}
    gain = {"mean": 0.2, "ci_low": 0.1, "ci_high": 0.3}
    told, older = ({"before": figures, "after": figures | {"gain": each}} for each in (gain | {"boxing": 0.051}, gain))
    screen.verdict({"chains": told, "older": older})
    output = capsys.readouterr().out
    assert "chains: 5.1 points of the change are right answers that had no box before" in output and "older: " not in output


@pytest.mark.parametrize(("seconds", "text"), [(90, "90 s"), (600, "10 min"), (86400, "24.0 h")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_a_warning_with_brackets_is_shown_as_it_is(screen, capsys):
    screen.warn("W&B tracking stopped: got [/graphql]")
    assert "[/graphql]" in capsys.readouterr().out
