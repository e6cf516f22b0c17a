"""One upstream over HTTP: pooled while the service runs, patient within limits, typed in errors.

A call goes down through the methods of `Upstream`: `_in_time` bounds it and shares it with those
that are identical, `_answer` tries again, `_hedge` tries twice at once, `_try` minds the circuit
breaker, and `attempt` talks to the upstream.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from time import monotonic

import httpx
from flask import g, has_app_context

from ..deadline import BUDGET_HEADER, DeadlineExceeded, Limit
from .attempt import attempt
from .breaker import Breaker
from .coalescing import SharedCalls
from .errors import UpstreamTimeout
from .hedging import Latencies, hedged
from .retries import IDEMPOTENT, RetryBudget, with_retries
from .transport import AiohttpTransport

_HEADERS = (("Accept", "*/*"), ("Accept-Encoding", "gzip, deflate"))


@dataclass(frozen=True, slots=True)
class _Pool:
    """Connections of one event loop, and the calls under way on it."""

    loop: asyncio.AbstractEventLoop
    transport: httpx.AsyncBaseTransport
    shared: SharedCalls[httpx.Response] = field(default_factory=SharedCalls)


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, the connections it may use, and how long it may take."""

    request: httpx.Request
    pool: _Pool
    limit: Limit
    hedge: bool


@dataclass(eq=False)
class Upstream:
    """A service that this one calls, and the connections to it.

    A pool belongs to the event loop it was opened on. Under ASGI every view runs on one loop, so
    the lifespan opens one pool per process. Under WSGI, the test client or a shell each async view
    gets a loop of its own, so there a connection lives for one call. What is learnt about the
    upstream (breaker, retry budget, latencies) is the process's either way.
    """

    name: str  # what errors and logs call it
    base_url: str
    _: KW_ONLY
    timeout: float  # seconds for one call, with its retries
    max_connections: int
    max_response_bytes: int = 10 * 1024 * 1024  # of one body, decoded
    max_retries: int = 2  # per call
    retry_share: float = 0.2  # further tries, hedges included, as a share of all calls
    breaker_failures: int = 20  # in a row
    breaker_seconds: float = 2.0
    coalesce: bool = True  # identical GETs at the same time share one request
    required: bool = False  # whether the service is of no use without it
    # Another way to reach it than a socket: the embedded stub, a test's fake.
    transport: Callable[[], httpx.AsyncBaseTransport] | None = None
    _pool: "_Pool | None" = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Prepare what the calls share."""
        # Reading the certificates blocks for some 20 ms, so it happens here, not on the loop.
        self._tls = _tls_context(self.base_url)
        # A later start leaves too little time for a reply.
        connect = self.timeout / 2
        self._timeouts = {"pool": connect, "connect": connect}
        self._budget = RetryBudget(self.retry_share)
        self._latencies = Latencies()
        self.breaker = Breaker(
            self.name, failures=self.breaker_failures, seconds=self.breaker_seconds
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Pool connections on the running loop until the block ends; for the lifespan."""
        if self._pool is not None:
            message = f"upstream {self.name} is open already"
            raise RuntimeError(message)
        async with self._connect() as pool:
            self._pool = pool
            try:
                yield
            finally:
                self._pool = None

    async def get(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        hedge: bool = False,
    ) -> httpx.Response:
        """Return the 2xx reply to `GET base_url/path`, read to its end.

        With `hedge`, one that takes longer than 95 % of the latest is asked for a second time.

        Raises an `UpstreamError` or `DeadlineExceeded`, and nothing else that an upstream causes.
        """
        request = self._request("GET", path, params=params, headers=headers)
        same = (request.url, hedge, *sorted(headers.items())) if headers else (request.url, hedge)
        return await self._in_time(request, hedge=hedge, same=same if self.coalesce else None)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
    ) -> httpx.Response:
        """Return the 2xx reply to `method base_url/path` with a body of JSON, as `get` does.

        Only an idempotent one is tried again, and none is shared.
        """
        request = self._request(method, path, params=params, headers=headers, json=json)
        return await self._in_time(request)

    async def _in_time(
        self, request: httpx.Request, *, hedge: bool = False, same: Hashable = None
    ) -> httpx.Response:
        limit = Limit(self.timeout)
        try:
            async with asyncio.timeout(limit.left), self._connected() as pool:
                answer = partial(self._answer, request, pool, hedge=hedge)
                return await (pool.shared.join(same, limit, answer) if same else answer(limit))
        except TimeoutError as error:
            if limit.is_deadline:
                message = f"no time was left to wait for {self.name}"
                raise DeadlineExceeded(message) from error
            raise UpstreamTimeout(self.name, "did not answer in time") from error

    async def _answer(
        self, request: httpx.Request, pool: _Pool, limit: Limit, *, hedge: bool
    ) -> httpx.Response:
        self._budget.note_call()
        call = _Call(request, pool, limit, hedge)
        most = self.max_retries if request.method in IDEMPOTENT else 0
        once = partial(self._hedge if hedge else self._try, call)
        return await with_retries(once, most=most, budget=self._budget, limit=limit)

    async def _hedge(self, call: _Call) -> httpx.Response:
        if (delay := self._latencies.p95) is None:
            return await self._try(call)
        return await hedged(partial(self._try, call), delay=delay, may=self._budget.spend)

    async def _try(self, call: _Call) -> httpx.Response:
        with self.breaker.watch(call.limit):
            began = monotonic()
            call.request.headers[BUDGET_HEADER] = str(max(0, int(call.limit.left * 1000)))
            response = await attempt(
                self.name, call.pool.transport, call.request, max_bytes=self.max_response_bytes
            )
            self._latencies.note(monotonic() - began)
            return response

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        json: object = None,
    ) -> httpx.Request:
        return httpx.Request(
            method,
            self.base_url.rstrip("/") + path,
            params=params,
            headers=[*_HEADERS, *_ids_of_request(), *(headers or {}).items()],
            json=json,
            extensions={"timeout": self._timeouts},
        )

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Pool]:
        if self._pool is not None and self._pool.loop is asyncio.get_running_loop():
            yield self._pool
        else:
            async with self._connect() as pool:
                yield pool

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[_Pool]:
        async with self.transport() if self.transport else self._aiohttp() as transport:
            yield _Pool(asyncio.get_running_loop(), transport)

    def _aiohttp(self) -> AiohttpTransport:
        return AiohttpTransport(max_connections=self.max_connections, tls=self._tls)


def _ids_of_request() -> list[tuple[str, str]]:
    # Where there is a request, `logs.py` has checked its ids.
    if not has_app_context():
        return []
    ids = (("X-Request-ID", g.get("request_id")), ("traceparent", g.get("traceparent")))
    return [(name, value) for name, value in ids if value]


def _tls_context(base_url: str) -> ssl.SSLContext:
    # Plain HTTP needs no certificates: its context trusts nobody.
    if httpx.URL(base_url).scheme == "https":
        return httpx.create_ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
