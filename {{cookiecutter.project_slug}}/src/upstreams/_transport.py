"""HTTP transport of httpx over aiohttp: httpx's own pool stalls with many calls in flight."""

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
from ._urls import origin


class NotHTTP(httpx.RemoteProtocolError):
    """The reply is not HTTP."""


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

# Limits of a reply's header: bytes of a line, and lines. aiohttp's own 8190 and 128 are less than
# some services send: long cookies, a `Link` for each page, a policy for each browser.
MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 512


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Connections to an upstream, for the event loop on which this is made.

    The number of connections is that of the calls at a time, which `Slots` limits. Of httpx's
    timeouts it obeys `connect` and `read`. `authorization` completes requests to `base_url` that
    have no `Authorization`; no other host gets it.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        base_url: httpx.URL | None = None,
        authorization: str | None = None,
        max_header_bytes: int = MAX_HEADER_BYTES,
        max_headers: int = MAX_HEADERS,
    ) -> None:
        self._authorization = authorization
        self._origin = None if base_url is None else origin(base_url)
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=0, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),  # one user's cookies are not for the next
            auto_decompress=False,  # `_decoding` does, within limits
            middlewares=[_with_httpx_errors],
            skip_auto_headers=["Content-Type"],
            max_line_size=max_header_bytes,
            max_field_size=max_header_bytes,
            max_headers=max_headers,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`, and return its response with the body still to be read.

        Raises `httpx.TransportError`, without the address and without aiohttp's error, and what an
        asynchronous iterable that is sent as the body raises.
        """
        headers = request.headers.multi_items()
        if (
            self._authorization is not None
            and "Authorization" not in request.headers
            and origin(request.url) == self._origin
        ):
            headers.append(("Authorization", self._authorization))
        stream = request.stream
        if isinstance(stream, httpx.ByteStream):
            content = b"".join(stream)
            response = await self._send(request, headers, content or None)
        elif isinstance(stream, httpx.AsyncByteStream):
            response = await self._send_as_made(request, headers, stream)
        else:
            message = "the body is a synchronous iterator: it would block the event loop"
            raise TypeError(message)
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(response),
            request=request,
        )

    async def _send(
        self, request: httpx.Request, headers: list[tuple[str, str]], data: "bytes | _Sent | None"
    ) -> aiohttp.ClientResponse:
        timeout = request.extensions.get("timeout", {})
        return await self._session.request(
            request.method,
            URL(str(request.url), encoded=True),
            headers=headers,
            data=data,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                connect=timeout.get("connect"), sock_read=timeout.get("read")
            ),
        )

    async def _send_as_made(
        self,
        request: httpx.Request,
        headers: list[tuple[str, str]],
        stream: httpx.AsyncByteStream,
    ) -> aiohttp.ClientResponse:
        # aiohttp sets this field itself, and refuses one that is set already.
        headers = [field for field in headers if field[0].lower() != "transfer-encoding"]
        sent = _Sent(stream)
        try:
            return await self._send(request, headers, sent)
        except httpx.TransportError:
            sent.raise_own_error()
            raise

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()


class _Sent:
    """The body of a request that is sent as it is made, and the error that ended it.

    aiohttp would report that error as one of the connection.
    """

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream
        self._error: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._stream:
                yield part
        except Exception as error:
            self._error = error
            raise

    def raise_own_error(self) -> None:
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # with its traceback a reference cycle


class _Body(httpx.AsyncByteStream):
    """The body of a response as it arrives; `aclose` gives the connection back."""

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
    """Makes connections of `_Handler`, and releases one that is cancelled before it is made.

    The methods are not part of aiohttp's public API; a test fails when they are gone.
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
            # uvloop does not tell the handler, so the handler and its transport would hold each
            # other, and the context of the request.
            for handler in made:
                handler.close()
            raise


# Statuses of replies without a body, as in a status line: RFC 9112 section 6.3.
_BODILESS = (b"204", b"304")


class _Handler(ResponseHandler):
    """Keeps a reply without a body when bytes follow it, and then closes the connection.

    aiohttp would lose the reply: its parser takes the bytes for the next reply, and fails. So a
    DELETE that succeeded would look as if it had failed.
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
    # A middleware, and not an `except` around the session's `request`: when a connection breaks,
    # aiohttp sends an idempotent request again, uncounted. It does so for its own errors only.
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
    """Return what went wrong, without an address: aiohttp's own text may hold the URL."""
    system = getattr(error, "os_error", error)
    if isinstance(system, ssl.SSLCertVerificationError):
        return f"{type(error).__name__}: {system.verify_message}"
    if isinstance(system, OSError) and system.errno and system.strerror:
        return f"{type(error).__name__}: {type(system).__name__} {system.errno}"
    return type(error).__name__


def _forget(error: BaseException | None) -> None:
    """Remove the tracebacks of an error, its causes and its contexts.

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
    """Return the context that checks the certificate of the server at `base_url`.

    It trusts the public authorities (certifi's) and the certificates in `SSL_CERT_FILE` and
    `SSL_CERT_DIR`. Reading them blocks for about 20 ms, so an `Upstream` does it once, when it is
    made.

    Raises `OSError` for what `certificate_mistakes` reports.
    """
    # Plain HTTP needs none: this context trusts nobody.
    if httpx.URL(base_url).scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = httpx.create_ssl_context(trust_env=False)
    trust(context)
    return context
