"""How completions are graded."""

from src.common.base import Config
from src.grading.code import CodeConfig


class GradingConfig(Config):
    code: CodeConfig = CodeConfig()
