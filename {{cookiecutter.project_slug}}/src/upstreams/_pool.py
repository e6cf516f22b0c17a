"""The connections to an upstream: pooled while the program runs, or made for a single call."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx

from ._coalescing import SharedCalls
from ._slots import Slots

Fetch = Callable[[], Awaitable[httpx.Response]]
Cache = Callable[[httpx.Request, Fetch], Awaitable[httpx.Response]]
OpenCache = Callable[[], AbstractAsyncContextManager[Cache]]
Transport = Callable[[], httpx.AsyncBaseTransport]


@dataclass(frozen=True, slots=True)
class Pool:
    """The connections, the calls in flight and the cached replies of one event loop."""

    loop: asyncio.AbstractEventLoop
    transport: httpx.AsyncBaseTransport
    slots: Slots
    cache: Cache | None = None
    shared: SharedCalls[httpx.Response] = field(default_factory=SharedCalls)


class Connections:
    """The pool of an upstream.

    A pool belongs to the event loop on which it was opened. A program with one loop opens it once.
    Where each piece of async code gets its own loop, as in the async views of a WSGI server, a
    connection lives for one call.
    """

    def __init__(
        self,
        upstream: str,
        transport: Transport,
        cache: OpenCache | None,
        slots: Callable[[], Slots],
        shared: Callable[[], SharedCalls[httpx.Response]],
    ) -> None:
        self._upstream = upstream
        self._transport = transport
        self._slots = slots
        self._shared = shared
        self._cache = cache
        self._opened: Pool | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Pool connections on the running loop until the block ends.

        Raises `RuntimeError` when they are open already.
        """
        if self._opened is not None:
            message = f"upstream {self._upstream} is open already"
            raise RuntimeError(message)
        async with AsyncExitStack() as stack:
            cache = await stack.enter_async_context(self._cache()) if self._cache else None
            transport = await stack.enter_async_context(self._transport())
            loop = asyncio.get_running_loop()
            self._opened = Pool(loop, transport, self._slots(), cache, self._shared())
            try:
                yield
            finally:
                self._opened = None

    @property
    def kept(self) -> Pool | None:
        """The pool of the running loop, if one is open."""
        is_here = self._opened is not None and self._opened.loop is asyncio.get_running_loop()
        return self._opened if is_here else None

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Pool]:
        """Yield the pool of the running loop, or connections that are closed with the block."""
        if (pool := self.kept) is not None:
            yield pool
            return
        async with self._transport() as transport:
            yield Pool(asyncio.get_running_loop(), transport, self._slots())
