"""The settings of a service: read from the environment and `.env`, with clear errors."""

import os
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from ._certificates import certificate_mistakes
from ._env_example import env_example
from ._mistakes import sentence
from ._settings import UpstreamSettings
from ._slips import meant_by
from ._variables import NESTED, group_of, variables


class SettingsError(Exception):
    """Settings that the service cannot start with.

    Its text is one sentence per variable, each on a separate line, and holds no value.
    """


class ServiceSettings(BaseSettings):
    """The settings of a service, by the lower-cased names of their environment variables.

    A subclass has a field with a `description` for each setting. An upstream is a field too, of
    type `UpstreamSettings` or a subclass, and its settings form a group: `ORDERS__BASE_URL` is
    `orders.base_url`. In production each upstream needs a `base_url`.

    A variable that is set but empty counts as not set. A name in `.env` that looks like a typo of a
    setting's name is refused. In the environment only typos of an upstream's settings are refused:
    other names belong to other programs, such as Compose.
    """

    model_config = SettingsConfigDict(
        enable_decoding=False,  # a value is never read as JSON, so each has one form
        env_file=".env",
        env_file_encoding="utf-8-sig",  # editors on Windows write a byte order mark
        env_ignore_empty=True,
        env_nested_delimiter=NESTED,
        env_nested_max_split=1,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # a wrong value may be a secret
        nested_model_default_partial_update=True,
    )

    environment: Literal["development", "production"] = Field(
        default="development",
        description="what the process is used for: development or production",
    )

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Return the settings of the environment and `.env`; `overrides` replace both.

        Raises:
            SettingsError: a variable is wrong, or `.env` or the certificates that the environment
                names cannot be read.
        """
        if wrong_certificates := certificate_mistakes():
            raise SettingsError("\n".join(wrong_certificates))
        given: dict[str, Any] = overrides
        try:
            return cls(**given)
        except UnicodeDecodeError as error:
            message = ".env is not UTF-8 text."
            raise SettingsError(message) from error
        except OSError as error:
            message = f".env cannot be read: {error.strerror}."
            raise SettingsError(message) from error
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_context=False, include_input=False)
            # A default may depend on earlier settings. If one of those is wrong, only that counts.
            mistakes = [each for each in wrong if each["type"] != "default_factory_not_called"]
        raise SettingsError("\n".join(sentence(mistake, cls) for mistake in mistakes))

    @classmethod
    def variables(cls) -> Mapping[str, FieldInfo]:
        """Return every setting by the lower-cased name of its environment variable."""
        return variables(cls)

    @classmethod
    def reads(cls, variable: str) -> bool:
        """Tell whether the settings depend on the environment variable of that name."""
        name = variable.lower()
        return name.partition(NESTED)[0] in cls.model_fields or cls._is_slip(name)

    @classmethod
    def env_example(cls, command: str) -> str:
        """Return the text of an `.env` that shows every setting with its default, and sets none.

        Args:
            command: the command that prints the text; the text names it.
        """
        return env_example(cls.model_construct(), command)

    @model_validator(mode="before")
    @classmethod
    def _with_names_that_are_meant(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Ignore other programs' names, and add names that look like an upstream's setting."""
        known = {*cls.model_fields, *variables(cls)}
        given = {name: value for name, value in values.items() if meant_by(name, known)}
        environment = {name.lower(): value for name, value in os.environ.items() if value}
        slips = {name: value for name, value in environment.items() if cls._is_slip(name)}
        return slips | given

    @model_validator(mode="before")
    @classmethod
    def _no_stub_in_production(cls, values: dict[str, Any]) -> dict[str, Any]:
        # Here and not in a validator of the group, which would not run with a mistake inside.
        default = cls.model_fields["environment"].default
        if values.get("environment", default) != "production":
            return values
        given = dict(values)
        for name, field in cls.model_fields.items():
            group = given.get(name, {})
            if issubclass(group_of(field) or object, UpstreamSettings) and isinstance(group, dict):
                given[name] = group | {"base_url": group.get("base_url") or ""}
        return given

    @classmethod
    def _is_slip(cls, name: str) -> bool:
        """Tell whether a name in the environment looks like a typo of a setting in a group.

        `ORDERS_BASE_URL` for `ORDERS__BASE_URL` would leave production without its upstream. These
        names are too long to be another program's. A name like `PORT` may well be.
        """
        known = variables(cls)
        if name in known or name.partition(NESTED)[0] in cls.model_fields:
            return False
        return meant_by(name, (each for each in known if NESTED in each)) is not None
