"""Opens several upstreams, for the time in which a program runs."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from ._upstream import Upstream


@asynccontextmanager
async def open_all(upstreams: Iterable[Upstream]) -> AsyncIterator[None]:
    """Pool the connections of all these upstreams until the block ends; see `Upstream.open`.

    Raises:
        RuntimeError: the pool of one of them is open already. The others are closed.
    """
    async with AsyncExitStack() as stack:
        for upstream in upstreams:
            await stack.enter_async_context(upstream.open())
        yield
