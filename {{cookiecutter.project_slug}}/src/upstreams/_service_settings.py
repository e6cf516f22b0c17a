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

    As text it is one sentence per variable, each on its own line, and holds no value.
    """


class ServiceSettings(BaseSettings):
    """The settings of a service, by the lower-cased names of their environment variables.

    A subclass has a field with a `description` for each. Upstreams are fields too, of
    `UpstreamSettings` or a subclass of it, and form a group: `ORDERS__BASE_URL` is
    `orders.base_url`. In production each needs a `base_url`.

    A variable that is set but empty counts as not set. A name in `.env` that looks like a slip for
    that of a setting is refused, and one in the environment that looks like an upstream's; others
    are another program's, such as Compose's.
    """

    model_config = SettingsConfigDict(
        enable_decoding=False,  # a value is never read as JSON: one way to set each
        env_file=".env",
        env_file_encoding="utf-8-sig",  # editors on Windows put a mark in front
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
        """Return the settings of the environment and `.env`; `overrides` go before both.

        Raises:
            SettingsError: a variable is wrong, `.env` cannot be read, or the certificates of the
                environment cannot.
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
            # The default of a setting may need those before it: that is no mistake of its own.
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
            command: what prints the text; it says so itself.
        """
        return env_example(cls.model_construct(), command)

    @model_validator(mode="before")
    @classmethod
    def _with_names_that_are_meant(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Pass over what is another program's, and add what looks like an upstream's setting."""
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
        """Tell whether a name in the environment looks like that of a setting in a group.

        `ORDERS_BASE_URL` for `ORDERS__BASE_URL` would send production nowhere. These names are too
        long to be another program's; one that looks like `PORT` may well be.
        """
        known = variables(cls)
        if name in known or name.partition(NESTED)[0] in cls.model_fields:
            return False
        return meant_by(name, (each for each in known if NESTED in each)) is not None
