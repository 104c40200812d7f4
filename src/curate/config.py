"""A curation: its six steps in their order, each with its settings; a step that is null is left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator

from src.common.base import Config
from src.common.errors import UserError, nearest, refuse_unknown
from src.common.files import of_project
from src.config.faults import describe
from src.curate.difficulty import DifficultyConfig
from src.curate.draw import DrawConfig
from src.curate.duplicates import DuplicatesConfig
from src.curate.filters import FilterConfig
from src.curate.overlap import OverlapConfig
from src.curate.read import ReadConfig
from src.data.loaders import UNSET
from src.grading.config import GradingConfig

CURATIONS = of_project("curation")
STEPS = ("read", "duplicates", "overlap", "difficulty", "filter", "draw")


class CurateConfig(Config):
    """From raw problems to the pools of a run."""

    name: str
    data: str = ""  # a folder, for paths that name ${data}
    output: str  # folder; a step that is finished there is taken as it is
    read: ReadConfig
    duplicates: DuplicatesConfig | None
    overlap: OverlapConfig | None
    difficulty: DifficultyConfig | None
    filter: FilterConfig | None
    draw: DrawConfig | None
    grading: GradingConfig = GradingConfig()
    published: dict[str, int] = {}  # problems left after a step, as a publication counts them

    @field_validator("published")
    @classmethod
    def _steps(cls, published: dict[str, int]) -> dict[str, int]:
        refuse_unknown(published, STEPS, "step")
        return published

    def steps(self) -> dict[str, Config]:
        """The settings of the steps that are taken, in order."""
        return {step: getattr(self, step) for step in STEPS if getattr(self, step) is not None}


def load_config(curation: str, overrides: Sequence[str]) -> CurateConfig:
    """A curation by its name in curation/ or its path, changed by overrides such as `draw.seed=1`.

    Raises UserError with one line that names every fault.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if bare := [override for override in overrides if "=" not in override]:
        raise UserError(f"{bare[0]} sets nothing; write key=value, such as draw.seed=1")
    try:
        content = OmegaConf.load(_path(curation))
        merged = OmegaConf.merge(content, OmegaConf.from_dotlist(list(overrides)))
        if missing := _unset(OmegaConf.to_container(merged)):
            raise UserError(f"{missing[0]} is not set; add {missing[0]}=VALUE to the command")
        plain: Any = OmegaConf.to_container(merged, resolve=True)
        return parse({"name": Path(curation).stem, **plain})
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, OSError) as error:
        raise UserError(f"{curation}: {' '.join(str(error).split())}") from error


def parse(content: Mapping[str, Any]) -> CurateConfig:
    """Validate plain values. Raises UserError with one line that names every fault."""
    try:
        return CurateConfig.model_validate(content)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise UserError("; ".join(describe(CurateConfig, detail) for detail in faults)) from error


def _unset(content: Any, prefix: str = "") -> list[str]:
    """The keys that a curation leaves to the command line."""
    if isinstance(content, dict):
        return [key for name, value in content.items() for key in _unset(value, f"{prefix}{name}.")]
    return [prefix.removesuffix(".")] if content == UNSET else []


def _path(curation: str) -> Path:
    path = Path(curation)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"{curation} does not exist")
        return path
    if not (named := CURATIONS / f"{curation}.yaml").is_file():
        raise UserError(f"no curation is called {curation}; {nearest(curation, shipped())}")
    return named


def shipped() -> list[str]:
    """The names of the curations that come with the project."""
    return sorted(path.stem for path in CURATIONS.glob("*.yaml"))
