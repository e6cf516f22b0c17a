"""One attempt at a call: returns a usable reply, or raises a typed error."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from http import HTTPStatus

import httpx

from . import _decoding as decoding
from ._auth import Exchange, authenticated
from ._errors import (
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from ._fields import names_of
from ._retries import retry_after
from ._transport import NotHTTP

# The statuses after which the same call may succeed in a moment: RFC 9110 sections 15.6.3 to
# 15.6.5, and RFC 6585 section 4. A plain 500 is as likely to be a bug, which a retry does not fix.
_TRANSIENT = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}

# Header fields of a reply whose body is encoded.
_CODINGS = frozenset({b"content-encoding", b"transfer-encoding"})
_BODILESS = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}

# The digits of a Content-Length. A longer number is not a real length.
_MOST_DIGITS = 18


async def attempt(
    upstream: str,
    exchange: Exchange,
    request: httpx.Request,
    *,
    accept: Collection[int] = (),
    auth: httpx.Auth | None = None,
) -> httpx.Response:
    """Return the reply that `exchange` gets for `request`: a 2xx, or a status in `accept`.

    Raises an `UpstreamError` that names the `upstream`.
    """
    outcome = await _outcome(upstream, exchange, request, accept, auth)
    if isinstance(outcome, httpx.Response):
        return outcome
    # Not raised inside the `except`: the cause would become its context, and holds the connection
    # and the address. This frame, which is in its traceback, must not hold the cause either.
    try:
        raise outcome
    finally:
        del outcome


async def _outcome(
    upstream: str,
    exchange: Exchange,
    request: httpx.Request,
    accept: Collection[int],
    auth: httpx.Auth | None,
) -> httpx.Response | UpstreamError:
    try:
        if auth is None:
            response = await exchange(request)
        else:
            response = await authenticated(exchange, request, auth)
    except (httpx.HTTPError, decoding.BadCoding, decoding.TooLarge) as error:
        return typed(upstream, error)
    is_answer = response.is_success or response.status_code in accept
    if is_answer or _is_confirmation(request, response):
        return response
    await response.aclose()
    return refusal(upstream, response)


async def whole(
    transport: httpx.AsyncBaseTransport, max_bytes: int, request: httpx.Request
) -> httpx.Response:
    """Return the reply to `request` with its decoded body, of at most `max_bytes`.

    Raises `httpx.HTTPError`, `TooLarge` or `BadCoding`.
    """
    response = await transport.handle_async_request(request)
    headers = response.headers
    try:
        if is_encoded := not _CODINGS.isdisjoint(names_of(headers)):
            decoding.refuse_transfer_coding(headers)
            may_be_empty = _has_no_body(request, response) or _content_length(headers) == 0
            body = await decoding.read(response, max_bytes=max_bytes, may_be_empty=may_be_empty)
        else:
            body = await decoding.read_plain(response, max_bytes=max_bytes)
    finally:
        await response.aclose()
    if is_encoded:
        coding = headers.pop("Content-Encoding", None)
        if coding and (body or not may_be_empty):
            headers["Content-Length"] = str(len(body))  # the old one was the encoded body's
    # The effect of `httpx.Response(content=body)`, which takes ten times as long.
    response.stream, response._content = httpx.ByteStream(body), body  # noqa: SLF001
    response.is_stream_consumed = True
    response.request = request
    return response


async def begun(
    transport: httpx.AsyncBaseTransport, max_bytes: int | None, request: httpx.Request
) -> httpx.Response:
    """Return the reply to `request` once its header is there; its body is decoded as it is read.

    The body raises `httpx.HTTPError`, `TooLarge` or `BadCoding`.
    """
    response = await transport.handle_async_request(request)
    headers = httpx.Headers(response.headers)
    try:
        decoding.refuse_transfer_coding(headers)
    except decoding.BadCoding:
        await response.aclose()
        raise
    has_no_body = _has_no_body(request, response) or _content_length(headers) == 0
    if headers.pop("Content-Encoding", None) and not has_no_body:
        headers.pop("Content-Length", None)  # the encoded body's
    body = _Decoded(response, max_bytes, may_be_empty=has_no_body)
    return httpx.Response(
        response.status_code,
        headers=headers,
        stream=body,
        request=request,
        extensions=response.extensions,
    )


class _Decoded(httpx.AsyncByteStream):
    """The body of a response, decoded as it arrives."""

    def __init__(
        self, response: httpx.Response, max_bytes: int | None, *, may_be_empty: bool
    ) -> None:
        self._response = response
        self._parts = decoding.parts(response, max_bytes=max_bytes, may_be_empty=may_be_empty)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._parts

    async def aclose(self) -> None:
        await self._parts.aclose()  # otherwise the loop closes it, some time later
        await self._response.aclose()


class TypedBody(httpx.AsyncByteStream):
    """A body with up to `timeout` seconds for each part, whose errors are typed."""

    def __init__(
        self,
        upstream: str,
        response: httpx.Response,
        timeout: float,
        on_failure: Callable[[UpstreamError], object] = lambda _: None,
    ) -> None:
        self._upstream = upstream
        self._response = response
        self._timeout = timeout
        self._on_failure = on_failure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield its parts.

        Raises an `UpstreamError`.
        """
        stream = self._response.stream
        assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - `begun` has made it
        parts = aiter(stream)
        while True:
            part = await self._next(parts)
            if part is None:
                return
            if isinstance(part, UpstreamError):
                self._on_failure(part)
                try:
                    raise part  # outside of the `except`, as in `attempt`
                finally:
                    del part
            yield part

    async def _next(self, parts: AsyncIterator[bytes]) -> bytes | UpstreamError | None:
        try:
            async with asyncio.timeout(self._timeout):
                return await anext(parts, None)
        except TimeoutError:
            return UpstreamTimeout(self._upstream, "stalled within its reply")
        except (httpx.HTTPError, decoding.BadCoding, decoding.TooLarge) as error:
            return typed(self._upstream, error)

    async def aclose(self) -> None:
        """Return the connection to the pool, or close it when the body was not read to its end."""
        await self._response.aclose()


