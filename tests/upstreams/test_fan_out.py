"""Concurrent calls: their outcomes and limits; no call is left running."""

import asyncio
import sys
import time
from decimal import Decimal

import pytest
from blockbuster import BlockingError
from upstreams._deadline import DeadlineExceeded
from upstreams._errors import (
    UpstreamTimeout,
)
from upstreams._fan_out import (
    Arrived,
    Calls,
    Failed,
    FanOut,
    fan_out,
)

pytestmark = pytest.mark.anyio

WAREHOUSE = "warehouse"


class Sleepers:
    """Calls that sleep until they are cancelled; it records which began and which cleaned up."""

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


async def test_all_calls_run_concurrently() -> None:
    barrier = asyncio.Barrier(20)

    async def call(_: int) -> None:
        await barrier.wait()

    result = await fan_out(call, range(20), deadline=5, max_concurrency=20)

    assert len(result.arrived) == 20


async def test_no_more_calls_run_at_once_than_allowed() -> None:
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


async def test_a_max_concurrency_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="must be at least 1, not 0"):
        await fan_out(asyncio.sleep, [0], deadline=5, max_concurrency=0)


async def test_time_in_the_queue_is_not_part_of_the_wait() -> None:
    async def call(_: int) -> None:
        await asyncio.sleep(0.002)

    result = await fan_out(call, range(4), deadline=5, max_concurrency=1)

    ends = [each.end for each in result.calls]
    starts = [each.start for each in result.calls]
    assert starts[0] >= 0
    assert all(start >= end for start, end in zip(starts[1:], ends[:-1], strict=True))
    assert result.elapsed >= result.sum_of_waits
    assert not result.concurrent


async def test_a_failed_call_is_an_outcome_and_the_others_arrive() -> None:
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


async def test_a_timed_out_call_is_an_outcome_and_the_others_arrive() -> None:
    sleepers = Sleepers()

    async def call(key: str) -> str:
        return key if key == "b" else await sleepers(key)

    result = await fan_out(call, "abc", deadline=0.3, max_concurrency=3)

    assert result.arrived == {"b": "b"}
    assert {key: type(error) for key, error in result.failed.items()} == {
        "a": DeadlineExceeded,
        "c": DeadlineExceeded,
    }
    assert sleepers.cleaned == ["a", "c"]


async def test_a_call_that_never_began_has_no_wait() -> None:
    sleepers = Sleepers()
    result = await fan_out(sleepers, "ab", deadline=0.3, max_concurrency=1)

    first, second = result.calls
    assert sleepers.begun == ["a"]
    assert first.end > first.start
    assert second.end == second.start
    assert isinstance(result.failed["b"], DeadlineExceeded)


async def test_an_exceeded_deadline_in_a_call_is_an_outcome() -> None:
    async def call(_: str) -> None:
        raise DeadlineExceeded

    result = await fan_out(call, "a", deadline=5, max_concurrency=1)

    assert isinstance(result.failed["a"], DeadlineExceeded)


async def test_a_timeout_error_of_a_call_is_not_reported_as_the_deadline() -> None:
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
        time.sleep(0.001)  # noqa: ASYNC251 - it must block

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


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_an_exit_or_a_stray_cancellation_is_a_bug_of_its_call(
    error: type[BaseException],
) -> None:
    sleepers = Sleepers()

    async def call(key: str) -> str:
        if key == "b":
            raise error
        return await sleepers(key)

    with pytest.raises(RuntimeError) as raised:
        async with asyncio.timeout(5):
            await fan_out(call, "abc", deadline=60, max_concurrency=3)

    assert isinstance(raised.value.__cause__, error)
    assert sleepers.cleaned == ["a", "c"]


async def test_a_call_that_awaits_a_cancelled_task_is_a_bug() -> None:
    other = asyncio.create_task(asyncio.sleep(60))

    async def call(_: str) -> None:
        await other

    asyncio.get_running_loop().call_soon(other.cancel)
    with pytest.raises(RuntimeError, match="waited for something that was cancelled"):
        await fan_out(call, "a", deadline=5, max_concurrency=1)


async def test_a_caller_that_is_cancelled_twice_still_waits_for_its_calls() -> None:
    sleepers = Sleepers()
    caller = asyncio.create_task(fan_out(sleepers, "ab", deadline=60, max_concurrency=2))
    await asyncio.sleep(0.001)
    caller.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert sleepers.cleaned == ["a", "b"]


async def test_no_task_is_made_for_a_call_before_its_turn() -> None:
    before = len(asyncio.all_tasks())
    most = 0

    async def call(_: int) -> None:
        nonlocal most
        most = max(most, len(asyncio.all_tasks()) - before)
        await asyncio.sleep(0)

    result = await fan_out(call, range(1000), deadline=60, max_concurrency=3)

    assert len(result.arrived) == 1000
    assert most == 3


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 has eager tasks")
async def test_a_fan_out_works_with_eager_tasks() -> None:
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009
    await test_all_calls_run_concurrently()
    await test_a_timed_out_call_is_an_outcome_and_the_others_arrive()
    await test_a_bug_in_one_call_ends_the_others_before_it_is_raised()


async def test_a_failure_keeps_no_frames_alive() -> None:
    async def call(_: str) -> None:
        raise UpstreamTimeout(WAREHOUSE, "did not answer")

    result = await fan_out(call, "a", deadline=5, max_concurrency=1)

    assert result.failed["a"].__traceback__ is None


# Calls of different kinds


async def price(symbol: str, *, currency: str = "USD") -> Decimal:
    await asyncio.sleep(0)
    return Decimal(len(symbol + currency))


async def stock(_: str) -> int:
    raise UpstreamTimeout(WAREHOUSE, "did not answer in time")


async def test_named_calls_have_values_of_their_types_and_errors() -> None:
    calls = Calls(deadline=5)
    priced = calls.add("price", price, "AAPL", currency="EUR")
    stocked = calls.add("stock", stock, "AAPL")
    result = await calls.run()

    value: Decimal = priced.value  # mypy checks the type
    assert value == 7
    assert priced.error is None
    assert isinstance(stocked.error, UpstreamTimeout)
    with pytest.raises(UpstreamTimeout):
        assert stocked.value
    assert result.arrived == {"price": 7}
    assert list(result.failed) == ["stock"]
    assert stocked.outcome is result.calls[1]


async def test_named_calls_run_concurrently_and_share_a_deadline() -> None:
    barrier = asyncio.Barrier(2)

    async def meet() -> str:
        await barrier.wait()
        return "met"

    calls = Calls(deadline=0.3)
    first, second = calls.add("first", meet), calls.add("second", meet)
    hung = calls.add("hung", asyncio.Event().wait)
    await calls.run()

    assert (first.value, second.value) == ("met", "met")
    assert isinstance(hung.error, DeadlineExceeded)


async def test_a_named_call_has_no_outcome_before_it_was_run() -> None:
    call = Calls(deadline=5).add("price", price, "AAPL")
    with pytest.raises(RuntimeError, match="price has not run yet"):
        _ = call.outcome


async def test_a_duplicate_name_is_refused() -> None:
    calls = Calls(deadline=5)
    calls.add("price", price, "AAPL")
    with pytest.raises(ValueError, match="there is a call price already"):
        calls.add("price", price, "MSFT")


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
def test_calls_are_concurrent_if_they_took_clearly_less_than_the_sum_of_their_waits(
    waits: list[tuple[float, float]], elapsed: float, concurrent: object
) -> None:
    calls = tuple(Arrived("key", "value", start, end) for start, end in waits)

    assert FanOut(calls, elapsed).concurrent is concurrent
