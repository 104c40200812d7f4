"""`sweep.stop_when`: end a study when what it forecasts is known well enough."""

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from src.common.base import Config
from src.common.errors import UserError

if TYPE_CHECKING:
    from src.scaling.curves import Study


class StopWhenConfig(Config):
    """Stop when the 95 % interval of the forecast loss is at most `width` wide for every size of every study, such as base
    and instruct models."""

    width: float = Field(gt=0, lt=1)  # of the loss, 0 to 1
    axis: Literal["compute", "data"] = "data"
    at: float | None = Field(default=None, gt=0)  # operations or prompts to forecast for; null = the most measured so far
    sizes: int = Field(default=3, ge=1)  # measured at least, before anything is forecast


def narrow_enough(config: StopWhenConfig, folder: Path) -> str | None:
    """Why the study in `folder` can end; None if its forecast is not narrow enough yet, or cannot be made."""
    from src.scaling.curves import read_studies

    try:
        studies, _, _ = read_studies(folder)
    except UserError:  # no finished run has a curve yet
        return None
    if min(len(study.sizes) for study in studies) < config.sizes:
        return None
    widths, places = zip(*(_widest(config, study) for study in studies), strict=True)
    if max(widths) > config.width:
        return None
    unit = "operations" if config.axis == "compute" else "prompts"
    return f"the loss forecast at {max(places):.3g} {unit} is known to {max(widths):.3g}, within stop_when.width={config.width:g}"


def _widest(config: StopWhenConfig, study: "Study") -> tuple[float, float]:
    """The width of the least certain size's forecast, and what it is a forecast for."""
    from src.scaling.forecast import width_of_last_loss

    reached = max((c.compute_T if config.axis == "compute" else c.data_T).max() for c in study.curves)
    at = config.at or float(reached)
    ends = [(each["low"], each["high"]) for each in width_of_last_loss(study, config.axis, at).values()]
    return max(inf if low is None or high is None else high - low for low, high in ends), at
