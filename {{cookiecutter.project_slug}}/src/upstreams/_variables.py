"""The environment variables of a model of settings."""

from collections.abc import Mapping
from functools import cache

from pydantic import BaseModel
from pydantic.fields import FieldInfo

# Separates the name of a group of settings from the name of a setting: ORDERS__BASE_URL.
NESTED = "__"


@cache
def variables(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """Return the settings of `model` by the lower-cased names of their variables."""
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        if group := group_of(field):
            fields = group.model_fields.items()
            found |= {f"{name}{NESTED}{inner}": each for inner, each in fields}
        else:
            found[name] = field
    return found


def group_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a group of settings, `None` for a single one."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
