"""Shared calls: one request for many callers, and whose cancellation ends it."""

import asyncio

import pytest

from {{ cookiecutter.package_name }}.clients.coalescing import SharedCalls
from {{ cookiecutter.package_name }}.deadline import Limit

pytestmark = pytest.mark.anyio


class Call:
    """A call that answers when it is let go, and what it saw."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0
        self.go_on = asyncio.Event()
        self.limits: list[Limit] = []

    async def __call__(self, limit: Limit) -> str:
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
    return asyncio.create_task(shared.join(key, Limit(seconds), call))


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_identical_calls_share_one_and_others_do_not() -> None:
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


async def test_one_that_leaves_does_not_take_the_call_from_the_others() -> None:
    shared, call = SharedCalls[str](), Call()
    first, second = join(shared, call), join(shared, call)
    await settle()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    call.go_on.set()

    assert await second == "answer 1"
    assert call.cancelled == 0


async def test_the_last_one_to_leave_ends_the_call_before_it_is_gone() -> None:
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


async def test_a_newcomer_does_not_join_a_call_that_is_being_ended() -> None:
    shared, call = SharedCalls[str](), Call()
    first = join(shared, call)
    await settle()
    first.cancel()
    second = join(shared, call)
    await settle()
    call.go_on.set()

    assert await second == "answer 2"


async def test_the_call_may_take_as_long_as_its_most_patient_caller_waits() -> None:
    shared, call = SharedCalls[str](), Call()
    hurried = Limit(1)
    waiting = [
        asyncio.create_task(shared.join("same", hurried, call)),
        join(shared, call, seconds=60),
        join(shared, call, seconds=30),
    ]
    await settle()

    assert call.limits[0].left == pytest.approx(60, abs=5)
    assert hurried.left <= 1
    call.go_on.set()
    await asyncio.gather(*waiting)


async def test_all_get_its_error() -> None:
    async def fail(_: Limit) -> str:
        raise ConnectionError

    shared = SharedCalls[str]()
    outcomes = await asyncio.gather(
        *(shared.join("same", Limit(1), fail) for _ in range(3)), return_exceptions=True
    )

    assert [type(each) for each in outcomes] == [ConnectionError] * 3
