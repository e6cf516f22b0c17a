"""Tokens of a real OpenID Connect provider, whose keys come over the network."""

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from flask_guards import IssuerKeys, TokenError, TokenVerifier
from upstreams import Upstream

from tests.serving import free_port, get, wait_until

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not importlib.util.find_spec("oidc_provider_mock"), reason="needs oidc-provider-mock"
    ),
]
CLIENT = ("a program", "its secret")
CALLBACK = "http://127.0.0.1:1/callback"


@contextmanager
def provider() -> Iterator[str]:
    """Run a provider, and yield its URL."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)]

    def answers() -> bool:
        with suppress(OSError):
            return get(port, "/jwks").status == 200
        return False

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(answers)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def id_token(base: str) -> str:
    """Log a user in with the authorization code flow (OpenID Connect Core section 3.1)."""
    query = {
        "response_type": "code",
        "client_id": CLIENT[0],
        "redirect_uri": CALLBACK,
        "scope": "openid",
        "state": "any",
    }
    with httpx.Client(base_url=base) as client:
        answer = client.post("/oauth2/authorize", params=query, data={"sub": "someone"})
        (code,) = parse_qs(urlsplit(answer.headers["Location"]).query)["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
        return str(client.post("/oauth2/token", data=form, auth=CLIENT).json()["id_token"])


def test_a_token_of_a_provider_is_accepted_for_its_audience_only() -> None:
    async def check(token: str, document: dict[str, str]) -> None:
        upstream = Upstream("issuer", document["jwks_uri"])

        async def fetch() -> bytes:
            return (await upstream.get("")).content

        async with upstream.open():
            options: Any
            keys, options = IssuerKeys(fetch), {"issuer": document["issuer"], "token_type": "JWT"}
            verifier = TokenVerifier(keys, audience=CLIENT[0], **options)
            assert (await verifier.verify(token)).subject == "someone"
            other = TokenVerifier(keys, audience="another", **options)
            with pytest.raises(TokenError, match="another audience"):
                await other.verify(token)

    with provider() as base:
        document = httpx.get(f"{base}/.well-known/openid-configuration").json()
        asyncio.run(check(id_token(base), document))
