"""One try to get an answer: a reply that was read to its end and is a success, or a typed error."""

from http import HTTPStatus

import httpx

from . import _decoding as decoding
from ._errors import (
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from ._retries import retry_after
from ._transport import NotHTTP

# What says that the same call may succeed in a moment: RFC 9110 sections 15.6.3 to 15.6.5, and
# RFC 6585 section 4. A plain 500 is as likely to be a bug, which comes back.
_TRANSIENT = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}

_BODILESS = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}

# Of a Content-Length. More digits are no length of anything.
_MOST_DIGITS = 18


async def attempt(
    upstream: str, transport: httpx.AsyncBaseTransport, request: httpx.Request, *, max_bytes: int
) -> httpx.Response:
    """Return the 2xx reply to `request`, decoded, if it has no more than `max_bytes` then.

    Raises an `UpstreamError` that names the `upstream`.
    """
    outcome = await _outcome(upstream, transport, request, max_bytes)
    if isinstance(outcome, httpx.Response):
        return outcome
    # Not raised where its cause is handled: the cause would be its context, and that holds the
    # connection and the address. Nor may this frame, which is in its traceback, hold it.
    try:
        raise outcome
    finally:
        del outcome


async def _outcome(
    upstream: str, transport: httpx.AsyncBaseTransport, request: httpx.Request, max_bytes: int
) -> httpx.Response | UpstreamError:
    try:
        response = await transport.handle_async_request(request)
        try:
            response = await _read(request, response, max_bytes)
        finally:
            await response.aclose()
    except httpx.HTTPError as error:
        return _typed(upstream, error)
    except decoding.BadCoding as error:
        return UpstreamInvalid(
            upstream, "sent a reply that cannot be read", reason=f"the body {error}"
        )
    except decoding.TooLarge:
        return UpstreamInvalid(upstream, f"sent more than {max_bytes} bytes")
    if response.is_success or _is_confirmation(request, response):
        return response
    return _refusal(upstream, response)


async def _read(request: httpx.Request, response: httpx.Response, max_bytes: int) -> httpx.Response:
    headers = response.headers
    length = _content_length(headers)
    is_encoded = "Content-Encoding" in headers
    if length is not None and length <= max_bytes and not is_encoded:
        await response.aread()
        return response
    decoding.refuse_transfer_coding(headers)
    may_be_empty = request.method == "HEAD" or response.status_code in _BODILESS or length == 0
    body = await decoding.read(response, max_bytes=max_bytes, may_be_empty=may_be_empty)
    if headers.pop("Content-Encoding", None) and (body or not may_be_empty):
        headers.pop("Content-Length", None)  # that of the encoded body
    await response.aclose()
    return httpx.Response(response.status_code, headers=headers, content=body)


def _content_length(headers: httpx.Headers) -> int | None:
    given = headers.get("Content-Length", "")
    is_number = given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS
    return int(given) if is_number else None


def _typed(upstream: str, error: httpx.HTTPError) -> UpstreamError:
    reason = str(error)
    match error:
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
    # RFC 9111 section 4.3: what the cache keeps is still good, as the request has asked.
    asked = "If-None-Match" in request.headers or "If-Modified-Since" in request.headers
    return response.status_code == HTTPStatus.NOT_MODIFIED and asked


def _refusal(upstream: str, response: httpx.Response) -> UpstreamError:
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
