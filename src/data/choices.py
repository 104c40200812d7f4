"""Multiple choice: a question's options stand under it with letters, and its answer is the letter of one."""

from dataclasses import replace
from string import ascii_uppercase
from typing import Any

from src.common.base import Config
from src.common.errors import UserError
from src.data.columns import MISSING, Fields, value_at


class ChoicesConfig(Config):
    """Where a row holds what goes with its question; dotted paths."""

    options: str  # a list of texts
    context: str | None = None  # a text that the question is about


def with_choices(fields: Fields, record: Any, choices: ChoicesConfig, source: str) -> Fields:
    """Question with context and lettered options; the answer, an option's text or its letter, as the letter.

    Raises UserError, naming the row, where there are no options or the answer is none of them.
    """
    options = value_at(record, choices.options)
    options = list(options) if isinstance(options, list | tuple) else []
    texts, letters = [str(option).strip() for option in options], ascii_uppercase[: len(options)]
    if len(texts) < 2 or len(texts) > len(ascii_uppercase):
        raise UserError(f"{source}, {fields.place}: choices.options {choices.options} holds no list of 2 to 26 options")
    if fields.answer in texts:
        letter = letters[texts.index(fields.answer)]
    elif len(fields.answer) == 1 and fields.answer in letters:
        letter = fields.answer
    else:
        raise UserError(f"{source}, {fields.place}: the answer {fields.answer!r} is none of the options")
    context = value_at(record, choices.context) if choices.context else ""
    if context is MISSING or context is None:
        raise UserError(f"{source}, {fields.place}: nothing at choices.context {choices.context}")
    lines = [*([str(context).strip()] if context else []), fields.question]
    lines += [f"({letter}) {text}" for letter, text in zip(letters, texts, strict=True)]
    return replace(fields, question="\n".join([*lines, "Answer with the letter of the right option."]), answer=letter)
