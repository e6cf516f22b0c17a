"""Settings of the guards, as fields of a pydantic model that a program reads at its start."""

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    ValidationInfo,
    field_validator,
)

from ._cors import origin
from ._hosts import host_name
from ._local_issuer import LOCAL_ISSUER
from ._rate_limits import limit_text
from ._tokens import ACCESS_TOKEN


def _hosts(value: str) -> str:
    return value if value in {"", "*"} else ",".join(map(host_name, value.split(",")))


def _origins(value: str) -> str:
    return ",".join(map(origin, value.split(","))) if value else ""


Hosts = Annotated[str, AfterValidator(_hosts)]
"""Names for `allowed_hosts`, separated by commas; `*` for all, or empty."""

LimitText = Annotated[str, AfterValidator(limit_text)]
"""A limit for `rate_limit`."""

Origins = Annotated[str, AfterValidator(_origins)]
"""Origins for `cors`, separated by commas, or empty."""


class AuthSettings(BaseModel):
    """The issuer whose tokens are accepted, and the audience that they must name.

    Use it as a field `auth` of a program's own settings: the variable `AUTH__ISSUER` is its issuer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    issuer: str = Field(
        default=LOCAL_ISSUER,
        description="the issuer of tokens, exactly as in the claim iss; required in production if "
        "a view requires a token; by default the local issuer, whose tokens `flask token` prints",
    )
    jwks_url: HttpUrl | None = Field(
        default=None,
        validate_default=True,
        description="the URL of the issuer's keys, the jwks_uri of its metadata",
    )
    audience: str = Field(
        default="",
        description="the audience that tokens must name in the claim aud; by default the name of "
        "the service",
    )
    token_type: str = Field(
        default=ACCESS_TOKEN,
        min_length=1,
        description="the typ that the header of tokens must have: at+jwt, or JWT for an issuer "
        "that does not send at+jwt",
    )

    @field_validator("jwks_url")
    @classmethod
    def _is_set_with_the_issuer(cls, value: HttpUrl | None, info: ValidationInfo) -> HttpUrl | None:
        if value is None and info.data.get("issuer", LOCAL_ISSUER) != LOCAL_ISSUER:
            message = "must be set when AUTH__ISSUER is"
            raise ValueError(message)
        return value
