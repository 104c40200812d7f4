"""The base of every config class: frozen, strict about names, and able to list its own keys."""

from functools import reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

# That Python, NumPy, torch and vLLM all take.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Config(BaseModel):
    """A config group. A key that no field has is an error, also behind Hydra's `+`; so are infinity and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


class Choice(Config):
    """A config class of several kinds: subclasses, each with its name as the one literal that `chosen_by` may hold.

    A field of this type takes any of them; to define a subclass is all that adds one. The kinds are those that are defined
    when the class with such a field is.
    """

    model_config = ConfigDict(defer_build=True)  # until the kinds are defined
    chosen_by: ClassVar[str]  # a key

    @classmethod
    def kinds(cls) -> dict[str, type[Self]]:
        """The classes that may be meant, by name."""
        field = cls.model_fields.get(cls.chosen_by)
        own = {get_args(field.annotation)[0]: cls} if field else {}
        return own | {name: kind for subclass in cls.__subclasses__() for name, kind in subclass.kinds().items()}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kinds = tuple(cls.kinds().values())
        if kinds in ((), (cls,)):
            return handler(source)
        return handler.generate_schema(Annotated[reduce(or_, kinds), Field(discriminator=cls.chosen_by)])


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
