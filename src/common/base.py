"""The base of every config class: frozen, strict about names, and able to list its own keys."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A config group. A key that no field has is an error, also behind Hydra's `+`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
