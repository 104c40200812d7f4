"""The `grading` key: which rules say that an answer is right."""

from typing import Literal

from src.common.base import Config


class GradingConfig(Config):
    """By form (see `src.grading.rules`), or math-verify's verdict alone, as the studies had it."""

    rules: Literal["by_form", "math_verify"] = "by_form"
