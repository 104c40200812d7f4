"""Fields of TRL's configs: all of them reachable, with the types that TRL gives them."""

import pytest
from conftest import composed

from src.common.errors import UserError
from src.config.tree import parse
from src.training.algorithm import ADVANTAGES, trl_fields, type_fault


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


def test_unknown_advantages_are_named():
    with pytest.raises(UserError, match="algorithm.advantages: .* leave_one_ot; did you mean leave_one_out?"):
        parse(composed("+algorithm.advantages=leave_one_ot"))


@pytest.mark.parametrize(("advantages", "share"), [("of_trainer", 1.0), ("leave_one_out", 1.0), ("shortest_correct", 1 / 6)])
def test_the_share_of_completions_that_is_learnt(advantages, share):
    assert ADVANTAGES[advantages].learnt_share(6) == share
