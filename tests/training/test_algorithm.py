"""Fields of TRL's configs: all of them reachable, with the types that TRL gives them."""

import pytest
import torch
from conftest import ROOT, composed, configured

from src.common.annotations import type_fault
from src.common.errors import UserError
from src.config.tree import parse
from src.training.algorithm import ADVANTAGES, CONFIGS, trl_fields
from src.training.trainer import effective_share


@pytest.mark.parametrize("trainer", CONFIGS)
def test_the_fields_read_from_the_source_are_those_of_the_class(trainer):
    import dataclasses

    import trl

    real = {field.name for field in dataclasses.fields(getattr(trl, CONFIGS[trainer]))}
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


@pytest.mark.parametrize("algorithm", sorted(path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml")))
def test_every_algorithm_says_what_it_does_about_vllms_probabilities(algorithm):
    """TRL's default weighs whole completions by the exponential of a sum over their tokens, which no study here had."""
    teacher = ["algorithm.teacher=embedded/micro"] if algorithm == "distill" else []
    config = configured(f"algorithm={algorithm}", *teacher, "hardware.device_batch_size=72")
    if config.algorithm.trainer == "grpo":
        settings = config.algorithm.settings
        per_token = settings.get("vllm_importance_sampling_mode") == "token_truncate"
        assert per_token or settings["vllm_importance_sampling_correction"] is False


def test_few_samples_count_where_ratios_are_of_whole_completions():
    torch.manual_seed(0)
    difference_BT, mask_BT = 0.012 * torch.randn(64, 3584), torch.ones(64, 3584)  # nats, between vLLM and the trainer
    assert effective_share(difference_BT.exp(), mask_BT) > 0.99
    assert effective_share(difference_BT.sum(dim=1, keepdim=True).exp(), mask_BT) < 0.75
    assert effective_share(torch.tensor([[1.0], [1.0], [0.0], [0.0]]), mask_BT[:4]) == 0.5
def test_unknown_advantages_are_named():
    with pytest.raises(UserError, match="algorithm.advantages: .* leave_one_ot; did you mean leave_one_out?"):
        parse(composed("+algorithm.advantages=leave_one_ot"))


@pytest.mark.parametrize(("advantages", "share"), [("of_trainer", 1.0), ("leave_one_out", 1.0), ("shortest_correct", 1 / 6)])
def test_the_share_of_completions_that_is_learnt(advantages, share):
    assert ADVANTAGES[advantages].learnt_share(6) == share
