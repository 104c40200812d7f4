"""`sweep.stop_when`: end a study when what it forecasts is known well enough."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from src.base import Config
from src.errors import UserError


class StopWhenConfig(Config):
    """Stop when the 95 % interval of the forecast loss is at most `width` wide for every size."""

    width: float = Field(gt=0, lt=1)  # of the loss, 0 to 1
    axis: Literal["compute", "data"] = "data"
    at: float | None = Field(default=None, gt=0)  # operations or prompts to forecast for; null = the most measured so far
    sizes: int = Field(default=3, ge=1)  # measured at least, before anything is forecast


def narrow_enough(config: StopWhenConfig, folder: Path) -> str | None:
    """Why the study in `folder` can end; None if its forecast is not narrow enough yet, or cannot be made."""
    from src.scaling.curves import read_studies
    from src.scaling.forecast import width_of_last_loss

    try:
        studies, _, _ = read_studies(folder)
    except UserError:  # no finished run has a curve yet
        return None
    study = max(studies, key=lambda study: len(study.sizes))
    if len(study.sizes) < config.sizes:
        return None
    reached = max((c.compute_T if config.axis == "compute" else c.data_T).max() for c in study.curves)
    at = config.at or float(reached)
    forecast = width_of_last_loss(study, config.axis, at)
    widest = max(each["high"] - each["low"] for each in forecast.values())
    if widest > config.width:
        return None
    unit = "operations" if config.axis == "compute" else "prompts"
    return f"the loss forecast at {at:.3g} {unit} is known to {widest:.3g}, within stop_when.width={config.width:g}"
