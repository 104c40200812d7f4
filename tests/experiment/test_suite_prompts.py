"""A suite's prompts are looked at before the run is paid for."""

import pytest
from conftest import configured

from src.common.errors import UserError
from src.common.types import Problem, Suite
from src.experiment.data import check_prompts
from src.model.load import load_tokenizer


def suite(question):
    return [Suite("mine", (Problem("p1", "1 + 1", "2", "easy", None, "x"), Problem("p2", question, "2", "easy", None, "x")), 1)]


def test_a_question_longer_than_the_model_reads_is_named():
    config = configured()
    tokenizer = load_tokenizer(config.model)
    check_prompts(config, tokenizer, suite("2 + 2"))
    with pytest.raises(UserError, match="suite mine: the prompt of problem p2 has .* tokens, the model reads 1024"):
        check_prompts(config, tokenizer, suite("word " * 2000))
