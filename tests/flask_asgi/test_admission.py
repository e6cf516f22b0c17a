"""When a request may begin: with a clock that a test sets, and with requests held in flight."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from flask import Flask
from flask_asgi import FlaskToAsgi
from flask_asgi._admission import (
    FEW,
    LONG_TURN,
    LONG_WAIT,
    LONGEST_PAUSE,
    PACE_WINDOW,
    Admission,
)

from tests.serving import PATIENCE, Server

from .asgi_client import Client, http_scope
from .probes import serve_application
from .wire import connect, get

pytestmark = pytest.mark.anyio


class Clock:
    """A clock that stands still between the steps of a test."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    """Return one with enough requests in flight to hold back further requests."""
    admission = Admission(1000, clock)
    admission.in_flight = FEW
    return admission


def fall_behind(admission: Admission, clock: Clock) -> None:
    """Let this turn of the loop be long, so that requests have to wait."""
    assert admission.is_open()
    clock.now += 2 * LONG_TURN
    assert not admission.is_open()


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_requests_begin_at_once_while_the_loop_keeps_up(admission: Admission) -> None:
    assert all(admission.is_open() for _ in range(500))


async def test_requests_wait_for_the_next_turn_if_this_turn_is_long(
    admission: Admission, clock: Clock
) -> None:
    fall_behind(admission, clock)
    waiting = asyncio.create_task(admission.wait())
    await turns(3)

    assert waiting.done()
    assert await waiting


async def test_few_requests_never_wait(clock: Clock) -> None:
    admission = Admission(1000, clock)
    admission.in_flight = FEW - 1

    assert admission.is_open()
    clock.now += 10

    assert admission.is_open()


async def test_waiting_requests_begin_in_their_order(admission: Admission, clock: Clock) -> None:
    begun: list[int] = []

    async def request(number: int) -> None:
        assert await admission.wait()
        begun.append(number)

    fall_behind(admission, clock)
    await asyncio.gather(*map(request, range(50)))

    assert list(range(50)) == begun


async def test_waiting_requests_begin_one_by_one_while_all_turns_are_long(
    admission: Admission, clock: Clock
) -> None:
    fall_behind(admission, clock)
    waiting = [asyncio.create_task(admission.wait()) for _ in range(100)]
    begun: list[int] = []
    pauses = 5
    while clock.now < pauses * LONGEST_PAUSE:
        await asyncio.sleep(0)
        clock.now += 2 * LONG_TURN
        begun.append(sum(task.done() for task in waiting))

    assert {0, 1} == {after - before for before, after in itertools.pairwise(begun)}
    assert pauses - 2 <= begun[-1] <= pauses + 1

    await asyncio.gather(*waiting)  # short turns again

    assert all(task.result() for task in waiting)


async def test_the_end_of_a_long_queue_is_refused_and_its_beginning_is_not(
    admission: Admission, clock: Clock
) -> None:
    fall_behind(admission, clock)
    waiting = [asyncio.create_task(admission.wait()) for _ in range(500)]
    step = PACE_WINDOW / 4  # a pace of about eight per second
    while not all(task.done() for task in waiting):
        await asyncio.sleep(0)
        clock.now += step
    answers = [task.result() for task in waiting]

    may_wait = round(LONG_WAIT / step)
    assert all(answers[:may_wait])
    assert not any(answers[len(answers) // 2 :])


async def test_requests_in_flight_never_exceed_the_limit(
    admission: Admission, clock: Clock
) -> None:
    admission.in_flight = admission.most - 1
    fall_behind(admission, clock)
    last = asyncio.create_task(admission.wait())
    await asyncio.sleep(0)

    assert not await admission.wait()
    assert await last

    admission.in_flight = admission.most
    assert not admission.is_open()
    assert not await admission.wait()


async def test_a_late_loop_holds_requests_back_in_any_turn() -> None:
    class LateClock(Clock):
        def __call__(self) -> float:
            self.now += 10 * LONG_TURN
            return self.now

    admission = Admission(1000, LateClock())
    admission.in_flight = FEW

    assert admission.is_open()
    while admission.is_open():  # noqa: ASYNC110 - the loop looks at the clock now and then
        await asyncio.sleep(LONG_TURN)

    assert await admission.wait()


async def test_a_request_that_is_cancelled_in_the_queue_is_refused(
    admission: Admission, clock: Clock
) -> None:
    fall_behind(admission, clock)
    waiting = asyncio.create_task(admission.wait())
    await asyncio.sleep(0)
    waiting.cancel()

    assert await waiting is False


# Too many requests


class Crowd:
    """Requests that stay inside their views until the test releases them."""

    def __init__(self, app: Flask, **limits: Any) -> None:
        self.inside: asyncio.Semaphore = asyncio.Semaphore(0)
        self.exit = threading.Event()
        self.bridge = FlaskToAsgi(app, **limits)
        loop = asyncio.get_running_loop()

        @app.get("/async")
        async def async_view() -> str:
            self.inside.release()
            await asyncio.to_thread(self.exit.wait, PATIENCE)
            return "served"

        @app.get("/sync")
        def sync_view() -> str:
            loop.call_soon_threadsafe(self.inside.release)
            self.exit.wait(PATIENCE)
            return "served"

        @app.get("/health")
        async def health() -> str:
            return "alive"

    def send(self, path: str) -> "asyncio.Task[tuple[int, dict[bytes, bytes]]]":
        return asyncio.create_task(self._status_and_headers(path))

    async def _status_and_headers(self, path: str) -> tuple[int, dict[bytes, bytes]]:
        client = Client(self.bridge, http_scope(path))
        client.send_body()
        start = await client.next_sent()
        await client.done
        return start["status"], dict(start["headers"])


async def test_above_max_in_flight_requests_are_refused_at_once(app: Flask) -> None:
    crowd = Crowd(app, max_in_flight=2)
    served = [crowd.send("/async"), crowd.send("/async")]
    for _ in served:
        await crowd.inside.acquire()

    status, headers = await crowd.send("/async")

    assert (503, b"1") == (status, headers[b"retry-after"])
    assert b"application/problem+json" == headers[b"content-type"]

    crowd.exit.set()

    assert [200, 200] == [(await request)[0] for request in served]
    assert 200 == (await crowd.send("/async"))[0]


async def test_health_checks_are_answered_above_max_in_flight(app: Flask) -> None:
    crowd = Crowd(app, max_in_flight=1, always_answer={"/health"})
    served = crowd.send("/async")
    await crowd.inside.acquire()

    assert 503 == (await crowd.send("/async"))[0]
    assert 200 == (await crowd.send("/health"))[0]

    crowd.exit.set()
    await served


async def test_above_max_waiting_requests_for_a_thread_are_refused(app: Flask) -> None:
    crowd = Crowd(app, threads=1, max_waiting=1)
    served = crowd.send("/sync")
    await crowd.inside.acquire()
    waiting = crowd.send("/sync")
    await asyncio.sleep(0)

    assert 503 == (await crowd.send("/sync"))[0]
    assert 200 == (await crowd.send("/health"))[0]

    crowd.exit.set()

    assert [200, 200] == [(await request)[0] for request in (served, waiting)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve_application() as server:
        yield server


async def test_a_crowd_does_not_keep_a_health_check_waiting(server: Server) -> None:
    crowd = 100
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connect(server.url)) for _ in range(crowd)]
        for connection in opened:
            connection.send("/work")
        answers = [asyncio.create_task(connection.reply()) for connection in opened]

        health = await get(server.url, "/livez")
        served = sum(answer.done() for answer in answers)
        statuses = {(await answer).status for answer in answers}

    assert 200 == health.status
    assert served < crowd / 2
    assert {200} <= statuses <= {200, 503, 504}  # the last two on a slow machine