def _has_no_body(request: httpx.Request, response: httpx.Response) -> bool:
    """Tell whether a reply has no body, whatever its header says: RFC 9112 section 6.3."""
    return request.method == "HEAD" or response.status_code in _BODILESS


def _content_length(headers: httpx.Headers) -> int | None:
    given = headers.get("Content-Length", "")
    is_number = given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS
    return int(given) if is_number else None


def typed(
    upstream: str, error: httpx.HTTPError | decoding.BadCoding | decoding.TooLarge
) -> UpstreamError:
    """Return the caller's error for an error of the transport, or of decoding a body."""
    reason = str(error)
    match error:
        case decoding.TooLarge():
            return UpstreamInvalid(upstream, reason)
        case decoding.BadCoding():
            detail = "sent a reply that cannot be read"
            return UpstreamInvalid(upstream, detail, reason=f"the body {reason}")
        case httpx.ConnectTimeout():
            detail = "could not be reached in time"
            return UpstreamTimeout(upstream, detail, transient=True, reason=reason)
        case httpx.TimeoutException():
            return UpstreamTimeout(upstream, "did not answer in time", reason=reason)
        case NotHTTP() | httpx.DecodingError():
            detail = "sent a reply that cannot be read"
            return UpstreamInvalid(upstream, detail, reason=reason)
    detail = "cannot be reached or broke off its reply"
    return UpstreamUnavailable(upstream, detail, transient=True, reason=reason)


def _is_confirmation(request: httpx.Request, response: httpx.Response) -> bool:
    # RFC 9111 section 4.3: the request asked whether the cached reply is still good, and it is.
    asked = "If-None-Match" in request.headers or "If-Modified-Since" in request.headers
    return response.status_code == HTTPStatus.NOT_MODIFIED and asked


def refusal(upstream: str, response: httpx.Response) -> UpstreamError:
    status = response.status_code
    detail = f"answered {status}"
    if response.is_server_error or status == HTTPStatus.TOO_MANY_REQUESTS:
        said = response.headers.get_list("Retry-After")
        wait = retry_after(said[0]) if len(said) == 1 else None
        return UpstreamUnavailable(
            upstream,
            detail,
            retry_after=wait,
            transient=status in _TRANSIENT,
            status=status,
        )
    if response.is_client_error:
        return UpstreamRejected(upstream, detail, status=status)
    return UpstreamInvalid(upstream, detail, status=status)
