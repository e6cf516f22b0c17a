"""Background tasks are kept, their errors logged, and a stop waits for them within a limit."""

import asyncio
import logging
from contextlib import suppress

import pytest
from flask_asgi import Background

pytestmark = pytest.mark.anyio


@pytest.fixture
async def background() -> Background:
    background = Background()
    background.open()
    return background


async def test_closing_waits_for_running_work(background: Background) -> None:
    release = asyncio.Event()
    done = []

    async def work() -> None:
        await release.wait()
        done.append(True)

    background.start(work())
    closing = asyncio.create_task(background.close(grace=10))
    await asyncio.sleep(0)
    assert not done

    release.set()
    await closing

    assert [True] == done


async def test_closing_cancels_work_after_the_grace_and_logs_it(
    background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    cancelled = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    background.start(work())
    await background.close(grace=0.01)

    assert [True] == cancelled
    assert "did not end within 0.01 s" in caplog.text


async def test_a_failure_is_logged(
    background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        raise OSError

    with caplog.at_level(logging.ERROR):
        background.start(work())
        await background.close(grace=10)

    assert "background work failed" in caplog.text


async def test_a_thread_can_start_background_work(background: Background) -> None:
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    await asyncio.to_thread(background.start, work())

    async with asyncio.timeout(10):
        await done.wait()


async def test_closing_does_not_wait_for_work_that_ignores_its_cancellation(
    background: Background,
) -> None:
    ended = asyncio.Event()

    async def stubborn() -> None:
        while not ended.is_set():
            with suppress(asyncio.CancelledError):
                await ended.wait()

    background.start(stubborn())
    await asyncio.wait_for(background.close(0.01), 20)
    ended.set()


async def test_closing_without_running_work_returns_at_once(background: Background) -> None:
    await background.close(grace=10)


async def test_work_is_accepted_within_a_running_block_and_awaited_at_its_end() -> None:
    background = Background()
    release = asyncio.Event()
    done = []

    async def work() -> None:
        await release.wait()
        done.append(True)

    with suppress(OSError):
        async with background.running(grace=10):
            background.start(work())
            release.set()
            raise OSError

    assert [True] == done
    with pytest.raises(RuntimeError, match="needs an ASGI server"):
        background.start(asyncio.sleep(0))


async def test_without_a_server_work_is_refused() -> None:
    with pytest.raises(RuntimeError, match="needs an ASGI server"):
        Background().start(asyncio.sleep(0))
