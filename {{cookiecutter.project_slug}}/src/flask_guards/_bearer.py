"""Admits callers by the token in their `Authorization` header (RFC 6750)."""

import re
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, cast

from flask import Flask, current_app, g, request
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from ._keys import KeysUnavailableError
from ._tokens import Caller, TokenError, TokenVerifier
from ._views import checked

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

P = ParamSpec("P")
T = TypeVar("T")

# The form of the credentials: RFC 6750 section 2.1. The scheme's case does not matter.
_CREDENTIALS = re.compile(r"bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)

_SCOPES = "__flask_guards_scopes__"


class _Bearer(NamedTuple):
    verifier: TokenVerifier
    found: Callable[[Caller], None] | None


# Seconds after which a caller may try again while the issuer's keys are unknown.
RETRY_AFTER = 10


def init_bearer(
    app: Flask, verifier: TokenVerifier, *, found: Callable[[Caller], None] | None = None
) -> None:
    """Let the views of `app` that `requires` guards accept the tokens that `verifier` accepts.

    `found` is called with the caller as soon as the token is verified: to log it, for example.
    """
    app.extensions[__name__] = _Bearer(verifier, found)


def requires(*scopes: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator for a view that only callers with all these `scopes` reach.

    Use it directly below the route, so that callers without permission get no other answer. An
    `async def` view stays async. In the view, `caller()` returns the caller.

    A caller without a token, or with a token that is not accepted, is answered 401. A caller
    without the scopes is answered 403. Both have `WWW-Authenticate` (RFC 6750 section 3). While the
    issuer's keys are unknown the answer is 503.
    """

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        guarded = checked(view, partial(_admit, scopes))
        setattr(guarded, _SCOPES, scopes)
        return guarded

    return decorate


def required_scopes(view: Callable[..., object]) -> tuple[str, ...] | None:
    """Return the scopes that a view requires; None if everybody may call it."""
    scopes: tuple[str, ...] | None = getattr(view, _SCOPES, None)
    return scopes


def caller() -> Caller:
    """Return the caller of the current request.

    Raises:
        LookupError: `requires` does not guard the view.
    """
    if (found := g.get("caller")) is None:
        message = "The request has no verified caller: the view needs `@requires(...)`."
        raise LookupError(message)
    return cast("Caller", found)


class Refusal(HTTPException):
    """A refusal with a challenge (RFC 9110 section 11.6.1), which error handlers keep."""

    def __init__(self, status: HTTPStatus, description: str, **parameters: str) -> None:
        super().__init__(description)
        self.code = status
        quoted = [f'{name}="{value}"' for name, value in parameters.items()]
        self._challenge = f"Bearer {', '.join(quoted)}".rstrip()

    def get_headers(
        self,
        environ: "WSGIEnvironment | None" = None,
        scope: dict[str, Any] | None = None,
    ) -> list[tuple[str, str]]:
        """Return the headers of the answer."""
        return [*super().get_headers(environ, scope), ("WWW-Authenticate", self._challenge)]


async def _admit(scopes: tuple[str, ...]) -> None:
    """Verify the caller's token, and check its scopes."""
    token = _token()
    bearer: _Bearer = current_app.extensions[__name__]
    try:
        found = await bearer.verifier.verify(token)
    except TokenError as error:
        reason = str(error)
    except KeysUnavailableError:
        detail = "The issuer's keys cannot be fetched now, so no token can be verified."
        raise ServiceUnavailable(detail, retry_after=RETRY_AFTER) from None
    else:
        g.caller, g.subject = found, found.subject
        if bearer.found is not None:
            bearer.found(found)
        if missing := [each for each in scopes if each not in found.scopes]:
            detail = f"The token lacks the scope {' '.join(missing)}."
            raise Refusal(
                HTTPStatus.FORBIDDEN, detail, error="insufficient_scope", scope=" ".join(scopes)
            )
        return
    # Not raised above, with an error as its context that others could log.
    raise Refusal(HTTPStatus.UNAUTHORIZED, reason, error="invalid_token", error_description=reason)


def _token() -> str:
    given = request.headers.get("Authorization", "")
    scheme, _, _ = given.partition(" ")
    if scheme.lower() != "bearer":
        # Without a token the challenge has no error code: RFC 6750 section 3.1.
        raise Refusal(HTTPStatus.UNAUTHORIZED, "The request needs a bearer token.")
    if (match := _CREDENTIALS.fullmatch(given)) is None:
        detail = "The Authorization header does not hold one bearer token."
        raise Refusal(
            HTTPStatus.BAD_REQUEST, detail, error="invalid_request", error_description=detail
        )
    return match[1]
