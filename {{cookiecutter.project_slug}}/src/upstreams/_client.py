"""A plain `httpx.AsyncClient` over an upstream's pool, for libraries that take a client."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from math import inf

import httpx

from ._attempt import begun
from ._deadline import Deadline
from ._decoding import BadCoding, TooLarge
from ._errors import UpstreamBusy
from ._pool import Connections, Pool
from ._urls import origin, with_query


def no_cookies() -> CookieJar:
    """Return a jar that takes no cookie: the cookie of one user is not for the next."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


@dataclass(frozen=True, slots=True)
class PooledTransport(httpx.AsyncBaseTransport):
    """Sends requests over the pool of an upstream, and raises httpx's own errors.

    Requests to the upstream's own origin get the query of its base URL and the headers that are
    passed on. A request to another host, as after a redirect, gets neither.
    """

    connections: Connections
    base: httpx.URL
    query: bytes
    pass_on: Callable[[], list[tuple[str, str]]]
    max_bytes: int

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response to `request`, decoded as it is read.

        Raises `httpx.PoolTimeout` when no slot becomes free, and what the pool's transport raises.
        """
        async with AsyncExitStack() as held:
            pool = await held.enter_async_context(self.connections.use())
            await _take_slot(pool, request, held)
            response = await self._begin(pool, self._completed(request))
            held.push_async_callback(response.aclose)
            body = _HeldBody(response, held.pop_all())
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=body,
            extensions=response.extensions,
        )

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

    def _completed(self, request: httpx.Request) -> httpx.Request:
        if origin(request.url) != origin(self.base):
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

    def __init__(self, response: httpx.Response, held: AsyncExitStack) -> None:
        self._response = response
        self._held = held

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stream = self._response.stream
        assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - `begun` has made it
        try:
            async for part in stream:
                yield part
        except (BadCoding, TooLarge) as error:
            message = str(error)
        else:
            return
        raise httpx.DecodingError(message)

    async def aclose(self) -> None:
        await self._held.aclose()
