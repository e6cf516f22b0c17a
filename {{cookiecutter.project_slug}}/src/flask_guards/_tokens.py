"""Checks the access tokens of callers: JSON Web Tokens (RFC 7519), by the rules of RFC 9068."""

import hashlib
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from ._keys import IssuerKeys

# The asymmetric ones: RFC 7518 section 3.1, and RFC 8037 section 3.1. Never `none`, and never an
# algorithm with a shared secret: it would use a public key as the secret (RFC 8725 section 2.1).
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")

# The required claims of an access token: RFC 9068 section 2.2.
CLAIMS = ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")
# The claims that are required if the issuer does not follow RFC 9068.
LEAST_CLAIMS = ("iss", "exp", "aud", "sub")

ACCESS_TOKEN = "at+jwt"  # noqa: S105 - the type in the header, RFC 9068 section 2.1

LONGEST_TOKEN = 8192  # characters; servers take headers of about this size
MOST_REMEMBERED = 1000  # tokens

# The message for the client, by the error that PyJWT raises.
_REASONS: list[tuple[type[Exception], str]] = [
    (jwt.ExpiredSignatureError, "The token has expired."),
    (jwt.ImmatureSignatureError, "The token is not valid yet."),
    (jwt.InvalidSignatureError, "The signature of the token is wrong."),
    (jwt.InvalidAudienceError, "The token is for another audience."),
    (jwt.InvalidIssuerError, "The token is from another issuer."),
    (jwt.MissingRequiredClaimError, "The token lacks a claim that is required."),
]


class TokenError(Exception):
    """The token is not accepted. The client may read the text, which holds no part of the token."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller, as the token describes it."""

    subject: str
    """A user, or the client if it calls on its own behalf: the claim `sub`."""
    client: str | None
    """The program that calls: the claim `client_id`, otherwise `azp`."""
    scopes: frozenset[str]
    """The caller's permissions: the claim `scope` (RFC 8693 section 4.2), otherwise `scp`."""
    claims: Mapping[str, Any]
    """All claims."""


class TokenVerifier:
    """Checks tokens of one issuer, for one audience.

    An accepted token is remembered for a while by its hash, because checking a signature takes
    about 0.1 to 0.5 ms.

    Args:
        keys: the issuer's keys.
        issuer: the issuer, exactly as tokens name it.
        audience: the audience that tokens must name: this service.
        algorithms: the algorithms that may sign tokens.
        token_type: the type that tokens must have in their header. With `ACCESS_TOKEN` a token
            needs all claims of RFC 9068; with another type, such as `"JWT"`, those of
            `LEAST_CLAIMS`. Beware that an issuer may give the type `"JWT"` to ID tokens as well:
            these must be for another audience.
        leeway: seconds by which the clocks of the issuer and of this service may differ.
        remember_for: how long an accepted token is not checked again, in seconds. It stays accepted
            for up to this time after the issuer has withdrawn its key.

    Raises:
        ValueError: one of the algorithms is not in `ALGORITHMS`.
    """

    def __init__(  # noqa: PLR0913 - each is what a team has to decide
        self,
        keys: IssuerKeys,
        *,
        issuer: str,
        audience: str,
        algorithms: Collection[str] = ALGORITHMS,
        token_type: str = ACCESS_TOKEN,
        leeway: float = 30,
        remember_for: float = 60,
    ) -> None:
        if wrong := {*algorithms} - {*ALGORITHMS}:
            message = f"algorithms: {sorted(wrong)}; accepted: {', '.join(ALGORITHMS)}"
            raise ValueError(message)
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._algorithms = frozenset(algorithms)
        self._type = _short(token_type)
        self._required = [*(CLAIMS if self._type == ACCESS_TOKEN else LEAST_CLAIMS)]
        self._leeway = leeway
        self._remember_for = remember_for
        self._remembered: dict[bytes, tuple[Caller, float]] = {}

    async def verify(self, token: str) -> Caller:
        """Return the caller that this `token` names.

        Raises:
            TokenError: the token is not accepted.
            KeysUnavailableError: the issuer's keys are not known now.
        """
        if len(token) > LONGEST_TOKEN:
            message = "The token is too long."
            raise TokenError(message)
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        caller, until = self._remembered.get(digest, (None, 0.0))
        if caller is not None and time.time() < until:
            return caller
        claims = await self._checked(token)
        caller = Caller(claims["sub"], _client(claims), _scopes(claims), claims)
        self._remember(digest, caller, claims["exp"])
        return caller

    async def _checked(self, token: str) -> dict[str, Any]:
        header = _parsed(jwt.get_unverified_header, token)
        algorithm, kind = header.get("alg"), header.get("typ", "")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            message = "The algorithm of the token is not accepted."
            raise TokenError(message)
        if not isinstance(kind, str) or _short(kind) != self._type:
            message = f"The token is not of the type {self._type}."
            raise TokenError(message)
        key = await self._keys.find(header.get("kid"), algorithm)
        if key is None:
            message = "The key of the token is unknown."
            raise TokenError(message)
        claims: dict[str, Any] = _parsed(
            jwt.decode,
            token,
            key,
            algorithms=[algorithm],
            audience=self._audience,
            issuer=self._issuer,
            leeway=self._leeway,
            options={"require": self._required, "enforce_minimum_key_length": True},
        )
        if not claims["sub"]:
            message = "The subject of the token is empty."
            raise TokenError(message)
        return claims

    def _remember(self, digest: bytes, caller: Caller, ends_at: float) -> None:
        while len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        # Moved to the end if it is already there, so that the first entry is always the oldest.
        self._remembered.pop(digest, None)
        # A comparison accepts an integer of any size; adding a float to a huge integer fails.
        until = min(int(ends_at), time.time() + self._remember_for - self._leeway) + self._leeway
        self._remembered[digest] = caller, until


def _parsed(parse: Any, token: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as `parse`
    """Return the result of a function of PyJWT for a token."""
    try:
        return parse(token, *args, **options)
    except Exception as error:  # noqa: BLE001 - numbers without end, deep JSON: whatever was forged
        reason = next((text for kind, text in _REASONS if isinstance(error, kind)), None)
    # Not raised above, with `error` as its context: it may hold the token.
    raise TokenError(reason or "The token is malformed.")


def _short(kind: str) -> str:
    """Return a media type without `application/`, which may be left out: RFC 7515 section 4.1.9."""
    return kind.lower().removeprefix("application/")


def _client(claims: Mapping[str, Any]) -> str | None:
    client = claims.get("client_id") or claims.get("azp")
    return client if isinstance(client, str) else None


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    scopes = claims.get("scope") or claims.get("scp") or ""
    names = scopes.split(" ") if isinstance(scopes, str) else scopes
    if not isinstance(names, list):
        return frozenset()
    return frozenset(each for each in names if isinstance(each, str) and each)
