"""httpx's transport over aiohttp: its own pool stands still with many calls in flight."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

import aiohttp
import httpx
from yarl import URL


class NotHTTP(httpx.RemoteProtocolError):
    """The reply is none that HTTP knows."""


# From the special to the general, as aiohttp's errors inherit from one another. Only the first two
# say for certain that the request has not reached the upstream.
_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),  # refused, no such name, TLS
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientConnectionResetError, httpx.WriteError),  # closed before all was sent
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),  # ended early, or badly framed
    (aiohttp.ClientResponseError, NotHTTP),
    (aiohttp.ClientError, httpx.ReadError),
)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Connections to upstreams for the loop it is made on, at most `max_connections` at a time.

    It takes the timeouts `pool`, `connect` and `read` of httpx.
    """

    def __init__(self, *, max_connections: int, tls: ssl.SSLContext) -> None:
        # aiohttp cannot tell a wait for its pool from a slow upstream, so that wait is here.
        self._slots = asyncio.Semaphore(max_connections)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),  # one user's cookies are not for the next
            auto_decompress=False,  # httpx does
            middlewares=[_with_httpx_errors],
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`, and return its response with the body still to be read.

        Raises `httpx.TransportError`.
        """
        timeout = request.extensions.get("timeout", {})
        content = await request.aread()
        await self._take_slot(timeout.get("pool"))
        try:
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=content or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    connect=timeout.get("connect"), sock_read=timeout.get("read")
                ),
            )
        except BaseException:
            self._slots.release()
            raise
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(response, self._slots.release),
            request=request,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def _take_slot(self, patience: float | None) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(patience):
                await self._slots.acquire()
        except TimeoutError as error:
            message = "no connection became free in time"
            raise httpx.PoolTimeout(message) from error


class _Body(httpx.AsyncByteStream):
    """The body of a response as it arrives; closed, it gives the connection back."""

    def __init__(self, response: aiohttp.ClientResponse, release: Callable[[], None]) -> None:
        self._response = response
        self._release = release

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._response.content.readany()
        except aiohttp.ClientError as error:
            _raise_httpx(error)
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        self._response.release()  # a connection with a body that was not read to its end closes
        self._release()


async def _with_httpx_errors(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    # A middleware and no `except` around the session's `request`: aiohttp would send an idempotent
    # request once more when its connection breaks, uncounted. It does so for its own errors only.
    try:
        return await send(request)
    except (aiohttp.ClientError, OSError) as error:
        _raise_httpx(error)


def _raise_httpx(error: Exception) -> NoReturn:
    for kind, httpx_kind in _ERRORS:
        if isinstance(error, kind):
            raise httpx_kind(str(error)) from error
    raise httpx.ReadError(str(error)) from error


def tls_context(base_url: str) -> ssl.SSLContext:
    """Return what checks the certificate of the server at `base_url`.

    Reading the trusted ones blocks for some 20 ms, so an upstream does it once, and not on a loop.
    `SSL_CERT_FILE` and `SSL_CERT_DIR` add to them.
    """
    # Plain HTTP needs none: this context trusts nobody.
    if httpx.URL(base_url).scheme == "https":
        return httpx.create_ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
