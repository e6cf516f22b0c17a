"""The names of the environment variables of a model of settings."""

from pydantic import BaseModel
from upstreams._variables import group_of, variables


class Group(BaseModel):
    """Two settings."""

    one: int = 1
    other: int = 2


class Model(BaseModel):
    """A setting, and a group in each way to write it."""

    single: int = 0
    group: Group = Group()
    required: Group


def test_a_group_is_listed_by_its_parts() -> None:
    parts = ["group__one", "group__other", "required__one", "required__other"]

    assert [*variables(Model)] == ["single", *parts]
    assert variables(Model)["group__other"].default == 2


def test_only_a_model_is_a_group() -> None:
    assert group_of(Model.model_fields["single"]) is None
    assert group_of(Model.model_fields["required"]) is Group
