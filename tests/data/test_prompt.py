"""What the model is asked."""

import pytest
from conftest import configured

from src.common.errors import UserError
from src.data.prompt import NO_PROMPT, PromptConfig, messages, prompt_token_ids
from src.model.load import load_tokenizer


def test_a_question_with_braces_is_put_in_as_it_is():
    prompt = PromptConfig(system=None, user="{question} Box it.")
    assert messages(prompt, r"Find \frac{a}{b}.") == [{"role": "user", "content": r"Find \frac{a}{b}. Box it."}]


def test_the_system_message_comes_first():
    prompt = PromptConfig(system="Think.", user="{question}")
    assert [message["role"] for message in messages(prompt, "1+1")] == ["system", "user"]
    assert messages(NO_PROMPT, "1+1") == [{"role": "user", "content": "1+1"}]


def test_the_models_own_template_opens_the_reasoning():
    tokenizer = load_tokenizer(configured().model)
    text = tokenizer.decode(prompt_token_ids(tokenizer, NO_PROMPT, "7 + 5"))
    assert "7 + 5" in text and text.endswith("<think>\n")


def test_the_english_prompt_asks_for_english_and_nothing_else():
    plain, english = configured().prompt, configured("prompt=think_boxed_english").prompt
    assert english.system.startswith(plain.system) and "English" in english.system
    assert english.user == plain.user


def test_an_evaluation_may_ask_with_any_option_and_a_misspelt_one_is_named():
    asked = configured("evaluation.prompt=boxed", "prompt=think_boxed").evaluation.asked_with(NO_PROMPT)
    assert asked == configured("prompt=boxed").prompt
    with pytest.raises(UserError, match="evaluation.prompt: no prompt is called solve_boxd; did you mean solve_boxed?"):
        configured("evaluation.prompt=solve_boxd")


def test_any_text_from_the_command_line():
    config = configured("prompt.system='Räum auf: 再检查 {x}'")
    tokenizer = load_tokenizer(config.model)
    assert "再检查 {x}" in tokenizer.decode(prompt_token_ids(tokenizer, config.prompt, "1"))
