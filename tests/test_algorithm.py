"""Fields of TRL's configs: all of them reachable, with the types that TRL gives them."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
from conftest import composed, configured

from src.algorithm import trl_fields, type_fault
from src.config import parse
from src.errors import UserError


@pytest.mark.parametrize("trainer", ["grpo", "rloo"])
def test_the_fields_read_from_the_source_are_those_of_the_class(trainer):
    import dataclasses

    import trl

    real = {field.name for field in dataclasses.fields(getattr(trl, f"{trainer.upper()}Config"))}
    assert set(trl_fields(trainer)) == real


@pytest.mark.parametrize(
    ("value", "annotation", "fault"),
    [
        (0.1, "float", None), (1, "float", None), ("abc", "float", "must be float, not 'abc'"),
        (True, "int", "must be int, not True"), (None, "int | None", None), ("x", "int | None", "must be int or None, not 'x'"),
        ([1], "list[float] | None", None),  # no plain type: left to TRL
    ],
)
def test_types(value, annotation, fault):
    assert type_fault(value, annotation) == fault


def test_a_wrong_type_is_named():
    with pytest.raises(UserError, match="trainer.beta: must be float, not '-abc'"):
        parse(composed("+trainer.beta=-abc"))


@pytest.mark.parametrize(("aggregation", "loss"), [("sequence_mean", (-1.1 + 0.8) / 2), ("token_mean", (-1.2 - 1 + 0.8) / 3)])
def test_the_loss_of_rloo_with_a_ratio_for_each_token(aggregation, loss):
    """Two completions with advantages 1 and -1, of two tokens and of one. Ratios 1.5 and 1; and 0.5, clipped to 0.8."""
    import torch

    from src.trl_trainer import LabRLOOTrainer

    trainer = LabRLOOTrainer.__new__(LabRLOOTrainer)  # the loss alone, without a model
    trainer.epsilon_low = trainer.epsilon_high = 0.2
    trainer.accelerator = SimpleNamespace(reduce=lambda tensor, reduction: tensor)
    trainer._metrics = {"train": defaultdict(list)}
    logps_BT = torch.tensor([[math.log(1.5), 0.0], [math.log(0.5), 9.0]])  # 9: behind the end of the second
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (logps_BT, torch.full((2, 2), 0.3), None)
    trainer.aggregate_tokens(aggregation)
    ids = torch.zeros(2, 2, dtype=torch.long)
    inputs = {
        "prompt_ids": ids, "prompt_mask": ids + 1, "completion_ids": ids, "completion_mask": torch.tensor([[1, 1], [1, 0]]),
        "advantages": torch.tensor([1.0, -1.0]), "sampled_logps": torch.zeros(2, 2),
    }
    assert trainer._compute_loss(None, inputs).item() == pytest.approx(loss)
    assert trainer._metrics["train"]["entropy"] == [pytest.approx(0.3)]
    assert trainer._metrics["train"]["clip_ratio/region_mean"] == [pytest.approx(2 / 3)]


def test_a_loss_of_rloo_is_refused_elsewhere():
    with pytest.raises(UserError, match="loss token_mean is for trainer rloo"):
        configured("algorithm=grpo", "+algorithm.loss=token_mean")
