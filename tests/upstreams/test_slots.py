"""Waiting for a connection: the order and the number of waiting calls; no slot is lost."""

import asyncio
import random
from time import monotonic

import pytest
from upstreams import _deadline as deadline
from upstreams._deadline import within
from upstreams._errors import UpstreamBusy
from upstreams._fan_out import fan_out
from upstreams._slots import Slots
from upstreams._upstream import Upstream

from .fake_upstream import serve

pytestmark = pytest.mark.anyio


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def slots(size: int = 1, max_waiting: int = 100) -> Slots:
    return Slots("prices", size=size, max_waiting=max_waiting)


class Requests:
    """Calls of requests that began one after another, and the order in which they got slots."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.order: list[str] = []

    def call(self, name: str, *, began: int, patience: float = 60) -> asyncio.Task[float]:
        """Wait for a slot as a call of the request that began then."""

        async def take() -> float:
            deadline._request_number.set(began)  # noqa: SLF001
            taken_at = await self.slots.take(patience)
            self.order.append(name)
            return taken_at

        return asyncio.create_task(take())


async def test_calls_with_a_free_slot_do_not_wait() -> None:
    two = slots(2)
    await two.take(60)
    await two.take(60)
    with pytest.raises(UpstreamBusy):
        await two.take(0.001)


async def test_calls_of_the_oldest_request_get_the_next_slot() -> None:
    requests = Requests(slots())
    taken_at = await requests.slots.take(60)
    calls = [
        requests.call("young", began=30),
        requests.call("middle", began=20),
        requests.call("old, 1st", began=10),
        requests.call("young, again", began=30),
        requests.call("old, 2nd", began=10),
    ]
    await settle()
    for _ in calls:
        requests.slots.release(taken_at)
        await settle()

    assert requests.order == ["old, 1st", "old, 2nd", "middle", "young", "young, again"]


async def test_whole_requests_finish_one_after_another_under_overload() -> None:
    three = slots(size=3, max_waiting=1000)
    finished: list[int] = []

    async def request(number: int) -> None:
        async def call(_: int) -> None:
            taken_at = await three.take(60)
            await asyncio.sleep(0)
            three.release(taken_at)

        with within(60):
            result = await fan_out(call, range(6), deadline=60, max_concurrency=2)
        assert len(result.arrived) == 6
        finished.append(number)

    await asyncio.gather(*(request(number) for number in range(20)))

    # Neighbours share the slots that one of them does not fill.
    assert all(abs(number - place) <= 2 for place, number in enumerate(finished)), finished


async def test_above_max_waiting_the_call_of_the_youngest_request_is_refused() -> None:
    requests = Requests(slots(max_waiting=2))
    taken_at = await requests.slots.take(60)
    first = requests.call("first", began=20)
    second = requests.call("second", began=30)
    await settle()
    third = requests.call("third", began=40)
    with pytest.raises(UpstreamBusy) as refused:
        await third
    assert refused.value.retry_after == 1
    older = requests.call("older", began=10)
    with pytest.raises(UpstreamBusy):
        await second
    for _ in range(2):
        requests.slots.release(taken_at)
        await settle()

    assert requests.order == ["older", "first"]
    await asyncio.gather(first, older)


async def test_without_a_queue_a_free_slot_is_given_and_a_taken_slot_refused() -> None:
    none = slots(max_waiting=0)
    taken_at = await none.take(60)
    with pytest.raises(UpstreamBusy):
        await none.take(60)
    none.release(taken_at)
    await none.take(60)


async def test_a_call_that_would_wait_too_long_fails_at_once() -> None:
    requests = Requests(slots())
    for _ in range(100):  # each takes a second
        requests.slots.release(await requests.slots.take(60) - 1)
    taken_at = await requests.slots.take(60)
    waiting = [requests.call("waits", began=10) for _ in range(5)]
    await settle()
    with pytest.raises(UpstreamBusy):
        async with asyncio.timeout(5):
            await requests.call("sixth", began=20, patience=3)
    older = requests.call("older", began=5, patience=3)  # is first in the queue
    await settle()
    for _ in range(6):
        requests.slots.release(taken_at)
        await settle()

    assert requests.order == ["older", *["waits"] * 5]
    await asyncio.gather(older, *waiting)


async def test_no_slot_is_lost_at_timeouts_and_cancellations() -> None:
    chance = random.Random(11)  # noqa: S311 - no secret
    three = slots(3, max_waiting=20)
    inside = most = 0

    async def call() -> None:
        nonlocal inside, most
        deadline._request_number.set(chance.randrange(100))  # noqa: SLF001
        taken_at = await three.take(chance.choice([0, 0.001, 60]))
        inside += 1
        most = max(most, inside)
        try:
            await asyncio.sleep(chance.choice([0, 0, 0.001]))
        finally:
            inside -= 1
            three.release(taken_at)

    for _ in range(300):
        tasks = [asyncio.create_task(call()) for _ in range(10)]
        for _ in range(chance.randint(0, 6)):
            await asyncio.sleep(0)
        for task in chance.sample(tasks, 5):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    assert most == 3
    for _ in range(3):
        await three.take(0.001)
    assert not three._waiting  # noqa: SLF001


async def test_a_call_that_is_cancelled_as_it_gets_its_slot_passes_it_on() -> None:
    requests = Requests(slots())
    taken_at = await requests.slots.take(60)
    first, second = requests.call("first", began=10), requests.call("second", began=20)
    await settle()
    requests.slots.release(taken_at)
    first.cancel()
    await second

    assert requests.order == ["second"]


# In an upstream


async def test_too_many_calls_fail_at_once_and_do_not_open_the_breaker() -> None:
    async with serve() as served:
        upstream = Upstream(
            "faulty",
            served.base_url,
            timeout=60,
            max_connections=2,
            max_waiting=3,
            breaker_failures=1,
        )
        async with upstream.open():
            begun = monotonic()
            calls = [asyncio.create_task(upstream.get(f"/held?{number}")) for number in range(50)]
            done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION)
            while len(done) < 45:
                done, waiting = await asyncio.wait(calls, timeout=0.01)
            assert monotonic() - begun < 30, "waited for half of the timeout"
            assert {type(call.exception()) for call in done} == {UpstreamBusy}
            served.held.set()
            replies = await asyncio.gather(*waiting)

            assert [reply.status_code for reply in replies] == [200] * 5
            assert served.requests == 5, "a refused call was tried again"
            assert upstream.breaker.state == "closed"
            assert upstream._budget._tokens == 10  # noqa: SLF001
