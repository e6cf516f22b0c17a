"""HTTP transport of httpx over aiohttp: httpx's own pool stalls with many calls in flight."""

import asyncio
import ssl
from functools import lru_cache

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import SERVER_SOFTWARE, HttpProcessingError, RawResponseMessage
from yarl import URL

from ._connector import Connector
from ._fields import headers_of, names_of
from ._head import request_head
from ._upload import Upload, content_of
from ._urls import origin


class NotHTTP(httpx.RemoteProtocolError):
    """The reply is not HTTP."""


# From the special to the general, because aiohttp's errors inherit from one another. Only the first
# error, and a timeout while connecting, prove that the request has not reached the upstream.
_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ClientConnectorError, httpx.ConnectError),  # refused, no such name, TLS
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientConnectionResetError, httpx.WriteError),  # closed before all was sent
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),  # ended early, or badly framed
    (HttpProcessingError, NotHTTP),
    (aiohttp.ClientError, httpx.ReadError),
)
_FAILURES = (aiohttp.ClientError, HttpProcessingError, OSError)

# Limits of a reply's header: bytes of a line, and lines. aiohttp's own 8190 and 128 are less than
# some services send: long cookies, a `Link` for each page, a policy for each browser.
MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 512

USER_AGENT = SERVER_SOFTWARE

# RFC 9110 section 15.2: after a reply below 200 another follows, except after 101, which ends HTTP.
_FIRST_FINAL = 200
_SWITCHING_PROTOCOLS = 101


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Connections to an upstream, for the event loop on which this is made.

    aiohttp makes and keeps the connections, and parses the replies. Its `ClientSession` is not
    used: with cookies, redirects and proxies it is slower than this whole transport, and when a
    connection breaks it sends an idempotent request again, uncounted.

    There are as many connections as calls at a time, which `Slots` limits. Of httpx's timeouts it
    obeys `connect` and `read`. `authorization` is added to requests to `base_url` that have no
    `Authorization`; no other host gets it.
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
        self._connector = Connector(ssl=tls)
        self._origin = None if base_url is None else origin(base_url)
        self._destination = None if base_url is None else _destination(base_url)
        self._authorization = (
            [] if authorization is None else [(b"Authorization", authorization.encode("ascii"))]
        )
        self._max_header_bytes = max_header_bytes
        self._max_headers = max_headers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`, and return its response with the body still to be read.

        Raises `httpx.TransportError`, without the address and without aiohttp's error, and the
        error of an asynchronous iterable that is sent as the body. Raises `ValueError` for a method
        or a header that cannot be sent unchanged.
        """
        is_own = origin(request.url) == self._origin
        is_complete = not is_own or b"authorization" in names_of(request.headers)
        content = content_of(request)
        head = request_head(request, content, [] if is_complete else self._authorization)
        connection = await self._connection(request, is_own=is_own)
        exchange = _Exchange(connection)
        try:
            self._expect_reply(connection, request)
            exchange.send(request, head, content)
            reply = await exchange.reply()
        except BaseException:
            exchange.abort()
            raise
        headers = headers_of(reply.raw_headers)
        return httpx.Response(reply.code, headers=headers, stream=exchange, request=request)

    async def _connection(self, request: httpx.Request, *, is_own: bool) -> Connection:
        destination = self._destination if is_own else None
        within = _within(request.extensions.get("timeout", {}).get("connect"))
        try:
            while True:
                connection = await self._connector.connect(
                    destination or _destination(request.url), traces=[], timeout=within
                )
                if not _protocol(connection).should_close:
                    return connection
                # Bytes arrived while no request was sent. They are no reply to this request.
                connection.close()
        except TimeoutError as error:
            _forget(error)
            raise httpx.ConnectTimeout(type(error).__name__) from None
        except _FAILURES as error:
            raise _as_httpx(error) from None

    def _expect_reply(self, connection: Connection, request: httpx.Request) -> None:
        _protocol(connection).set_response_params(
            skip_payload=request.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,  # `_decoding` does, within limits
            read_timeout=request.extensions.get("timeout", {}).get("read"),
            max_line_size=self._max_header_bytes,
            max_field_size=self._max_header_bytes,
            max_headers=self._max_headers,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._connector.close()


def _destination(url: httpx.URL) -> aiohttp.ClientRequest:
    """Return the request from which the connector reads a connection's destination."""
    netloc = url.netloc.decode("ascii")
    loop = asyncio.get_running_loop()
    return aiohttp.ClientRequest("GET", URL(f"{url.scheme}://{netloc}"), loop=loop)


def _protocol(connection: Connection) -> ResponseHandler:
    assert connection.protocol is not None  # noqa: S101 - it was not given back
    return connection.protocol


@lru_cache(maxsize=64)
def _within(connect: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=connect)


class _Exchange(httpx.AsyncByteStream):
    """A request on its connection, and the body of the reply."""

    _upload: Upload | None = None
    _body: aiohttp.StreamReader = aiohttp.EMPTY_PAYLOAD

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._protocol = _protocol(connection)

    def send(self, request: httpx.Request, head: bytes, content: bytes | None) -> None:
        """Send a request; `content` is None for a body that is sent as it is made."""
        transport = self._protocol.transport
        if transport is None:  # closed before anything was sent
            message = aiohttp.ClientConnectionResetError.__name__
            raise httpx.WriteError(message)
        transport.write(head + content if content else head)
        if content is None:
            self._upload = Upload(self._protocol, request)
        else:
            self._protocol.start_timeout()

    async def reply(self) -> RawResponseMessage:
        """Return the header of the final reply, after any interim (1xx) replies.

        Raises `httpx.TransportError`, and the error of a body that is sent as it is made.
        """
        try:
            while True:
                reply, self._body = await self._protocol.read()
                if reply.code >= _FIRST_FINAL or reply.code == _SWITCHING_PROTOCOLS:
                    return reply
        except _FAILURES as error:
            if self._upload is not None and self._upload.is_to_blame:
                raise
            raise _as_httpx(error) from None

    def __aiter__(self) -> "_Exchange":
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._body.readany()
        except _FAILURES as error:
            raise _as_httpx(error) from None
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Return the connection to the pool; it closes unless both messages are complete."""
        if self._is_sent():
            self._connection.release()
        else:
            self.abort()

    def _is_sent(self) -> bool:
        if self._upload is not None and not self._upload.is_done:
            return False
        transport = self._protocol.transport
        return transport is None or not transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close the connection."""
        if self._upload is not None:
            self._upload.stop()
        self._connection.close()


def _as_httpx(error: Exception) -> httpx.TransportError:
    kinds = (httpx_kind for kind, httpx_kind in _ERRORS if isinstance(error, kind))
    reason = _reason(error)
    _forget(error)
    return next(kinds, httpx.ReadError)(reason)


def _reason(error: Exception) -> str:
    """Return the reason of an error, without an address: aiohttp's own text may hold the URL."""
    system = getattr(error, "os_error", error)
    if isinstance(system, ssl.SSLCertVerificationError):
        return f"{type(error).__name__}: {system.verify_message}"
    if isinstance(system, OSError) and system.errno and system.strerror:
        return f"{type(error).__name__}: {type(system).__name__} {system.errno}"
    return type(error).__name__


def _forget(error: BaseException | None) -> None:
    """Remove the tracebacks of an error, its causes and its contexts.

    aiohttp's frames hold the connection, and the connection holds its error: only the garbage
    collector would free them.
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
