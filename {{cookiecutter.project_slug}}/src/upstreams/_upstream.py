"""One upstream over HTTP: pooled while the service runs, patient within limits, typed in errors.

A call goes down through the methods of `Upstream`: `_in_time` bounds it and shares it with those
that are identical, `_answer` asks the cache, `_fetch` tries again, `_hedge` tries twice at once,
`_try` minds the circuit breaker and waits for a connection, and `attempt` talks to the upstream.
"""

import asyncio
import logging
from base64 import b64encode
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache, partial
from time import monotonic
from urllib import request as environment
from urllib.parse import unquote_to_bytes

import httpx

from ._attempt import attempt
from ._breaker import Breaker
from ._deadline import BUDGET_HEADER, DeadlineExceeded, Limit
from ._errors import UpstreamError, UpstreamTimeout
from ._hedging import Latencies, hedged
from ._pool import Connections, OpenCache, Pool, Transport
from ._retries import IDEMPOTENT, RetryBudget, with_retries
from ._slots import Slots
from ._tasks import is_cancelled, not_cancelled
from ._transport import MAX_HEADER_BYTES, MAX_HEADERS, AiohttpTransport, tls_context

logger = logging.getLogger(__name__)

_HEADERS = (("Accept", "*/*"), ("Accept-Encoding", "gzip, deflate"))
_NO_BODY = httpx.ByteStream(b"")

PassOn = Callable[[], Iterable[tuple[str, str]]]
Params = tuple[tuple[str, str], ...]

# Of the URLs that are kept parsed. A longer one may hold what a client sent.
_LONGEST_KNOWN_URL = 512


@dataclass(slots=True, eq=False, repr=False)
class _Call:
    """A request with its limits and its target, and how often it was tried.

    `told` is how long the upstream is told that it has; `limit` may be longer, where others wait
    for the same answer.
    """

    request: httpx.Request
    target: int  # what it asks for, for the breaker
    hedge: bool
    told: Limit
    limit: Limit
    tries: int = 0


@dataclass(eq=False)
class Upstream:
    """A service that this one calls, the connections to it, and what is learnt about it.

    The query of `base_url` goes along with every call, before that of a call's path, and its user
    and password do as `Authorization: Basic` (RFC 7617). A fragment is refused, here and in a
    path: it would never be sent (RFC 9110 section 7.1).
    """

    name: str  # what errors and logs call it
    base_url: str = field(repr=False)  # may hold a password
    _: KW_ONLY
    timeout: float = 2.0  # seconds for one call, with its retries
    max_connections: int = 100
    max_waiting: int = 1000  # calls that wait for a connection; more fail at once
    max_response_bytes: int = 1024 * 1024  # of one body, decoded
    max_header_bytes: int = MAX_HEADER_BYTES  # of one line of a reply's header
    max_headers: int = MAX_HEADERS  # of a reply
    max_retries: int = 2  # per call
    retry_share: float = 0.19  # the further tries, hedges included, as a share of the calls
    breaker_failures: int = 20  # in a row
    breaker_seconds: float = 2.0
    hedge: bool = False  # whether GETs are hedged where a call does not say
    coalesce: bool = True  # identical GETs at the same time share one request
    required: bool = False  # whether the service is of no use without it
    cache: OpenCache | None = field(default=None, repr=False)  # where replies are kept
    transport: Transport | None = field(default=None, repr=False)  # a stub, a test's fake
    pass_on: PassOn | None = field(default=None, repr=False)  # headers of the current request

    def __post_init__(self) -> None:
        """Prepare what the calls share.

        Raises:
            ValueError: the base URL has a fragment, or is none.
        """
        base = _base(self.name, self.base_url)
        self._query = base.query
        self._address = str(base.copy_with(query=None, userinfo=None)).rstrip("/")
        transport = self.transport or partial(
            AiohttpTransport,
            tls=tls_context(self._address),
            authorization=_authorization(base),
            max_header_bytes=self.max_header_bytes,
            max_headers=self.max_headers,
        )
        slots = partial(Slots, self.name, size=self.max_connections, max_waiting=self.max_waiting)
        self._connections = Connections(self.name, transport, self.cache, slots)
        # Connecting, or waiting for a free connection, may use up half of a call's time: a later
        # start leaves too little for a reply.
        self._patience = self.timeout / 2
        self._timeouts = {"connect": self._patience}
        self._budget = RetryBudget(self.retry_share)
        self._latencies = Latencies()
        self.breaker = Breaker(
            self.name, failures=self.breaker_failures, seconds=self.breaker_seconds
        )

    def open(self) -> AbstractAsyncContextManager[None]:
        """Pool connections on the running loop until the block ends; for the lifespan."""
        if self.transport is None and (variable := _ignored_proxy(self._address)):
            logger.info("%s is not used: %s is called directly", variable, self.name)
        return self._connections.open()

    async def get(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        hedge: bool | None = None,
    ) -> httpx.Response:
        """Return the 2xx reply to `GET base_url/path`, read to its end.

        With `hedge`, one that takes longer than 95 % of the latest is asked for a second time;
        `None` is what the upstream was made with.

        Raises an `UpstreamError` or `DeadlineExceeded`, and nothing else that an upstream causes.
        """
        hedge = self.hedge if hedge is None else hedge
        call = self._call("GET", path, params=params, headers=headers, hedge=hedge)
        same: Hashable = None
        if self.coalesce:
            same = (call.request.url, hedge, *sorted((headers or {}).items()))
        return await self._in_time(call, same)

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
        call = self._call(method, path, params=params, headers=headers, json=json)
        return await self._in_time(call)

    async def _in_time(self, call: _Call, same: Hashable = None) -> httpx.Response:
        try:
            async with asyncio.timeout(call.limit.left):
                return await self._shared(call, same)
        except UpstreamError as error:
            error.attempts = error.attempts or call.tries
            raise
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            raise not_cancelled() from error
        except TimeoutError:
            pass  # not raised from here: what it holds would be kept alive
        raise self._out_of_time(call)

    def _out_of_time(self, call: _Call) -> DeadlineExceeded | UpstreamTimeout:
        error: DeadlineExceeded | UpstreamTimeout
        if call.told.is_deadline:
            error = DeadlineExceeded(f"no time was left to wait for {self.name}")
            error.upstream = self.name
        else:
            error = UpstreamTimeout(self.name, "did not answer in time")
        error.attempts = call.tries
        return error

    async def _shared(self, call: _Call, same: Hashable) -> httpx.Response:
        if (pool := self._connections.kept) is None:
            async with self._connections.connect() as pool:
                return await self._answer(call, pool, call.limit)
        if same is None:
            return await self._answer(call, pool, call.limit)
        return await pool.shared.join(same, call.limit, partial(self._answer, call, pool))

    async def _answer(self, call: _Call, pool: Pool, limit: Limit) -> httpx.Response:
        call.limit = limit
        if pool.cache is None:
            return await self._fetch(call, pool)
        return await pool.cache(call.request, partial(self._fetch, call, pool))

    async def _fetch(self, call: _Call, pool: Pool) -> httpx.Response:
        self.breaker.refuse(call.target)
        self._budget.note_call()
        may_repeat = call.request.method in IDEMPOTENT
        most = self.max_retries if may_repeat and not self.breaker.is_hopeless(call.target) else 0
        once = partial(self._hedge if call.hedge else self._try, call, pool)
        return await with_retries(once, most=most, budget=self._budget, limit=call.limit)

    async def _hedge(self, call: _Call, pool: Pool) -> httpx.Response:
        if (delay := self._latencies.p95) is None:
            return await self._try(call, pool)
        return await hedged(partial(self._try, call, pool), delay=delay, may=self._budget.spend)

    async def _try(self, call: _Call, pool: Pool) -> httpx.Response:
        taken_at = await pool.slots.take(self._patience)
        try:
            with self.breaker.watch(call.limit, call.target):
                return await self._attempt(call, pool)
        finally:
            pool.slots.release(taken_at)

    async def _attempt(self, call: _Call, pool: Pool) -> httpx.Response:
        call.tries += 1
        began = monotonic()
        left = call.told.left if call.told.left > 0 else call.limit.left
        call.request.headers[BUDGET_HEADER] = str(max(0, int(left * 1000)))
        response = await attempt(
            self.name, pool.transport, call.request, max_bytes=self.max_response_bytes
        )
        # Of calls in a hurry only the quick ones are answered: the others would seem slow.
        if not call.told.is_deadline:
            self._latencies.note(monotonic() - began)
        return response

    def _call(  # noqa: PLR0913 - private
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        json: object = None,
        hedge: bool = False,
    ) -> _Call:
        pairs = _pairs(params)
        passed_on = self.pass_on() if self.pass_on is not None else ()
        url = _url(self._address, self._query, path, pairs)
        request = httpx.Request(
            method,
            url,
            headers=[("Host", url.netloc.decode("ascii")), *_HEADERS, *passed_on],
            json=json,
            # With a stream httpx need not find out that there is no body to encode.
            stream=_NO_BODY if method == "GET" and json is None else None,
            extensions={"timeout": self._timeouts},
        )
        request.headers.update(headers)
        limit = Limit(self.timeout)
        return _Call(request, hash((method, path, pairs)), hedge, told=limit, limit=limit)


