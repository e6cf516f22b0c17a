"""A plain `httpx.AsyncClient` over an upstream's pool, for libraries that take a client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from math import inf
from time import monotonic
from typing import Protocol

import httpx

from ._attempt import begun, refusal, typed
from ._deadline import Deadline, DeadlineExceeded
from ._decoding import BadCoding, TooLarge
from ._errors import UpstreamBusy, UpstreamError, UpstreamRejected
from ._failures import log_failure
from ._observer import OTHER, Attempt, Observer, Trace, error_name, method_name, traced
from ._pool import Connections, Pool
from ._slots import NONE_FREE
from ._urls import origin, with_query


def no_cookies() -> CookieJar:
    """Return a jar that stores no cookies, so that no user sends another user's cookie."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


class Reporting(Protocol):
    """The part of an upstream that reports calls."""

    name: str
    observer: Observer
    trace: Trace | None


@dataclass(frozen=True, slots=True)
class PooledTransport(httpx.AsyncBaseTransport):
    """Sends requests over the pool of an upstream, and raises httpx's own errors.

    Requests to the upstream's own origin get the query of its base URL and the `pass_on` headers.
    A request to another host, for example after a redirect, gets neither.
    """

    upstream: Reporting
    connections: Connections
    base: httpx.URL
    query: bytes
    pass_on: Callable[[], list[tuple[str, str]]]
    max_bytes: int

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response to `request`, decoded as it is read.

        Raises `httpx.PoolTimeout` when no slot becomes free, and the pool's transport errors.
        """
        observer, began = self.upstream.observer, monotonic()
        try:
            response = await self._response(request, began)
        except BaseException as error:
            self._tell(observer.call_ended, request, error, began)
            self._log(error, began)
            raise
        self._tell(observer.call_ended, request, response, began)
        self._log(response, began)
        return response

    async def _response(self, request: httpx.Request, began: float) -> httpx.Response:
        async with AsyncExitStack() as held:
            pool = await held.enter_async_context(self.connections.use())
            await _take_slot(pool, request, held)
            response = await self._attempt(pool, self._completed(request))
            held.push_async_callback(response.aclose)
            body = _HeldBody(response, held.pop_all(), partial(self._broke_off, request, began))
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=body,
            extensions=response.extensions,
        )

    async def _attempt(self, pool: Pool, request: httpx.Request) -> httpx.Response:
        upstream, began = self.upstream, monotonic()
        sent: Awaitable[httpx.Response] = self._begin(pool, request)
        if upstream.trace is not None:
            made = Attempt(upstream.name, 1, request)
            own = self._is_own(request)
            sent = traced(upstream.trace, made, sent, self._error_of, adds_headers=own)
        try:
            response = await sent
        except BaseException as error:
            self._tell(upstream.observer.attempt_ended, request, error, began)
            raise
        self._tell(upstream.observer.attempt_ended, request, response, began)
        return response

    def _tell(
        self,
        event: Callable[[str, str, str | None, float], None],
        request: httpx.Request,
        outcome: httpx.Response | BaseException,
        began: float,
    ) -> None:
        method = method_name(request.method)
        event(self.upstream.name, method, self._error_of(outcome), monotonic() - began)

    def _error_of(self, outcome: httpx.Response | BaseException) -> str | None:
        error = self._judged(outcome)
        return None if error is None else error_name(error)

    def _log(self, outcome: httpx.Response | BaseException, began: float) -> None:
        error = self._judged(outcome)
        if error is not None and not isinstance(error, UpstreamRejected):
            log_failure(error, seconds=monotonic() - began)

    def _broke_off(self, request: httpx.Request, began: float, error: Exception) -> None:
        method, name = method_name(request.method), self._error_of(error)
        self.upstream.observer.body_failed(self.upstream.name, method, name or OTHER)
        self._log(error, began)

    def _judged(self, outcome: httpx.Response | BaseException) -> BaseException | None:
        """Return the error that the upstream's own methods would have raised, if any."""
        name = self.upstream.name
        error: UpstreamError | DeadlineExceeded
        match outcome:
            case httpx.Response():
                if not outcome.is_error:
                    return None
                error = refusal(name, outcome)
            case httpx.PoolTimeout():
                return UpstreamBusy(name, NONE_FREE)
            case httpx.ReadTimeout() if Deadline(inf).passed:
                error = DeadlineExceeded(f"no time was left to wait for {name}")
                error.upstream = name
            case httpx.HTTPError() | BadCoding() | TooLarge():
                error = typed(name, outcome)
            case _:
                return outcome
        error.attempts = 1
        return error

    async def _begin(self, pool: Pool, request: httpx.Request) -> httpx.Response:
        left = Deadline(inf).left
        try:
            async with asyncio.timeout(None if left == inf else left):
                return await begun(pool.transport, self.max_bytes, request)
        except TimeoutError:
            message = "the deadline of the request has passed"
        except BadCoding as error:
            message = f"the body {error}"
            raise httpx.DecodingError(message) from None
        raise httpx.ReadTimeout(message)

    def _is_own(self, request: httpx.Request) -> bool:
        return origin(request.url) == origin(self.base)

    def _completed(self, request: httpx.Request) -> httpx.Request:
        if not self._is_own(request):
            return request
        given = request.headers
        headers = [field for field in self.pass_on() if field[0] not in given]
        return httpx.Request(
            request.method,
            with_query(request.url, self.query) if self.query else request.url,
            headers=[*given.multi_items(), *headers],
            stream=request.stream,
            extensions=request.extensions,
        )

    async def aclose(self) -> None:
        """Leave the pool open: it belongs to the upstream."""


async def _take_slot(pool: Pool, request: httpx.Request, held: AsyncExitStack) -> None:
    patience = request.extensions.get("timeout", {}).get("pool")
    try:
        taken_at = await pool.slots.take(inf if patience is None else patience)
    except UpstreamBusy as error:
        message = str(error)
    else:
        held.callback(pool.slots.release, taken_at)
        return
    raise httpx.PoolTimeout(message)


class _HeldBody(httpx.AsyncByteStream):
    """The body of a response, which holds its slot until it is closed."""

    def __init__(
        self,
        response: httpx.Response,
        held: AsyncExitStack,
        on_failure: Callable[[Exception], object],
    ) -> None:
        self._response = response
        self._held = held
        self._on_failure = on_failure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stream = self._response.stream
        assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - `begun` has made it
        try:
            async for part in stream:
                yield part
        except httpx.HTTPError as error:
            self._on_failure(error)
            raise
        except (BadCoding, TooLarge) as error:
            self._on_failure(error)
            message = str(error)
        else:
            return
        raise httpx.DecodingError(message)

    async def aclose(self) -> None:
        await self._held.aclose()
