"""The thread pool is bounded, handles cancellation, and never makes a server hang."""

import asyncio
import contextvars
import threading

import pytest
from flask_asgi._greenlets import NoObserver
from flask_asgi._threads import ThreadPool
from flask_asgi._visits import Visits
from flask_asgi._waiting import block_on, waiter

pytestmark = pytest.mark.anyio


async def test_calls_beyond_the_size_wait_for_a_thread() -> None:
    pool = ThreadPool(2, max_waiting=1)
    context = contextvars.copy_context
    barrier = threading.Barrier(3)
    inside = [asyncio.create_task(pool.run(barrier.wait, context())) for _ in range(2)]
    waiting = asyncio.create_task(pool.run(lambda: "ran", context()))
    await asyncio.to_thread(lambda: None)

    assert not waiting.done()

    await asyncio.to_thread(barrier.wait)

    assert "ran" == await waiting
    await asyncio.gather(*inside)
    pool.close()


async def test_the_pool_is_full_when_max_waiting_calls_wait() -> None:
    pool = ThreadPool(1, max_waiting=1)
    release = threading.Event()

    running = asyncio.create_task(pool.run(release.wait, contextvars.copy_context()))
    await asyncio.sleep(0)
    assert not pool.is_full()
    waiting = asyncio.create_task(pool.run(release.wait, contextvars.copy_context()))
    await asyncio.sleep(0)
    assert pool.is_full()

    release.set()
    await asyncio.gather(running, waiting)
    assert not pool.is_full()
    pool.close()


async def test_an_idle_thread_is_reused() -> None:
    pool = ThreadPool(5, max_waiting=1)

    names = {await pool.run(threading.get_ident, contextvars.copy_context()) for _ in range(10)}

    assert 1 == len(names)
    pool.close()


async def test_any_exception_of_a_call_is_raised() -> None:
    pool = ThreadPool(1, max_waiting=1)

    def stop() -> None:
        raise StopIteration

    # A coroutine cannot raise StopIteration: PEP 479.
    with pytest.raises(RuntimeError, match="StopIteration"):
        await pool.run(stop, contextvars.copy_context())
    pool.close()


async def test_a_cancellation_waits_for_the_call_to_end() -> None:
    pool = ThreadPool(1, max_waiting=1)
    release = threading.Event()
    ended = []

    def call() -> None:
        release.wait(10)
        ended.append(True)

    task = asyncio.create_task(pool.run(call, contextvars.copy_context()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)

    assert not task.done()

    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [True] == ended
    pool.close()


async def test_closing_abandons_a_call_that_does_not_end() -> None:
    pool = ThreadPool(1, max_waiting=1)
    release = threading.Event()
    task = asyncio.create_task(pool.run(release.wait, contextvars.copy_context()))
    await asyncio.sleep(0)

    pool.close()

    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()


async def test_a_task_cannot_block_on_its_own_loop() -> None:
    assert waiter() is None
    with pytest.raises(RuntimeError, match="only the code of a view"):
        block_on(asyncio.sleep(0))


async def test_a_thread_that_waits_for_its_next_call_frees_its_slot() -> None:
    pool = ThreadPool(1, max_waiting=1)
    loop = asyncio.get_running_loop()
    visits = Visits(loop, NoObserver(), pool, keeps_thread=lambda: True)
    await pool.run(lambda: None, contextvars.copy_context(), visits)

    assert (1, 0) == (pool.threads_away, pool.threads_busy)
    async with asyncio.timeout(20):
        assert "ran" == await pool.run(lambda: "ran", contextvars.copy_context())
    pool.release(visits)
    pool.close()
