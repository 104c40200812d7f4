"""The base of every config class: frozen, strict about names, and able to list its own keys."""

from functools import reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema


class Config(BaseModel):
    """A config group. A key that no field has is an error, also behind Hydra's `+`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


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
