"""The `grading` keys: which rules say that an answer is right, and what answers that are programs may do."""

from typing import Literal

from src.common.base import Config
from src.grading.code import CodeConfig


class GradingConfig(Config):
    """By form (see `src.grading.rules`), or math-verify's verdict alone, as the studies had it."""

    rules: Literal["by_form", "math_verify"] = "by_form"
    code: CodeConfig = CodeConfig()
