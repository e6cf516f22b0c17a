"""Authentication of a call: the flows of httpx, over this client."""

import asyncio
import base64
import gzip
from collections.abc import AsyncGenerator, Generator
from typing import Any

import httpx
import pytest
from upstreams import UpstreamInvalid, UpstreamUnavailable

from .fake_upstream import BODY, http_reply, serve
from .helpers import calling

pytestmark = pytest.mark.anyio


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def bearer(request: httpx.Request) -> httpx.Request:
    request.headers["Authorization"] = "Bearer a"
    return request


@pytest.mark.parametrize(
    ("auth", "sent"),
    [
        (("us:er", "p"), basic("us:er", "p")),
        ((b"user", b"p"), basic("user", "p")),
        (httpx.BasicAuth("user", "p"), basic("user", "p")),
        (bearer, "Bearer a"),
        (None, None),
    ],
)
async def test_credentials_are_sent(auth: Any, sent: str | None) -> None:  # noqa: ANN401
    async with serve() as served, calling(served) as upstream:
        await upstream.get("/", auth=auth)
        await upstream.post("/", auth=auth, json=1)
        async with upstream.stream("GET", "/", auth=auth) as response:
            assert await response.aread() == BODY

    assert served.headers("Authorization") == [sent] * 3


async def test_credentials_of_a_call_replace_those_of_the_base_url() -> None:
    async with serve() as served:
        served.base_url = served.base_url.replace("http://", "http://base:b@")
        async with calling(served) as upstream:
            await upstream.get("/", auth=("user", "p"))
            await upstream.get("/")

    assert served.headers("Authorization") == [basic("user", "p"), basic("base", "b")]


CHALLENGE = http_reply(
    b"", 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5', status=401
)


async def test_a_challenge_is_answered_within_one_try() -> None:
    async with serve() as served, calling(served) as upstream:
        served.plan.append(CHALLENGE)
        response = await upstream.post("/", auth=httpx.DigestAuth("user", "p"), content=b"body")

    first, second = served.headers("Authorization")
    assert response.is_success
    assert first is None
    assert second is not None
    assert second.startswith('Digest username="user"')
    assert served.bodies == [b"body", b"body"]


class Token(httpx.Auth):
    """Fetches a token first, as OAuth clients do."""

    requires_response_body = True

    def __init__(self, address: str) -> None:
        self.address = address

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Request a token, then send the request with it."""
        response = yield httpx.Request("POST", f"{self.address}/token")
        request.headers["Authorization"] = f"Bearer {response.text}"
        yield request


async def test_a_flow_may_read_a_reply_and_ask_another_host() -> None:
    async with (
        serve(http_reply(gzip.compress(b"t"), "Content-Encoding: gzip")) as issuer,
        serve() as served,
    ):
        served.base_url = served.base_url.replace("http://", "http://base:b@")
        async with calling(served) as upstream:
            response = await upstream.get("/", auth=Token(issuer.base_url))
            async with upstream.stream("GET", "/", auth=Token(issuer.base_url)) as streamed:
                assert await streamed.aread() == BODY

    assert response.content == BODY
    assert served.headers("Authorization") == ["Bearer t"] * 2
    assert issuer.headers("Authorization") == [None] * 2, "the issuer got credentials"


async def test_a_decompression_bomb_of_an_issuer_is_refused() -> None:
    bomb = http_reply(gzip.compress(bytes(10_000_000)), "Content-Encoding: gzip")
    async with (
        serve(bomb) as issuer,
        serve() as served,
        calling(served, max_response_bytes=1000) as upstream,
    ):
        with pytest.raises(UpstreamInvalid, match="sent more than 1000 bytes"):
            await upstream.get("/", auth=Token(issuer.base_url))

    assert served.requests == 0


async def test_an_async_flow_is_used() -> None:
    class Later(httpx.Auth):
        async def async_auth_flow(
            self, request: httpx.Request
        ) -> AsyncGenerator[httpx.Request, httpx.Response]:
            await asyncio.sleep(0)
            request.headers["Authorization"] = "Bearer later"
            yield request

    async with serve() as served, calling(served) as upstream:
        await upstream.get("/", auth=Later())

    assert served.headers("Authorization") == ["Bearer later"]


async def test_a_flow_for_sync_clients_only_is_refused_and_not_skipped() -> None:
    class Blocking(httpx.Auth):
        def sync_auth_flow(
            self, request: httpx.Request
        ) -> Generator[httpx.Request, httpx.Response, None]:
            yield request

    async with serve() as served, calling(served) as upstream:
        with pytest.raises(TypeError, match="Blocking has only sync_auth_flow"):
            await upstream.get("/", auth=Blocking())
        nonsense: Any = "token"
        with pytest.raises(TypeError, match="auth must be a user and password"):
            await upstream.get("/", auth=nonsense)

    assert served.requests == 0


async def test_every_retry_restarts_the_flow_with_the_original_request() -> None:
    seen: list[list[str]] = []

    def note(request: httpx.Request) -> httpx.Request:
        seen.append(request.headers.get_list("X-Note"))
        request.headers["X-Note"] = "noted"
        return request

    async with serve() as served, calling(served) as upstream:
        with pytest.raises(UpstreamUnavailable):
            await upstream.get("/503", auth=note)

    assert seen == [[], [], []]
    assert served.requests == 3


async def test_a_bug_in_a_flow_is_raised_unchanged_and_releases_its_slot() -> None:
    class Broken(httpx.Auth):
        def auth_flow(
            self, request: httpx.Request
        ) -> Generator[httpx.Request, httpx.Response, None]:
            yield request
            raise ZeroDivisionError

    async with serve() as served, calling(served, max_connections=1) as upstream:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await upstream.get("/", auth=Broken())
        await upstream.get("/")
