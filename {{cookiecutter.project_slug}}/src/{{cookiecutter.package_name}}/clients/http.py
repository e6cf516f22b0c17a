"""One upstream over HTTP: pooled while the service runs, typed in its errors, shared safely."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from .errors import (
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)

# What escapes the mapping of the transport and the client when a reply is not HTTP, its body not
# in its encoding, its `Location` no URL, or its reason phrase no UTF-8.
_UNREADABLE = (
    aiohttp.ClientResponseError,
    httpx.DecodingError,
    httpx.InvalidURL,
    UnicodeError,
)


class Upstream:
    """A service that this one calls, and the connections to it.

    A pooled client belongs to the event loop it was opened on. Under ASGI every view runs on one
    loop, so the lifespan opens one pool per process. Under WSGI, the test client or a shell each
    async view gets a loop of its own, so there a client lives for one `async with`.

    `name` is what errors call it. `timeout` is for one whole call, in seconds. `transport` makes
    another way to reach it than a socket: the embedded stub, a test's fake.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        timeout: float,
        max_connections: int,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self.name = name
        self.base_url = base_url
        self.timeout = timeout
        self.max_connections = max_connections
        self._transport = transport or self._aiohttp_transport
        self._tls = _tls_context(base_url)
        self._pooled: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Pool connections on the running loop until the block ends; for the lifespan."""
        if self._pooled is not None:
            message = f"upstream {self.name} is open already"
            raise RuntimeError(message)
        async with self._connect() as client:
            self._pooled = (asyncio.get_running_loop(), client)
            try:
                yield
            finally:
                self._pooled = None

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """Give the running loop's pooled client, or one that lives as long as the block."""
        if self._pooled is not None and self._pooled[0] is asyncio.get_running_loop():
            yield self._pooled[1]
        else:
            async with self._connect() as client:
                yield client

    async def get(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Return the 2xx reply to `GET base_url/path`, read to its end.

        Raises an `UpstreamError` when there is none, and nothing else that an upstream can cause.
        """
        try:
            # The phases below bound each wait; this bounds their sum, and so a trickling reply.
            async with asyncio.timeout(self.timeout), self.client() as client:
                response = await client.get(path, params=params, headers=headers)
        except (TimeoutError, httpx.HTTPError, aiohttp.ClientError, *_UNREADABLE) as error:
            raise self._typed(error) from error
        return self._accepted(response)

    def _connect(self) -> httpx.AsyncClient:
        # Connecting, or waiting for a free connection, may use up half of a call's time: a later
        # start leaves too little for a reply.
        timeout = httpx.Timeout(self.timeout, connect=self.timeout / 2, pool=self.timeout / 2)
        return httpx.AsyncClient(
            base_url=self.base_url,
            transport=self._transport(),
            timeout=timeout,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            follow_redirects=False,
            trust_env=False,
        )

    def _aiohttp_transport(self) -> AiohttpTransport:
        return AiohttpTransport(verify=self._tls, client=self._session)

    def _session(self) -> aiohttp.ClientSession:
        # Left to itself the transport makes a session that stores cookies, and so hands one
        # user's to the next. httpx has a jar of its own, closed above.
        connector = aiohttp.TCPConnector(limit=self.max_connections, ssl=self._tls)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    def _typed(self, error: Exception) -> UpstreamError:
        # httpx-aiohttp 0.2 calls a refused connection a timeout; the cause tells the truth.
        cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
        if isinstance(cause, (TimeoutError, httpx.TimeoutException)):
            return UpstreamTimeout(self.name, "did not answer in time")
        if isinstance(cause, _UNREADABLE):
            return UpstreamInvalid(self.name, "sent a reply that cannot be read")
        return UpstreamUnavailable(self.name, "cannot be reached or broke off its reply")

    def _accepted(self, response: httpx.Response) -> httpx.Response:
        detail = f"answered {response.status_code}"
        if response.is_success:
            return response
        if response.is_server_error or response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise UpstreamUnavailable(self.name, detail)
        if response.is_client_error:
            raise UpstreamRejected(self.name, detail)
        raise UpstreamInvalid(self.name, detail)


def _tls_context(base_url: str) -> ssl.SSLContext:
    # Reading the certificates blocks for some 20 ms, so it happens here, once, and not on the loop.
    # Plain HTTP needs none: its context trusts nobody.
    if httpx.URL(base_url).scheme == "https":
        return httpx.create_ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
