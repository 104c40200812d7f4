"""Learning rates: the values that transformers' own schedulers give for our fields, worked out by hand."""

from pathlib import Path

import pytest
from conftest import ROOT, configured
from pydantic import TypeAdapter, ValidationError

from src.common.errors import UserError
from src.training.lr import SCHEDULES, LrConfig, trainer_fields

CONF = ROOT / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "lr").glob("*.yaml"))


def config(**settings) -> LrConfig:
    return TypeAdapter(LrConfig).validate_python(settings)


def compose_lr(*overrides: str) -> LrConfig:
    return configured("scale.peak_learning_rate=2e-6", *overrides).lr


def rates(lr: LrConfig, total_steps: int, folder: Path) -> list[float]:
    """The rate of each update, and the one after the last, from TRL's arguments and transformers' scheduler."""
    import torch
    from transformers import get_scheduler
    from trl import GRPOConfig

    args = GRPOConfig(str(folder), use_cpu=True, bf16=False, report_to="none", **trainer_fields(lr, total_steps))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=args.learning_rate)
    scheduler = get_scheduler(
        args.lr_scheduler_type,
        optimizer,
        num_warmup_steps=args.get_warmup_steps(total_steps),
        num_training_steps=total_steps,
        scheduler_specific_kwargs=args.lr_scheduler_kwargs,
    )
    found = []
    for _ in range(total_steps + 1):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_min_as_in_open_rs(tmp_path):
    # 500 updates: 50 of warm-up, then 450 of half a cosine wave down to a tenth.
    found = rates(config(schedule="cosine_min", peak=1e-6), 500, tmp_path)
    expected = {0: 0.0, 25: 0.5e-6, 50: 1e-6, 275: 0.55e-6, 500: 0.1e-6}
    assert {step: found[step] for step in expected} == pytest.approx(expected)
    assert min(found[50:]) == pytest.approx(0.1e-6)


def test_constant(tmp_path):
    assert rates(config(schedule="constant", peak=1e-6), 10, tmp_path) == [1e-6] * 11


def test_constant_warmup_of_six_updates(tmp_path):
    found = rates(config(schedule="constant_warmup", peak=6e-6), 10, tmp_path)
    assert found == pytest.approx([0, 1e-6, 2e-6, 3e-6, 4e-6, 5e-6] + [6e-6] * 5)


def test_linear(tmp_path):
    found = rates(config(schedule="linear", peak=8e-6, warmup_fraction=0.2), 10, tmp_path)
    assert found == pytest.approx([0, 4e-6, 8e-6, 7e-6, 6e-6, 5e-6, 4e-6, 3e-6, 2e-6, 1e-6, 0])


def test_cosine(tmp_path):
    found = rates(config(schedule="cosine", peak=1.0, warmup_steps=2), 10, tmp_path)
    expected = {0: 0.0, 1: 0.5, 2: 1.0, 4: 0.5 + 0.5**1.5, 6: 0.5, 8: 0.5 - 0.5**1.5, 10: 0.0}
    assert {step: found[step] for step in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("total_steps", "settings", "expected"),
    [
        (500, {}, 50),
        (100, {"warmup_fraction": 0.07}, 7),  # 0.07 * 100 is a little more than 7 in binary
        (61, {}, 7),  # rounded up
        (1, {}, 1),
        (500, {"warmup_fraction": 0.0}, 0),
        (500, {"warmup_steps": 6}, 6),  # replaces the fraction
        (500, {"warmup_steps": 0}, 0),
    ],
)
def test_warmup_steps(total_steps, settings, expected):
    fields = trainer_fields(config(schedule="cosine_min", peak=1e-6, **settings), total_steps)
    assert fields["warmup_steps"] == expected


def test_a_warmup_longer_than_the_run_is_refused():
    with pytest.raises(UserError, match="lr.warmup_steps is 6 but the run has only 5 updates"):
        trainer_fields(config(schedule="constant_warmup", peak=1e-6), 5)


@pytest.mark.parametrize("option", OPTIONS)
def test_options_can_be_swapped_under_a_scale(tmp_path, option):
    lr = compose_lr(f"lr={option}")
    assert lr.schedule == option
    found = rates(lr, 20, tmp_path)
    assert max(found) == pytest.approx(2e-6)
    assert compose_lr(f"lr={option}", "lr.peak=3e-5").peak == 3e-5


def test_every_schedule_is_shipped():
    assert sorted(SCHEDULES) == OPTIONS


def test_shipped_values_are_those_of_the_studies():
    open_rs = compose_lr("lr=cosine_min")
    assert (open_rs.warmup_fraction, open_rs.warmup_steps, open_rs.min_ratio) == (0.1, None, 0.1)
    assert compose_lr("lr=constant_warmup").warmup_steps == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "constant", "peak": 0.0}, "greater than 0"),
        ({"schedule": "constant", "peak": float("inf")}, "finite number"),
        ({"schedule": "constant", "peak": 1e-6, "warmup_steps": 3}, "Extra inputs are not permitted"),
        ({"schedule": "linear", "peak": 1e-6, "warmup_fraction": 1.0}, "less than 1"),
        ({"schedule": "linear", "peak": 1e-6, "warmup_steps": -1}, "greater than or equal to 0"),
        ({"schedule": "cosine_min", "peak": 1e-6, "min_ratio": 1.5}, "less than 1"),
        ({"schedule": "cosin", "peak": 1e-6}, "'cosine_min', 'constant', 'constant_warmup', 'linear', 'cosine'"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValidationError) as error:
        config(**settings)
    assert message in str(error.value)
