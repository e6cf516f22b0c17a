"""httpx's transport over aiohttp: its own pool stands still with many calls in flight."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from ._certificates import trust


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

# What a header of a reply may hold, in bytes a line and in lines. aiohttp's own 8190 and 128 are
# less than some services send: long cookies, a `Link` for each page, a policy for each browser.
MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 512


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Connections to an upstream for the loop it is made on.

    It opens as many as it has calls at a time: `slots.py` bounds those. It takes the timeouts
    `connect` and `read` of httpx. `authorization` is sent with requests that have none of their
    own.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        authorization: str | None = None,
        max_header_bytes: int = MAX_HEADER_BYTES,
        max_headers: int = MAX_HEADERS,
    ) -> None:
        self._authorization = authorization
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=0, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),  # one user's cookies are not for the next
            auto_decompress=False,  # `decoding.py` does, within bounds
            middlewares=[_with_httpx_errors],
            max_line_size=max_header_bytes,
            max_field_size=max_header_bytes,
            max_headers=max_headers,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`, and return its response with the body still to be read.

        Raises `httpx.TransportError`, without the address and without aiohttp's error.
        """
        timeout = request.extensions.get("timeout", {})
        content = await request.aread()
        headers = request.headers.multi_items()
        if self._authorization is not None and "Authorization" not in request.headers:
            headers.append(("Authorization", self._authorization))
        response = await self._session.request(
            request.method,
            URL(str(request.url), encoded=True),
            headers=headers,
            data=content or None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                connect=timeout.get("connect"), sock_read=timeout.get("read")
            ),
        )
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(response),
            request=request,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()


class _Body(httpx.AsyncByteStream):
    """The body of a response as it arrives; closed, it gives the connection back."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._response.content.readany()
        except aiohttp.ClientError as error:
            raise _as_httpx(error) from None
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        self._response.release()  # a connection with a body that was not read to its end closes


class _Connector(aiohttp.TCPConnector):
    """Makes connections of `_Handler`, and leaves nothing of one that is given up on its way.

    Neither is part of aiohttp's public API; a test notices when they are gone.
    """

    def __init__(self, *, limit: int, ssl: ssl.SSLContext) -> None:
        super().__init__(limit=limit, ssl=ssl)
        handler: type[ResponseHandler] = _Handler
        self._factory = partial(handler, loop=asyncio.get_running_loop())

    async def _wrap_create_connection(
        self,
        *args: Any,  # noqa: ANN401 - aiohttp's signature, to pass on
        **kwargs: Any,  # noqa: ANN401
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        made: list[ResponseHandler] = []

        def make() -> ResponseHandler:
            made.append(self._factory())
            return made[0]

        try:
            return await super()._wrap_create_connection(make, *args[1:], **kwargs)
        except BaseException:
            # uvloop forgets to tell it, and it and its transport would hold each other, and the
            # context of the request.
            for handler in made:
                handler.close()
            raise


# The statuses of replies without a body, as they are in a status line: RFC 9112 section 6.3.
_BODILESS = (b"204", b"304")


class _Handler(ResponseHandler):
    """Keeps a reply that has no body when something follows it, and the connection no longer.

    aiohttp would lose the reply: its parser takes what follows for the next one, and fails. So a
    DELETE that succeeded would seem to have failed.
    """

    def data_received(self, data: bytes) -> None:
        if self._skip_payload or data[9:12] in _BODILESS:
            head, end, rest = data.partition(b"\r\n\r\n")
            if rest or (end and _promises_body(head) and not self._skip_payload):
                super().data_received(head + end)
                self._should_close = True
                return
        super().data_received(data)


def _promises_body(head: bytes) -> bool:
    names = head.lower()
    return b"\ncontent-length:" in names or b"\ntransfer-encoding:" in names


async def _with_httpx_errors(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    # A middleware and no `except` around the session's `request`: aiohttp would send an idempotent
    # request once more when its connection breaks, uncounted. It does so for its own errors only.
    try:
        return await send(request)
    except (aiohttp.ClientError, OSError) as error:
        raise _as_httpx(error) from None


def _as_httpx(error: Exception) -> httpx.TransportError:
    kinds = (httpx_kind for kind, httpx_kind in _ERRORS if isinstance(error, kind))
    reason = _reason(error)
    _forget(error)
    return next(kinds, httpx.ReadError)(reason)


def _reason(error: Exception) -> str:
    """Return what went wrong, in words that hold no address: aiohttp's own may hold the URL."""
    system = getattr(error, "os_error", error)
    if isinstance(system, ssl.SSLCertVerificationError):
        return f"{type(error).__name__}: {system.verify_message}"
    if isinstance(system, OSError) and system.errno and system.strerror:
        return f"{type(error).__name__}: {type(system).__name__} {system.errno}"
    return type(error).__name__


def _forget(error: BaseException | None) -> None:
    """Take their tracebacks from an error and from those behind it.

    aiohttp's frames hold the connection, and the connection its error: only the collector of
    cyclic garbage would free them.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        waiting += [each.__cause__, each.__context__, getattr(each, "os_error", None)]
        each.__traceback__ = each.__cause__ = each.__context__ = None


def tls_context(base_url: str) -> ssl.SSLContext:
    """Return what checks the certificate of the server at `base_url`.

    Reading the trusted ones blocks for some 20 ms, so an upstream does it once, and not on a loop.
    They are the public ones (certifi's), and those in `SSL_CERT_FILE` and `SSL_CERT_DIR`, which
    `settings.py` has checked.
    """
    # Plain HTTP needs none: this context trusts nobody.
    if httpx.URL(base_url).scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = httpx.create_ssl_context(trust_env=False)
    trust(context)
    return context
