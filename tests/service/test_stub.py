"""Failures and delays of the embedded upstream."""

import asyncio

import pytest

from price_service.clients.stub import StubPrices

from ..test_stub import talk_to

pytestmark = pytest.mark.anyio


async def test_a_hanging_symbol_does_not_delay_other_symbols() -> None:
    async with talk_to(StubPrices(failing={"AAPL": "hang"})) as client:
        hanging = asyncio.create_task(client.get("/prices/AAPL"))
        fine = await client.get("/prices/MSFT")
        await asyncio.sleep(0.01)
        still = not hanging.done()
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging

    assert still
    assert fine.status_code == 200
