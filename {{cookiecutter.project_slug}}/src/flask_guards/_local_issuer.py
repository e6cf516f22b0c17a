"""An issuer of tokens for development and tests, whose private key everybody knows."""

import hashlib
import json
import sys
import time
import uuid
from collections.abc import Collection

import click
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ._tokens import ACCESS_TOKEN

LOCAL_ISSUER = "urn:local-issuer"

_ALGORITHM = "EdDSA"


class LocalIssuer:
    """Signs tokens without a server. Never accept its tokens in production.

    Its key is derived from the `audience`, so that two processes share it: a command prints a
    token, and the running service accepts it. Anybody who knows the audience can make tokens.
    """

    def __init__(self, audience: str) -> None:
        self._audience = audience
        seed = hashlib.sha256(f"{LOCAL_ISSUER} {audience}".encode()).digest()
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    async def fetch(self) -> bytes:
        """Return the key set, for `IssuerKeys`."""
        algorithm = jwt.get_algorithm_by_name(_ALGORITHM)
        member = algorithm.to_jwk(self._key.public_key(), as_dict=True)
        return json.dumps({"keys": [{**member, "kid": "local", "use": "sig"}]}).encode()

    def token(
        self, subject: str = "developer", *, scopes: Collection[str] = (), lasts: int = 3600
    ) -> str:
        """Return a token for this audience, valid for `lasts` seconds."""
        now = int(time.time())
        claims = {
            "iss": LOCAL_ISSUER,
            "aud": self._audience,
            "sub": subject,
            "client_id": "local",
            "scope": " ".join(scopes),
            "iat": now,
            "exp": now + lasts,
            "jti": uuid.uuid4().hex,
        }
        headers = {"typ": ACCESS_TOKEN, "kid": "local"}
        return jwt.encode(claims, self._key, _ALGORITHM, headers)


def token_command(issuer: str, audience: str) -> click.Command:
    """Return a command `token` that prints a token of the local issuer for this `audience`.

    If the program accepts the tokens of another `issuer`, the command ends with an error.
    """

    @click.command("token")
    @click.option("--scope", "scopes", multiple=True, help="A scope to allow; may be repeated.")
    @click.option("--subject", default="developer", show_default=True, help="The caller's name.")
    def print_token(scopes: tuple[str, ...], subject: str) -> None:
        """Print a token of the local issuer, valid for an hour."""
        if issuer != LOCAL_ISSUER:
            message = f"This service accepts the tokens of {issuer} only; ask that issuer for one."
            raise click.ClickException(message)
        sys.stdout.write(f"{LocalIssuer(audience).token(subject, scopes=scopes)}\n")

    return print_token
