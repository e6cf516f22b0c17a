"""Several upstreams are open together."""

from contextlib import AsyncExitStack

import pytest
from upstreams import Upstream, open_all

pytestmark = pytest.mark.anyio


def upstreams() -> list[Upstream]:
    return [Upstream(name, "http://127.0.0.1:9") for name in ("one", "two")]


async def is_open(upstream: Upstream) -> bool:
    """Tell whether the pool is open, which a second `open` refuses."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(upstream.open())
        except RuntimeError:
            return True
        return False


async def test_they_are_open_within_the_block_only() -> None:
    both = upstreams()

    async with open_all(iter(both)):
        inside = [await is_open(each) for each in both]

    assert inside == [True, True]
    assert [await is_open(each) for each in both] == [False, False]


async def test_those_before_a_failing_one_are_closed() -> None:
    one, two = upstreams()

    async with two.open():
        with pytest.raises(RuntimeError):
            await open_all([one, two]).__aenter__()
        assert not await is_open(one)


async def test_there_may_be_none() -> None:
    async with open_all([]):
        pass
