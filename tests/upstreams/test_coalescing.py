"""Shared calls: one request for many callers, and when a cancellation ends it."""

import asyncio
import sys

import pytest
from upstreams._coalescing import SharedCalls
from upstreams._deadline import Deadline, within
from upstreams._errors import UpstreamUnavailable

pytestmark = pytest.mark.anyio

BUSY = UpstreamUnavailable("prices", "answered 503", retry_after=3, status=503)


class Call:
    """A call that answers once `go_on` is set; it counts its beginnings and cancellations."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0
        self.go_on = asyncio.Event()
        self.limits: list[Deadline] = []

    async def __call__(self, limit: Deadline) -> str:  # noqa: D102
        self.begun += 1
        self.limits.append(limit)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            await settle()
            self.cancelled += 1
            raise
        return f"answer {self.begun}"


def join(
    shared: SharedCalls[str], call: Call, *, key: str = "same", seconds: float = 60
) -> asyncio.Task[str]:
    """Begin to wait for the call."""
    return asyncio.create_task(shared.join(key, Deadline(seconds), call))


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_identical_calls_share_a_request_and_other_calls_do_not() -> None:
    shared, call = SharedCalls[str](), Call()
    waiting = [join(shared, call), join(shared, call), join(shared, call, key="other")]
    await settle()
    call.go_on.set()

    assert await asyncio.gather(*waiting) == ["answer 2"] * 3
    assert call.begun == 2


async def test_a_call_that_has_ended_is_not_shared() -> None:
    shared, call = SharedCalls[str](), Call()
    call.go_on.set()

    assert [await join(shared, call), await join(shared, call)] == ["answer 1", "answer 2"]


async def test_a_cancelled_caller_does_not_end_the_call_of_the_others() -> None:
    shared, call = SharedCalls[str](), Call()
    first, second = join(shared, call), join(shared, call)
    await settle()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    call.go_on.set()

    assert await second == "answer 1"
    assert call.cancelled == 0


async def test_the_last_cancelled_caller_ends_the_call_before_it_returns() -> None:
    shared, call = SharedCalls[str](), Call()
    before = asyncio.all_tasks()
    waiting = [join(shared, call), join(shared, call)]
    await settle()
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert call.cancelled == 1
    assert asyncio.all_tasks() == before

    call.go_on.set()
    assert await join(shared, call) == "answer 2"


async def test_a_new_caller_does_not_join_a_call_that_is_being_cancelled() -> None:
    shared, call = SharedCalls[str](), Call()
    first = join(shared, call)
    await settle()
    first.cancel()
    second = join(shared, call)
    await settle()
    call.go_on.set()

    assert await second == "answer 2"


async def test_a_short_deadline_of_a_caller_does_not_shorten_the_timeout_of_the_call() -> None:
    shared, call = SharedCalls[str](), Call()
    with within(10):
        hurried = join(shared, call, seconds=60)
        await settle()

    assert call.limits[0].left == pytest.approx(60, abs=5)
    call.go_on.set()
    await hurried


async def test_a_patient_caller_does_not_share_the_call_of_an_impatient_caller() -> None:
    # The upstream gets the remaining time of the first caller, and may give up when it is over.
    shared, call = SharedCalls[str](), Call()
    with within(1):
        hurried = [join(shared, call, seconds=60), join(shared, call, seconds=60)]
        await settle()
    assert call.begun == 1
    patient = [join(shared, call, seconds=60), join(shared, call, seconds=60)]
    await settle()
    assert call.begun == 2
    with within(1):
        hurried.append(join(shared, call, seconds=60))
        await settle()
    assert call.begun == 2, "an impatient caller may share a call that has more time"

    for each in hurried:
        each.cancel()
    await asyncio.gather(*hurried, return_exceptions=True)
    call.go_on.set()
    assert await asyncio.gather(*patient) == ["answer 2"] * 2
    assert call.cancelled == 1


async def test_a_hanging_call_does_not_hold_later_callers() -> None:
    shared, call = SharedCalls[str](), Call()
    first = join(shared, call, seconds=0.05)
    await asyncio.sleep(0.02)
    second = asyncio.create_task(shared.join("same", Deadline(60), call))
    async with asyncio.timeout(5):
        while call.begun < 2:  # noqa: ASYNC110 - when the first has timed out
            await asyncio.sleep(0.001)
    call.go_on.set()

    assert await second == "answer 2"
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_an_exit_or_a_stray_cancellation_is_an_error(
    error: type[BaseException],
) -> None:
    async def fail(_: Deadline) -> str:
        raise error

    with pytest.raises(RuntimeError) as raised:
        await SharedCalls[str]().join("same", Deadline(1), fail)

    assert isinstance(raised.value.__cause__, error)


async def test_each_caller_gets_its_own_error_object() -> None:
    async def fail(_: Deadline) -> str:
        await asyncio.sleep(0)
        raise BUSY.again()

    shared = SharedCalls[str]()
    errors = await asyncio.gather(
        *(shared.join("same", Deadline(1), fail) for _ in range(3)), return_exceptions=True
    )

    assert len({id(error) for error in errors}) == 3
    assert {str(error) for error in errors} == {str(BUSY)}
    assert {vars(error)["retry_after"] for error in errors} == {3}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 has eager tasks")
async def test_calls_are_shared_with_eager_tasks() -> None:
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009
    await test_identical_calls_share_a_request_and_other_calls_do_not()
    await test_a_call_that_has_ended_is_not_shared()
    await test_the_last_cancelled_caller_ends_the_call_before_it_returns()


async def test_all_callers_get_the_error_of_their_call() -> None:
    async def fail(_: Deadline) -> str:
        raise ConnectionError

    shared = SharedCalls[str]()
    outcomes = await asyncio.gather(
        *(shared.join("same", Deadline(1), fail) for _ in range(3)), return_exceptions=True
    )

    assert [type(each) for each in outcomes] == [ConnectionError] * 3
