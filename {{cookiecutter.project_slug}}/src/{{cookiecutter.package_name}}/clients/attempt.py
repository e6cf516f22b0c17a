"""One try to get an answer: a reply that was read to its end and is a success, or a typed error."""

from http import HTTPStatus

import httpx

from .errors import (
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from .retries import retry_after
from .transport import NotHTTP

# What says that the same call may succeed in a moment: RFC 9110 sections 15.6.3 to 15.6.5, and
# RFC 6585 section 4. A plain 500 is as likely to be a bug, which comes back.
_TRANSIENT = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


async def attempt(
    upstream: str, transport: httpx.AsyncBaseTransport, request: httpx.Request, *, max_bytes: int
) -> httpx.Response:
    """Return the 2xx reply to `request`, decoded, if it has no more than `max_bytes` then.

    Raises an `UpstreamError` that names the `upstream`.
    """
    try:
        response = await transport.handle_async_request(request)
        try:
            response = await _read(response, max_bytes)
        finally:
            await response.aclose()
    except httpx.HTTPError as error:
        raise _typed(upstream, error) from error
    except _TooLarge as error:
        raise UpstreamInvalid(upstream, f"sent more than {max_bytes} bytes") from error
    if response.is_success or _is_confirmation(request, response):
        return response
    raise _refusal(upstream, response)


class _TooLarge(Exception):
    """A body has more bytes than it may."""


async def _read(response: httpx.Response, max_bytes: int) -> httpx.Response:
    headers = response.headers
    length = headers.get("Content-Length", "")
    if length.isdigit() and int(length) <= max_bytes and "Content-Encoding" not in headers:
        await response.aread()
        return response
    # Counted after decoding: a few compressed bytes can stand for a thousand times as many.
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > max_bytes:
            raise _TooLarge
        parts.append(part)
    if headers.pop("Content-Encoding", None):
        headers.pop("Content-Length", None)
    return httpx.Response(response.status_code, headers=headers, content=b"".join(parts))


def _typed(upstream: str, error: httpx.HTTPError) -> UpstreamError:
    match error:
        case httpx.PoolTimeout():
            return UpstreamTimeout(upstream, "had no connection free in time")
        case httpx.ConnectTimeout():
            return UpstreamTimeout(upstream, "could not be reached in time", transient=True)
        case httpx.TimeoutException():
            return UpstreamTimeout(upstream, "did not answer in time")
        case NotHTTP() | httpx.DecodingError():
            return UpstreamInvalid(upstream, "sent a reply that cannot be read")
    detail = "cannot be reached or broke off its reply"
    return UpstreamUnavailable(upstream, detail, transient=True)


def _is_confirmation(request: httpx.Request, response: httpx.Response) -> bool:
    # RFC 9111 section 4.3: what the cache keeps is still good, as the request has asked.
    asked = "If-None-Match" in request.headers or "If-Modified-Since" in request.headers
    return response.status_code == HTTPStatus.NOT_MODIFIED and asked


def _refusal(upstream: str, response: httpx.Response) -> UpstreamError:
    status = response.status_code
    detail = f"answered {status}"
    if response.is_server_error or status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = retry_after(response.headers.get("Retry-After"))
        transient = status in _TRANSIENT
        return UpstreamUnavailable(upstream, detail, retry_after=wait, transient=transient)
    if response.is_client_error:
        return UpstreamRejected(upstream, detail)
    return UpstreamInvalid(upstream, detail)
