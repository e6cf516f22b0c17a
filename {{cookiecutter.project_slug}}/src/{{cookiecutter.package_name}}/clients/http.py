"""One upstream over HTTP: pooled while the service runs, patient within limits, typed in errors.

A call goes down through the methods of `Upstream`: `_in_time` bounds it and shares it with those
that are identical, `_answer` asks the cache, `_fetch` tries again, `_hedge` tries twice at once,
`_try` minds the circuit breaker, and `attempt` talks to the upstream.
"""

import asyncio
from collections.abc import Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache, partial
from time import monotonic

import httpx
from flask import g, has_app_context

from ..deadline import BUDGET_HEADER, DeadlineExceeded, Limit
from .attempt import attempt
from .breaker import Breaker
from .errors import UpstreamTimeout
from .hedging import Latencies, hedged
from .pool import Connections, OpenCache, Pool, Transport
from .retries import IDEMPOTENT, RetryBudget, with_retries
from .transport import AiohttpTransport, tls_context

_HEADERS = (("Accept", "*/*"), ("Accept-Encoding", "gzip, deflate"))
_IDS = {"X-Request-ID": "request_id", "traceparent": "traceparent", "tracestate": "tracestate"}
_NO_BODY = httpx.ByteStream(b"")


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, what carries it, and how long that may take."""

    request: httpx.Request
    transport: httpx.AsyncBaseTransport
    limit: Limit
    hedge: bool


@dataclass(eq=False)
class Upstream:
    """A service that this one calls, the connections to it, and what is learnt about it."""

    name: str  # what errors and logs call it
    base_url: str
    _: KW_ONLY
    timeout: float  # seconds for one call, with its retries
    max_connections: int
    max_response_bytes: int = 10 * 1024 * 1024  # of one body, decoded
    max_retries: int = 2  # per call
    retry_share: float = 0.19  # the further tries, hedges included, as a share of the calls
    breaker_failures: int = 20  # in a row
    breaker_seconds: float = 2.0
    coalesce: bool = True  # identical GETs at the same time share one request
    required: bool = False  # whether the service is of no use without it
    cache: OpenCache | None = None  # where replies are kept while it is open
    transport: Transport | None = None  # another way to it than a socket: a stub, a test's fake

    def __post_init__(self) -> None:
        """Prepare what the calls share."""
        transport = self.transport or partial(
            AiohttpTransport, max_connections=self.max_connections, tls=tls_context(self.base_url)
        )
        self._connections = Connections(self.name, transport, self.cache)
        # Connecting, or waiting for a free connection, may use up half of a call's time: a later
        # start leaves too little for a reply.
        self._timeouts = {"pool": self.timeout / 2, "connect": self.timeout / 2}
        self._budget = RetryBudget(self.retry_share)
        self._latencies = Latencies()
        self.breaker = Breaker(
            self.name, failures=self.breaker_failures, seconds=self.breaker_seconds
        )

    def open(self) -> AbstractAsyncContextManager[None]:
        """Pool connections on the running loop until the block ends; for the lifespan."""
        return self._connections.open()

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
        same = (request.url, hedge, *sorted((headers or {}).items())) if self.coalesce else None
        return await self._in_time(request, hedge=hedge, same=same)

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
            async with asyncio.timeout(limit.left):
                if (pool := self._connections.kept) is None:
                    async with self._connections.connect() as pool:
                        return await self._answer(request, pool, limit, hedge=hedge)
                if same is None:
                    return await self._answer(request, pool, limit, hedge=hedge)
                answer = partial(self._answer, request, pool, hedge=hedge)
                return await pool.shared.join(same, limit, answer)
        except TimeoutError as error:
            if limit.is_deadline:
                message = f"no time was left to wait for {self.name}"
                raise DeadlineExceeded(message) from error
            raise UpstreamTimeout(self.name, "did not answer in time") from error

    async def _answer(
        self, request: httpx.Request, pool: Pool, limit: Limit, *, hedge: bool
    ) -> httpx.Response:
        call = _Call(request, pool.transport, limit, hedge)
        if pool.cache is None:
            return await self._fetch(call)
        return await pool.cache(request, partial(self._fetch, call))

    async def _fetch(self, call: _Call) -> httpx.Response:
        self._budget.note_call()
        most = self.max_retries if call.request.method in IDEMPOTENT else 0
        once = partial(self._hedge if call.hedge else self._try, call)
        return await with_retries(once, most=most, budget=self._budget, limit=call.limit)

    async def _hedge(self, call: _Call) -> httpx.Response:
        if (delay := self._latencies.p95) is None:
            return await self._try(call)
        return await hedged(partial(self._try, call), delay=delay, may=self._budget.spend)

    async def _try(self, call: _Call) -> httpx.Response:
        with self.breaker.watch(call.limit):
            began = monotonic()
            call.request.headers[BUDGET_HEADER] = str(max(0, int(call.limit.left * 1000)))
            response = await attempt(
                self.name, call.transport, call.request, max_bytes=self.max_response_bytes
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
        url = _url(self.base_url.rstrip("/") + path, _pairs(params))
        request = httpx.Request(
            method,
            url,
            headers=[("Host", url.netloc.decode("ascii")), *_HEADERS, *_ids_of_request()],
            json=json,
            # With a stream httpx need not find out that there is no body to encode.
            stream=_NO_BODY if method == "GET" and json is None else None,
            extensions={"timeout": self._timeouts},
        )
        request.headers.update(headers)
        return request


def _pairs(params: Mapping[str, str] | None) -> tuple[tuple[str, str], ...] | None:
    if isinstance(params, httpx.QueryParams):  # may have several values for a name
        return tuple(params.multi_items())
    return None if params is None else tuple(params.items())


@lru_cache(maxsize=1024)  # parsing one takes a seventh of the processor time of a call
def _url(url: str, params: tuple[tuple[str, str], ...] | None) -> httpx.URL:
    return httpx.URL(url) if params is None else httpx.URL(url, params=params)


def _ids_of_request() -> list[tuple[str, str]]:
    # Where there is a request, `logs.py` has checked its ids.
    if not has_app_context():
        return []
    ids = {name: g.get(attribute) for name, attribute in _IDS.items()}
    return [(name, value) for name, value in ids.items() if value]
