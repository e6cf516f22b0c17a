"""Concurrent calls: their outcomes, their bounds, and that none is left behind."""

import asyncio
import time

import pytest
from blockbuster import BlockingError

from {{ cookiecutter.package_name }}.clients.errors import UpstreamTimeout
from {{ cookiecutter.package_name }}.deadline import DeadlineExceeded
from {{ cookiecutter.package_name }}.fanout import (
    Arrived,
    Failed,
    FanOut,
    fan_out,
)

pytestmark = pytest.mark.anyio


class Sleepers:
    """Calls that sleep until they are cancelled, and what became of them."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.cleaned: list[str] = []

    async def __call__(self, key: str) -> str:
        """Sleep; once cancelled, take a few turns of the loop to clean up."""
        self.begun.append(key)
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            self.cleaned.append(key)
        return key


async def test_the_values_arrive_in_the_order_of_the_keys() -> None:
    async def call(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return f"{seconds} s"

    result = await fan_out(call, [0.002, 0.001, 0], deadline=5, max_concurrency=3)

    assert result.arrived == {0.002: "0.002 s", 0.001: "0.001 s", 0: "0 s"}
    assert list(result.arrived) == [0.002, 0.001, 0]
    assert result.failed == {}


async def test_no_keys_give_an_empty_result() -> None:
    keys: list[float] = []
    result = await fan_out(asyncio.sleep, keys, deadline=5, max_concurrency=1)

    assert result.calls == ()
    assert not result.concurrent


async def test_all_calls_are_under_way_at_once() -> None:
    barrier = asyncio.Barrier(20)

    async def call(_: int) -> None:
        await barrier.wait()

    result = await fan_out(call, range(20), deadline=5, max_concurrency=20)

    assert len(result.arrived) == 20


async def test_no_more_calls_are_under_way_than_allowed() -> None:
    inside = most = 0

    async def call(_: int) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.001)
        inside -= 1

    result = await fan_out(call, range(20), deadline=5, max_concurrency=3)

    assert len(result.arrived) == 20
    assert most == 3


async def test_a_bound_below_one_is_refused_because_nothing_could_run() -> None:
    with pytest.raises(ValueError, match="max_concurrency is 0"):
        await fan_out(asyncio.sleep, [0], deadline=5, max_concurrency=0)


async def test_waiting_for_a_turn_is_not_part_of_the_wait() -> None:
    async def call(_: int) -> None:
        await asyncio.sleep(0.002)

    result = await fan_out(call, range(4), deadline=5, max_concurrency=1)

    ends = [each.end for each in result.calls]
    starts = [each.start for each in result.calls]
    assert starts[0] >= 0
    assert all(start >= end for start, end in zip(starts[1:], ends[:-1], strict=True))
    assert result.elapsed >= result.sum_of_waits
    assert not result.concurrent


async def test_an_upstream_that_fails_is_an_outcome_and_the_others_arrive() -> None:
    error = UpstreamTimeout("prices", "did not answer")

    async def call(key: str) -> str:
        if key == "b":
            raise error
        return key.upper()

    result = await fan_out(call, "abc", deadline=5, max_concurrency=3)

    assert result.arrived == {"a": "A", "c": "C"}
    assert result.failed == {"b": error}
    assert [type(each) for each in result.calls] == [Arrived, Failed, Arrived]


async def test_the_caller_says_which_failures_are_expected() -> None:
    async def call(key: str) -> int:
        return int(key)

    result = await fan_out(call, "1x", deadline=5, max_concurrency=2, expected=(ValueError,))

    assert result.arrived == {"1": 1}
    assert isinstance(result.failed["x"], ValueError)


async def test_a_call_that_runs_out_of_time_is_an_outcome_and_the_others_arrive() -> None:
    sleepers = Sleepers()

    async def call(key: str) -> str:
        return key if key == "b" else await sleepers(key)

    result = await fan_out(call, "abc", deadline=0.02, max_concurrency=3)

    assert result.arrived == {"b": "b"}
    assert {key: type(error) for key, error in result.failed.items()} == {
        "a": DeadlineExceeded,
        "c": DeadlineExceeded,
    }
    assert sleepers.cleaned == ["a", "c"]


async def test_a_call_whose_turn_never_came_has_waited_for_nothing() -> None:
    sleepers = Sleepers()
    result = await fan_out(sleepers, "ab", deadline=0.02, max_concurrency=1)

    first, second = result.calls
    assert sleepers.begun == ["a"]
    assert first.end > first.start
    assert second.end == second.start
    assert isinstance(result.failed["b"], DeadlineExceeded)


async def test_a_call_that_finds_no_time_left_is_an_outcome() -> None:
    async def call(_: str) -> None:
        raise DeadlineExceeded

    result = await fan_out(call, "a", deadline=5, max_concurrency=1)

    assert isinstance(result.failed["a"], DeadlineExceeded)


async def test_a_timeout_of_the_call_itself_is_not_taken_for_the_deadline() -> None:
    async def call(_: str) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError) as caught:
        await fan_out(call, "a", deadline=5, max_concurrency=1)

    assert not isinstance(caught.value, DeadlineExceeded)


async def test_a_bug_in_one_call_ends_the_others_before_it_is_raised() -> None:
    sleepers = Sleepers()

    async def call(key: str) -> str:
        if key == "b":
            raise ZeroDivisionError
        return await sleepers(key)

    before = asyncio.all_tasks()
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(5):
            await fan_out(call, "abc", deadline=60, max_concurrency=3)

    assert sleepers.cleaned == sleepers.begun == ["a", "c"]
    assert asyncio.all_tasks() == before


async def test_a_call_that_blocks_the_loop_is_a_bug() -> None:
    async def call(_: str) -> None:
        time.sleep(0.001)  # noqa: ASYNC251 - what must be found

    with pytest.raises(BlockingError):
        await fan_out(call, "ab", deadline=5, max_concurrency=2)


async def test_cancelling_the_caller_ends_every_call_before_it_returns() -> None:
    sleepers = Sleepers()
    before = asyncio.all_tasks()
    caller = asyncio.create_task(fan_out(sleepers, "abcd", deadline=60, max_concurrency=3))
    await asyncio.sleep(0.01)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert sleepers.begun == ["a", "b", "c"]
    assert sleepers.cleaned == ["a", "b", "c"]
    assert asyncio.all_tasks() == before


async def test_a_call_that_cancels_itself_does_not_leave_the_others_behind() -> None:
    sleepers = Sleepers()

    async def call(key: str) -> str:
        if key == "b":
            raise asyncio.CancelledError
        return await sleepers(key)

    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await fan_out(call, "abc", deadline=60, max_concurrency=3)

    assert sleepers.cleaned == ["a", "c"]


@pytest.mark.parametrize(
    ("waits", "elapsed", "concurrent"),
    [
        ([], 0.0, False),
        ([(0.0, 1.0)], 1.0, False),
        ([(0.0, 1.0), (1.0, 2.0)], 2.0, False),
        ([(0.0, 1.0), (0.9, 1.9)], 1.9, False),
        ([(0.0, 1.0), (0.0, 1.0)], 1.0, True),
        ([(0.0, 1.0), (0.0, 1.0), (0.0, 1.0)], 1.1, True),
    ],
)
def test_calls_are_concurrent_when_together_they_took_clearly_less_than_in_turn(
    waits: list[tuple[float, float]], elapsed: float, concurrent: object
) -> None:
    calls = tuple(Arrived("key", "value", start, end) for start, end in waits)

    assert FanOut(calls, elapsed).concurrent is concurrent
