"""Hedged calls: when a second try starts, which try wins; no try is left running."""

import asyncio

import pytest
from upstreams._hedging import (
    KEPT,
    Latencies,
    hedged,
)

pytestmark = pytest.mark.anyio


class Tries:
    """Tries with given outcomes; it counts the begun and the cancelled tries."""

    def __init__(self, *outcomes: str | Exception) -> None:
        self.outcomes = list(outcomes)
        self.begun = self.cancelled = 0
        self.second = asyncio.Event()

    async def __call__(self) -> str:  # noqa: D102
        outcome = self.outcomes[self.begun]
        self.begun += 1
        if self.begun == 2:
            self.second.set()
        try:
            if outcome == "hangs":
                await asyncio.Event().wait()
            if outcome == "fails once there is a second":
                await self.second.wait()
                raise ConnectionError
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)


async def test_a_quick_try_is_not_hedged() -> None:
    tries = Tries("first", "second")

    assert await hedged(tries, delay=5, may=lambda: True) == "first"
    assert tries.begun == 1


async def test_a_second_try_answers_and_cancels_a_hanging_first_try() -> None:
    tries = Tries("hangs", "second")

    assert await hedged(tries, delay=0, may=lambda: True) == "second"
    assert (tries.begun, tries.cancelled) == (2, 1)


async def test_without_permission_there_is_no_second_try() -> None:
    tries = Tries("hangs", "second")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await hedged(tries, delay=0, may=lambda: False)

    assert (tries.begun, tries.cancelled) == (1, 1)


async def test_a_try_that_fails_early_is_not_hedged() -> None:
    tries = Tries(ConnectionError(), "second")
    with pytest.raises(ConnectionError):
        await hedged(tries, delay=5, may=lambda: True)

    assert tries.begun == 1


async def test_the_second_try_answers_if_the_first_fails() -> None:
    tries = Tries("fails once there is a second", "second")

    assert await hedged(tries, delay=0, may=lambda: True) == "second"


async def test_if_both_tries_fail_the_last_error_is_raised() -> None:
    tries = Tries("fails once there is a second", ZeroDivisionError())
    with pytest.raises((ConnectionError, ZeroDivisionError)):
        await hedged(tries, delay=0, may=lambda: True)

    assert tries.begun == 2


async def test_a_cancelled_caller_ends_both_tries() -> None:
    tries = Tries("hangs", "hangs")
    before = asyncio.all_tasks()
    call = asyncio.create_task(hedged(tries, delay=0, may=lambda: True))
    await tries.second.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert tries.cancelled == 2
    assert asyncio.all_tasks() == before


def test_a_percentile_of_too_few_latencies_is_none() -> None:
    latencies = Latencies()
    for _ in range(19):
        latencies.note(1)
    assert latencies.p95 is None

    latencies.note(1)
    assert latencies.p95 == 1


def test_the_p95_counts_only_the_latest_latencies() -> None:
    latencies = Latencies()
    for _ in range(KEPT):
        latencies.note(1000)
    for seconds in range(KEPT):
        latencies.note(seconds)

    assert latencies.p95 == 95