def _base(upstream: str, base_url: str) -> httpx.URL:
    try:
        base = httpx.URL(base_url)
    except httpx.InvalidURL:  # says what was wrong in it, which may be a secret
        base = None
    if base is None or base.scheme not in {"http", "https"} or not base.host or "#" in base_url:
        message = f"the base URL of {upstream} must be http:// or https://, without a fragment"
        raise ValueError(message)
    return base


def _authorization(base: httpx.URL) -> str | None:
    user, _, password = base.userinfo.partition(b":")
    if not base.userinfo:
        return None
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return f"Basic {b64encode(pair).decode('ascii')}"


def _ignored_proxy(address: str) -> str | None:
    """Return the name of the variable by which other clients would take a proxy to `address`."""
    url = httpx.URL(address)
    if url.scheme not in environment.getproxies() or environment.proxy_bypass(url.host):
        return None
    return f"{url.scheme.upper()}_PROXY"


def _pairs(params: Mapping[str, str] | None) -> Params | None:
    if isinstance(params, httpx.QueryParams):  # may have several values for a name
        return tuple(params.multi_items())
    return None if params is None else tuple(params.items())


def _url(address: str, query: bytes, path: str, params: Params | None) -> httpx.URL:
    """Return the URL of a call; a name in `params` takes the place of one in a query.

    Raises `ValueError` for a path that could change the host, or has a fragment.
    """
    if path and (path[0] not in "/?" or "#" in path):
        message = "a path begins with '/' or '?' and has no '#', which is written as %23"
        raise ValueError(message)
    size = len(path) + sum(len(str(name)) + len(str(value)) for name, value in params or ())
    build = _known_url if size <= _LONGEST_KNOWN_URL else _new_url
    return build(address, query, path, params)


def _new_url(address: str, query: bytes, path: str, params: Params | None) -> httpx.URL:
    url = httpx.URL(address + path)
    if query:
        url = url.copy_with(query=b"&".join(filter(None, [query, url.query])))
    return url.copy_merge_params(params) if params else url


# Parsing one takes a seventh of the processor time of a call.
_known_url = lru_cache(maxsize=1024)(_new_url)
