"""Settings of the guards, as fields of a pydantic model that a program reads at its start."""

from collections.abc import Callable
from typing import Annotated

from flask import Flask
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    ValidationInfo,
    field_validator,
)

from ._bearer import init_bearer
from ._cors import origin
from ._hosts import host_name
from ._keys import Fetch, IssuerKeys
from ._local_issuer import LOCAL_ISSUER, LocalIssuer, token_command
from ._rate_limits import limit_text
from ._tokens import ACCESS_TOKEN, Caller, TokenVerifier


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

    @property
    def is_local(self) -> bool:
        """Whether the tokens are those of the local issuer, which everybody can make."""
        return self.issuer == LOCAL_ISSUER

    def init_app(
        self,
        app: Flask,
        fetch: Fetch | None = None,
        *,
        found: Callable[[Caller], None] | None = None,
    ) -> None:
        """Let guarded views of `app` accept the issuer's tokens; add the command `flask token`.

        Args:
            app: the Flask application.
            fetch: fetches the issuer's keys; see `IssuerKeys`. None for the local issuer.
            found: see `init_bearer`.
        """
        audience = self.audience or app.name
        verifier = TokenVerifier(
            IssuerKeys(fetch or LocalIssuer(audience).fetch),
            issuer=self.issuer,
            audience=audience,
            token_type=self.token_type,
        )
        init_bearer(app, verifier, found=found)
        app.cli.add_command(token_command(self.issuer, audience))
