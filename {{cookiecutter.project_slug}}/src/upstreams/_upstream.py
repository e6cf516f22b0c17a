"""One upstream over HTTP: pooled connections, time limits, retries, and typed errors.

A call goes down through the methods of `Upstream`: `_reported` reports its end, `_shared` limits
its time and joins it with an identical call, `_answer` asks the cache, `_fetch` retries, `_hedge`
starts a second try, `_try` asks the circuit breaker and waits for a slot, and `attempt` sends the
request.
"""

import asyncio
import logging
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from math import isfinite
from time import monotonic
from typing import Any, Unpack

import httpx

from ._attempt import TypedBody, attempt, begun, whole
from ._auth import Exchange, as_auth
from ._breaker import Breaker, State
from ._client import PooledTransport, no_cookies
from ._coalescing import SharedCalls
from ._connector import tls_context
from ._deadline import BUDGET_HEADER, Deadline, DeadlineExceeded
from ._errors import UpstreamError, UpstreamTimeout
from ._failures import log_failure
from ._fields import with_fields
from ._hedging import Latencies, hedged
from ._observer import NOBODY, Attempt, Observer, Trace, error_name, method_name, traced
from ._options import GetOptions, RequestOptions, pairs
from ._pool import Connections, OpenCache, Pool, Transport
from ._retries import IDEMPOTENT, Refusal, RetryBudget, with_retries
from ._slots import Slots
from ._tasks import is_cancelled, not_cancelled
from ._transport import MAX_HEADER_BYTES, MAX_HEADERS, USER_AGENT, AiohttpTransport
from ._urls import basic_authorization, call_url, ignored_proxy, parsed_base

logger = logging.getLogger(__name__)

_HEADERS = (("Accept", "*/*"), ("Accept-Encoding", "gzip, deflate"))
# httpx looks up the types of `files` in a table; its first use reads it from disk, on the loop.
if not mimetypes.inited:
    mimetypes.init()

_NO_STATUS: frozenset[int] = frozenset()
_NO_BODY = httpx.ByteStream(b"")
_BODIES = frozenset({"json", "content", "data", "files"})

# Headers that name a request and not its caller. Any other `pass_on` header may hold credentials,
# so calls that differ in it never share a reply.
_IDS = frozenset({"x-request-id", "traceparent", "tracestate", "baggage"})

PassOn = Callable[[], Iterable[tuple[str, str]]]


@dataclass(slots=True, eq=False, repr=False)
class _Call:
    """A request with its deadlines, and the options of its call.

    `announced` is the deadline that the upstream is told. `deadline` may be later, if callers with
    more time wait for the same answer.
    """

    request: httpx.Request
    target: int  # the requested resource, for the breaker
    announced: Deadline
    deadline: Deadline
    patience: float  # seconds to wait for a slot
    accept: Collection[int]
    auth: httpx.Auth | None
    is_personal: bool  # its answer may be for this caller only
    method: str  # for the observer
    began: float = field(default_factory=monotonic)
    key: Hashable = None  # of identical calls; None if it is never shared
    hedge: bool = False
    tries: int = 0

    @property
    def may_repeat(self) -> bool:
        """Whether it may be sent again; a body that is sent as it is made exists only once."""
        is_kept = isinstance(self.request.stream, httpx.ByteStream)
        return is_kept and self.request.method in IDEMPOTENT


