"""An issuer of tokens for development and tests, whose private key everybody knows."""

import hashlib
import json
import time
import uuid
from collections.abc import Collection

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
