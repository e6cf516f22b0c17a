"""Whether a GET is hedged if the call does not say."""

import asyncio
from contextlib import nullcontext

import httpx
import pytest
from upstreams import Upstream, UpstreamTimeout

pytestmark = pytest.mark.anyio

FOR_A_PERCENTILE = 100  # calls, more than a p95 needs


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio, as the library does."""
    return "asyncio"


@pytest.mark.parametrize(
    ("made_with", "call", "hedged"),
    [(False, None, False), (True, None, True), (True, False, False), (False, True, True)],
)
async def test_a_call_without_an_option_hedges_as_its_upstream(
    *, made_with: bool, call: bool | None, hedged: bool
) -> None:
    asked: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if asked.count("/slow") == 1:
            await asyncio.Event().wait()
        return httpx.Response(200)

    upstream = Upstream(
        "orders",
        "http://orders.invalid",
        timeout=30 if hedged else 0.2,
        hedge=made_with,
        retry_share=1,
        max_retries=0,
        transport=lambda: httpx.MockTransport(answer),
    )
    async with upstream.open():
        for number in range(FOR_A_PERCENTILE):
            await upstream.get(f"/{number}", timeout=30)
        # The first try is never answered, so without a second try the call times out.
        with nullcontext() if hedged else pytest.raises(UpstreamTimeout):
            await upstream.get("/slow", hedge=call)

    assert asked.count("/slow") == (2 if hedged else 1)