@dataclass(eq=False)
class Upstream:
    """A service that this program calls, with its connections and its circuit breaker.

    The query of `base_url` is sent with every call, before the query of the call's path. Its user
    and password are sent as `Authorization: Basic` (RFC 7617). A fragment is refused, here and in
    a path, because it would never be sent (RFC 9110 section 7.1).

    `pass_on` returns the headers of the current request to send with each call, such as its id.
    Identical GETs share one request, and are cached, only if these headers are the same, except
    `X-Request-ID`, `traceparent`, `tracestate` and `baggage`.

    `observer` and `trace` may be set later, before the pool is opened.

    For an upstream's fault, calls raise an `UpstreamError` or `DeadlineExceeded`, and no other
    error. Each failed call is one warning in the log, limited in rate. An asynchronous `content`,
    and `files`, are sent as they are made: a call with them is tried once. The other options are
    those of `GetOptions` and `RequestOptions`.
    """

    name: str  # in errors and logs
    base_url: str = field(repr=False)  # may hold a password
    _: KW_ONLY
    timeout: float = 2.0  # seconds for one call, with its retries
    max_connections: int = 100
    max_waiting: int = 1000  # calls that wait for a connection; further calls fail at once
    max_response_bytes: int = 1024 * 1024  # of one body, decoded
    max_header_bytes: int = MAX_HEADER_BYTES  # of one line of a reply's header
    max_headers: int = MAX_HEADERS  # of a reply
    max_retries: int = 2  # per call
    retry_share: float = 0.19  # retries and hedges as a share of the calls
    breaker_failures: int = 20  # in a row
    breaker_seconds: float = 2.0
    hedge: bool = False  # whether GETs are hedged, unless the call says otherwise
    coalesce: bool = True  # identical GETs at the same time share one request
    required: bool = False  # for readiness checks: the program cannot work without it
    cache: OpenCache | None = field(default=None, repr=False)  # where replies are kept
    transport: Transport | None = field(default=None, repr=False)  # a stub, a test's fake
    pass_on: PassOn | None = field(default=None, repr=False)  # headers of the current request
    observer: Observer = field(default=NOBODY, repr=False)  # gets the events of calls
    trace: Trace | None = field(default=None, repr=False)  # a block around each attempt

    def __post_init__(self) -> None:
        """Prepare what the calls share.

        Raises `ValueError` for an invalid base URL, one with a fragment, and an invalid `timeout`.
        Raises `OSError` for what `certificate_mistakes` reports.
        """
        self.timeout = _seconds(self.timeout)
        base = parsed_base(self.name, self.base_url)
        self._query = base.query
        self._address = str(base.copy_with(query=None, userinfo=None)).rstrip("/")
        self._headers = httpx.Headers(
            [("Host", base.netloc.decode("ascii")), *_HEADERS, ("User-Agent", USER_AGENT)]
        )
        transport = self.transport or partial(
            AiohttpTransport,
            tls=tls_context(self._address),
            base_url=base,
            authorization=basic_authorization(base),
            max_header_bytes=self.max_header_bytes,
            max_headers=self.max_headers,
        )
        shared = partial(SharedCalls[httpx.Response], self._coalesced)
        self._connections = Connections(self.name, transport, self.cache, self._slots, shared)
        self._budget = RetryBudget(self.retry_share)
        self._latencies = Latencies()
        self.breaker = Breaker(
            self.name,
            failures=self.breaker_failures,
            seconds=self.breaker_seconds,
            on_change=self._breaker_changed,
            on_refusal=self._breaker_refused,
        )

    def open(self) -> AbstractAsyncContextManager[None]:
        """Pool connections on the running event loop until the block ends.

        Without an open pool every call makes a new connection.

        Raises `RuntimeError` when the pool is open already.
        """
        if self.transport is None and (variable := ignored_proxy(self._address)):
            logger.info("%s is not used: %s is called directly", variable, self.name)
        return self._connections.open()

    async def get(
        self, path: str, *, hedge: bool | None = None, **options: Unpack[GetOptions]
    ) -> httpx.Response:
        """Return the 2xx reply to `GET base_url/path`, read to its end.

        With `hedge`, a call that takes longer than 95 % of the latest calls is sent a second time,
        and the first answer counts; None uses the `hedge` of the upstream.

        Raises an `UpstreamError` or `DeadlineExceeded`; `ValueError` for a bad path or timeout.
        """
        hedge = self.hedge if hedge is None else hedge
        call = self._call("GET", path, options, hedge=hedge, may_share=self.coalesce)
        return await self._reported(call, self._shared(call))

    async def request(
        self, method: str, path: str, **options: Unpack[RequestOptions]
    ) -> httpx.Response:
        """Return the 2xx reply to `method base_url/path`, as `get` does.

        Only an idempotent method (RFC 9110 section 9.2.2) is tried again. No reply is shared.
        """
        call = self._call(method, path, options)
        return await self._reported(call, self._shared(call))

    async def post(self, path: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Return the 2xx reply to `POST base_url/path`, as `request` does; it is tried once."""
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Return the 2xx reply to `PUT base_url/path`, as `request` does."""
        return await self.request("PUT", path, **options)

    async def patch(self, path: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Return the 2xx reply to `PATCH base_url/path`, as `request` does; it is tried once."""
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Return the 2xx reply to `DELETE base_url/path`, as `request` does."""
        return await self.request("DELETE", path, **options)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        read_timeout: float | None = None,
        max_bytes: int | None = None,
        **options: Unpack[RequestOptions],
    ) -> AsyncIterator[httpx.Response]:
        """Yield the 2xx reply to `method base_url/path` once its header has arrived.

        The timeout and the deadline apply until then. After that every part of the body must arrive
        within `read_timeout` seconds, by default the upstream's `timeout`. The body is decoded as
        it is read (`aiter_bytes`, `aiter_lines`, `aread` ...), with no limit of size unless
        `max_bytes` is given. With an `auth` whose flow reads replies, the whole body is read first,
        up to `max_bytes` or `max_response_bytes`. The call holds a connection until the block ends.
        Its reply is never shared, cached or hedged; for the circuit breaker only the header counts.

        Raises the errors of `request`, also while the body is read.
        """
        patience = self.timeout if read_timeout is None else _seconds(read_timeout)
        call = self._call(method, path, options)
        async with AsyncExitStack() as held:
            pool = await held.enter_async_context(self._connections.use())
            exchange = self._streaming(call, pool, max_bytes)
            begin = partial(self._begin, call, pool, exchange, held)
            fetched = self._limited(call, self._fetch(call, begin))
            response = await self._reported(call, fetched)
            if response.is_closed:  # it was read already
                yield response
                return
            yield httpx.Response(
                response.status_code,
                headers=response.headers,
                stream=TypedBody(self.name, response, patience, partial(self._broke_off, call)),
                request=response.request,
                extensions=response.extensions,
            )

    def client(self, *, max_bytes: int | None = None) -> httpx.AsyncClient:
        """Return an `httpx.AsyncClient` over the upstream's pool, for an SDK that wants a client.

        It has the upstream's base URL with its query and credentials, connections, slots, TLS,
        limits of headers, `pass_on`, and the deadline of the current request. Bodies are decoded in
        small steps, up to `max_bytes` (by default `max_response_bytes`). It stores no cookies.

        It has no retries, hedging, coalescing, cache or circuit breaker: an SDK has its own, and
        expects every status as a response and every error as httpx raises it. A wait for a slot
        that takes half of the timeout is an `httpx.PoolTimeout`, the end of the request's deadline
        an `httpx.ReadTimeout`, a body that is too large or badly encoded an `httpx.DecodingError`.
        Each error, 429 and 5xx is one warning in the log. As in httpx, the message of
        `raise_for_status()` has the URL.

        Each call returns a new client. Closing a client leaves the pool open.
        """
        return httpx.AsyncClient(
            base_url=self._address,
            transport=PooledTransport(
                self,
                self._connections,
                httpx.URL(self._address),
                self._query,
                lambda: list(self.pass_on() if self.pass_on is not None else ()),
                self.max_response_bytes if max_bytes is None else max_bytes,
            ),
            headers=dict(_HEADERS),
            cookies=no_cookies(),
            timeout=httpx.Timeout(self.timeout, connect=self.timeout / 2, pool=self.timeout / 2),
            trust_env=False,
        )

    async def _reported(self, call: _Call, work: Awaitable[httpx.Response]) -> httpx.Response:
        try:
            response = await self._typed(call, work)
        except BaseException as error:
            name, seconds = _error_of(call, error), monotonic() - call.began
            self.observer.call_ended(self.name, call.method, name, seconds)
            log_failure(error, seconds=seconds)
            raise
        seconds = monotonic() - call.began
        self.observer.call_ended(self.name, call.method, None, seconds)
        return response

    def _broke_off(self, call: _Call, error: UpstreamError) -> None:
        error.attempts = call.tries
        self.observer.body_failed(self.name, call.method, error_name(error))
        log_failure(error, seconds=monotonic() - call.began)

    async def _typed(self, call: _Call, work: Awaitable[httpx.Response]) -> httpx.Response:
        try:
            return await work
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            raise not_cancelled() from error
        except TimeoutError:
            pass  # not raised from here, which would keep its frames alive
        raise self._out_of_time(call)

    async def _limited(self, call: _Call, work: Awaitable[httpx.Response]) -> httpx.Response:
        async with asyncio.timeout(call.deadline.left):
            return await work

    def _out_of_time(self, call: _Call) -> DeadlineExceeded | UpstreamTimeout:
        error: DeadlineExceeded | UpstreamTimeout
        if call.announced.ends_with_request:
            error = DeadlineExceeded(f"no time was left to wait for {self.name}")
            error.upstream = self.name
        else:
            error = UpstreamTimeout(self.name, "did not answer in time")
        error.attempts = call.tries
        return error

    async def _shared(self, call: _Call) -> httpx.Response:
        pool = self._connections.kept
        if pool is None:
            return await self._limited(call, self._unpooled(call))
        answer = partial(self._answer, call, pool)
        if call.key is None:
            return await self._limited(call, answer(call.deadline))
        return await pool.shared.join(call.key, call.deadline, answer)

    async def _unpooled(self, call: _Call) -> httpx.Response:
        async with self._connections.use() as pool:
            return await self._answer(call, pool, call.deadline)

    async def _answer(self, call: _Call, pool: Pool, deadline: Deadline) -> httpx.Response:
        call.deadline = deadline
        once = partial(self._hedge if call.hedge else self._try, call, pool)
        if pool.cache is None or call.is_personal:
            return await self._fetch(call, once)
        is_hit = True

        async def fetch() -> httpx.Response:
            nonlocal is_hit
            is_hit = False
            self.observer.cache_missed(self.name)
            return await self._fetch(call, once)

        response = await pool.cache(call.request, fetch)
        if is_hit:
            self.observer.cache_hit(self.name)
        response.request = call.request
        return response

    async def _fetch(
        self, call: _Call, once: Callable[[], Awaitable[httpx.Response]]
    ) -> httpx.Response:
        self.breaker.refuse(call.target)
        self._budget.note_call()
        is_worth_it = call.may_repeat and not self.breaker.is_hopeless(call.target)
        most = self.max_retries if is_worth_it else 0
        try:
            return await with_retries(
                once,
                most=most,
                budget=self._budget,
                deadline=call.deadline,
                on_decision=self._retried,
            )
        except UpstreamError as error:
            error.attempts = error.attempts or call.tries
            raise

    async def _hedge(self, call: _Call, pool: Pool) -> httpx.Response:
        if (delay := self._latencies.p95) is None:
            return await self._try(call, pool)
        once = partial(self._try, call, pool)
        return await hedged(once, delay=delay, may=self._may_hedge, won=self._hedge_won)

    async def _try(self, call: _Call, pool: Pool) -> httpx.Response:
        taken_at = await pool.slots.take(call.patience)
        try:
            with self.breaker.watch(call.deadline, call.target):
                exchange = partial(whole, pool.transport, self.max_response_bytes)
                return await self._attempt(call, exchange)
        finally:
            pool.slots.release(taken_at)

    async def _begin(
        self, call: _Call, pool: Pool, exchange: Exchange, held: AsyncExitStack
    ) -> httpx.Response:
        """Make one try of a stream, whose slot and response are `held` from then on."""
        async with AsyncExitStack() as own:
            taken_at = await pool.slots.take(call.patience)
            own.callback(pool.slots.release, taken_at)
            with self.breaker.watch(call.deadline, call.target):
                response = await self._attempt(call, exchange)
            own.push_async_callback(response.aclose)
            held.push_async_callback(own.pop_all().aclose)
            return response

    def _streaming(self, call: _Call, pool: Pool, max_bytes: int | None) -> Exchange:
        if call.auth is not None and call.auth.requires_response_body:
            # Its flow reads every reply, so each needs a limit.
            most = self.max_response_bytes if max_bytes is None else max_bytes
            return partial(whole, pool.transport, most)
        return partial(begun, pool.transport, max_bytes)

    async def _attempt(self, call: _Call, exchange: Exchange) -> httpx.Response:
        call.tries += 1
        began = monotonic()
        left = call.announced.left if call.announced.left > 0 else call.deadline.left
        call.request.headers[BUDGET_HEADER] = str(max(0, int(left * 1000)))
        sent = attempt(self.name, exchange, call.request, accept=call.accept, auth=call.auth)
        try:
            response = await (sent if self.trace is None else self._traced(self.trace, call, sent))
        except BaseException as error:
            name, seconds = _error_of(call, error), monotonic() - began
            self.observer.attempt_ended(self.name, call.method, name, seconds)
            raise
        seconds = monotonic() - began
        self.observer.attempt_ended(self.name, call.method, None, seconds)
        # A caller with little time only sees quick answers, which would make others seem slow.
        if not call.announced.is_early:
            self._latencies.note(seconds)
        return response

    def _traced(
        self, trace: Trace, call: _Call, sent: Awaitable[httpx.Response]
    ) -> Awaitable[httpx.Response]:
        made = Attempt(self.name, call.tries, call.request)
        return traced(trace, made, sent, partial(_error_of, call))

    def _slots(self) -> Slots:
        return Slots(
            self.name,
            size=self.max_connections,
            max_waiting=self.max_waiting,
            observer=self.observer,
        )

    def _coalesced(self) -> None:
        self.observer.coalesced(self.name)

    def _retried(self, refused_by: Refusal | None) -> None:
        if refused_by is None:
            self.observer.retried(self.name)
        else:
            self.observer.retry_refused(self.name, refused_by)

    def _may_hedge(self) -> bool:
        may = self._budget.spend()
        tell = self.observer.hedged if may else self.observer.hedge_refused
        tell(self.name)
        return may

    def _hedge_won(self) -> None:
        self.observer.hedge_won(self.name)

    def _breaker_changed(self, state: State) -> None:
        self.observer.breaker_changed(self.name, state)

    def _breaker_refused(self) -> None:
        self.observer.breaker_refused(self.name)

    def _call(
        self,
        method: str,
        path: str,
        options: GetOptions | RequestOptions,
        *,
        hedge: bool = False,
        may_share: bool = False,
    ) -> _Call:
        query = pairs(options.get("params"))
        passed_on = [*self.pass_on()] if self.pass_on is not None else []
        url = call_url(self._address, self._query, path, query)
        body: Any = {}
        if options:
            body = {name: value for name, value in options.items() if name in _BODIES}
        timeout = options.get("timeout")
        deadline = (
            Deadline(self.timeout)
            if timeout is None
            else Deadline(_seconds(timeout), fault_after=self.timeout)
        )
        # Connecting, or waiting for a free connection, may take half of a call's time: after that
        # too little is left for a reply.
        longest = self.timeout if timeout is None else max(timeout, self.timeout)
        patience = (self.timeout if timeout is None else timeout) / 2
        sent = with_fields(self._headers, _encoded(passed_on))
        if (headers := options.get("headers")) is not None:
            sent.update(headers)
        request = httpx.Request(
            method,
            url,
            headers=sent,
            # Given a stream, httpx skips its search for a body to encode.
            stream=_NO_BODY if method == "GET" and not body else None,
            # Never below the default: a connection that takes longer counts against the upstream.
            extensions={"timeout": {"connect": longest / 2}},
            **body,
        )
        given = options.get("auth")
        auth = as_auth(given)
        credentials = [field for field in passed_on if field[0].lower() not in _IDS]
        accept = frozenset(options["accept"]) if "accept" in options else _NO_STATUS
        key: Hashable = None
        # The credentials of an `httpx.Auth` are not known before it runs.
        if may_share and (given is None or isinstance(given, tuple)):
            own = () if headers is None else tuple(httpx.Headers(headers).raw)
            key = (path, query, hedge, timeout, accept, given, *credentials, *own)
        return _Call(
            request,
            hash((method, path, query)),
            announced=deadline,
            deadline=deadline,
            patience=patience,
            accept=accept,
            auth=auth,
            is_personal=auth is not None or bool(credentials),
            method=method_name(request.method),
            key=key,
            hedge=hedge,
        )


def _encoded(fields: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in fields]


def _error_of(call: _Call, outcome: httpx.Response | BaseException) -> str | None:
    if isinstance(outcome, httpx.Response):
        return None
    # A shared call goes on after its first caller's time, until all callers have left.
    return error_name(outcome, call.deadline if call.deadline.passed else call.announced)


def _seconds(timeout: float) -> float:
    if not (isfinite(timeout) and timeout > 0):
        message = f"a timeout is a number of seconds above 0, not {timeout}"
        raise ValueError(message)
    return timeout
