"""The `budget` keys: what one run may cost."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from src.common.base import Config
from src.common.errors import UserError


class LimitsConfig(Config):
    """Limits on time and money; null = none."""

    hours: float | None = Field(default=None, gt=0)
    usd: float | None = Field(default=None, gt=0)

    def reached(self, hours: float, usd: float) -> str | None:
        """Which limit that much would go beyond."""
        if self.hours is not None and hours >= self.hours:
            return f"budget.hours={self.hours:g}"
        if self.usd is not None and usd >= self.usd:
            return f"budget.usd={self.usd:g}"
        return None


def check_budget_left(limits: LimitsConfig, cost: Mapping[str, Any]) -> None:
    """Raise UserError if a run to continue has spent its budget. `cost` is that of its summary."""
    hours, usd = sum(cost.get("seconds", {}).values()) / 3600, cost.get("usd", 0.0)
    if limit := limits.reached(hours, usd):
        raise UserError(f"resume: the run has taken {hours:.2f} h and ${usd:.2f}, {limit} is spent; give a larger one")
