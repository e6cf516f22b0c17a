"""An issuer of tokens without a server: its keys, its tokens, and the number of fetches."""

import base64
import json
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from flask_guards import ACCESS_TOKEN, IssuerKeys, TokenVerifier

if TYPE_CHECKING:
    import asyncio

ISSUER = "https://login.example.com/"
AUDIENCE = "https://quotes.example.com"


@cache
def private_key(algorithm: str, number: int = 0) -> Any:  # noqa: ARG001 - tells keys apart
    """Return a key for tokens of an algorithm, always the same key for the same number."""
    if algorithm.startswith("ES"):
        return ec.generate_private_key(ec.SECP384R1() if "384" in algorithm else ec.SECP256R1())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def public_jwk(key: Any, algorithm: str, key_id: str | None) -> dict[str, Any]:
    """Return a public key in the form of a key set."""
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**made, "use": "sig"} | ({"kid": key_id} if key_id else {})


class Issuer:
    """Returns its key set, and signs tokens."""

    def __init__(self, algorithm: str = "ES256") -> None:
        self.algorithm = algorithm
        self.members: list[dict[str, Any]] = []
        self.fetches = 0
        self.failure: Exception | None = None
        self.is_held: asyncio.Event | None = None
        self.rotate("first")

    def rotate(self, key_id: str | None, *, keep: bool = False) -> None:
        """Sign with another key from now on, and forget the former key unless `keep`."""
        self.key_id = key_id
        self.key = private_key(self.algorithm, len(str(key_id)))
        former = self.members if keep else []
        self.members = [*former, public_jwk(self.key, self.algorithm, key_id)]

    async def fetch(self) -> bytes:
        """Return the key set, once the test allows it."""
        self.fetches += 1
        if self.is_held:
            await self.is_held.wait()
        if self.failure:
            raise self.failure
        return json.dumps({"keys": self.members}).encode()

    def keys(self, **options: float) -> IssuerKeys:
        """Return its keys as a service's `IssuerKeys`."""
        return IssuerKeys(self.fetch, **options)

    def verifier(self, **options: Any) -> TokenVerifier:
        """Return a verifier of its tokens."""
        options = {"issuer": ISSUER, "audience": AUDIENCE, **options}
        return TokenVerifier(options.pop("keys", None) or self.keys(), **options)

    def token(self, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token as in RFC 9068, changed by `claims`; a claim of None is left out."""
        now = int(time.time())
        standard = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "someone",
            "client_id": "a program",
            "iat": now,
            "exp": now + 600,
            "jti": "1",
        }
        payload = {name: value for name, value in (standard | claims).items() if value is not None}
        head = {"typ": ACCESS_TOKEN} | ({"kid": self.key_id} if self.key_id else {})
        return jwt.encode(payload, self.key, self.algorithm, headers={**head, **(header or {})})


def forged(header: dict[str, Any], payload: bytes | dict[str, Any], signature: bytes = b"") -> str:
    """Return a token of these parts, valid or not."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    parts = json.dumps(header).encode(), body, signature
    return ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts)
