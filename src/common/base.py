"""The base of every config class: frozen, strict about names, and able to list its own keys."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

# That Python, NumPy, torch and vLLM all take.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Config(BaseModel):
    """A config group. A key that no field has is an error, also behind Hydra's `+`; so are infinity and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


def _file_name(name: str) -> str:
    if not name.isprintable() or not name.strip() or name.startswith(".") or set(name) & set("/\\") or len(name) > LONGEST_NAME:
        raise ValueError(
            f"{name[:50]!r} must be fit for a file's name: up to {LONGEST_NAME} characters, no slash, no dot at its beginning"
        )
    return name


def _path_below(name: str) -> str:
    for part in name.split("/"):
        _file_name(part)
    return name


LONGEST_NAME = 100  # characters: file systems take 255 bytes, endings and stamps included
FileName = Annotated[str, AfterValidator(_file_name)]
PathBelow = Annotated[str, AfterValidator(_path_below)]  # of names with slashes between them, that leads out of no folder
