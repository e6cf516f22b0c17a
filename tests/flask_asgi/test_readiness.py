"""Readiness, and the signals that end it; `test_server.py` sends them to a real process."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from unittest.mock import Mock

import pytest
from flask_asgi import Readiness, State, drain_on_signal
from flask_asgi import _readiness as module

pytestmark = pytest.mark.anyio


@pytest.fixture
def heard_by_server() -> Iterator[list[int]]:
    """Install a server's signal handlers, and record their signals."""
    heard: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: heard.append(number)) for number in numbers]
    yield heard
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_a_draining_process_does_not_become_ready_again() -> None:
    readiness = Readiness()
    readiness.draining()
    readiness.ready()

    assert readiness.state is State.DRAINING


async def test_a_process_is_ready_within_the_serving_block_and_drains_at_its_end(
    heard_by_server: list[int],
) -> None:
    readiness = Readiness()
    with suppress(OSError), readiness.serving(delay=0):
        assert readiness.state is State.READY
        raise OSError

    assert readiness.state is State.DRAINING
    signal.raise_signal(signal.SIGTERM)
    assert [signal.SIGTERM] == heard_by_server  # the server's handlers are back


async def test_a_signal_drains_within_the_serving_block(heard_by_server: list[int]) -> None:
    readiness = Readiness()
    with readiness.serving(delay=60):
        signal.raise_signal(signal.SIGTERM)

        assert readiness.state is State.DRAINING

    assert [] == heard_by_server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_drains_before_it_reaches_the_server(
    heard_by_server: list[int], number: signal.Signals
) -> None:
    readiness = Readiness()
    with drain_on_signal(readiness, delay=0):
        signal.raise_signal(number)

        assert readiness.state is State.DRAINING
        assert heard_by_server == []

        await asyncio.sleep(0.05)
        assert heard_by_server == [number]


async def test_a_server_without_a_handler_is_ended_by_the_signal(
    heard_by_server: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_by: list[int] = []
    monkeypatch.setattr(module, "end_by", ended_by.append)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    with drain_on_signal(Readiness(), delay=0):
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.05)

    assert (ended_by, heard_by_server) == ([signal.SIGTERM], [])


async def test_a_stop_that_arrives_twice_reaches_the_server_once(
    heard_by_server: list[int],
) -> None:
    with drain_on_signal(Readiness(), delay=0):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.05)

    assert heard_by_server == [signal.SIGTERM]


async def test_a_worker_expects_its_parent_to_repeat_the_stop(
    heard_by_server: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAME_STOP_SECONDS", 0)
    parent = Mock(join=threading.Event().wait)  # is alive
    monkeypatch.setattr("multiprocessing.parent_process", lambda: parent)
    with drain_on_signal(Readiness(), delay=0):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.05)

    assert heard_by_server == [signal.SIGINT]


async def test_the_servers_handlers_are_restored_after_the_block(
    heard_by_server: list[int],
) -> None:
    with drain_on_signal(Readiness(), delay=60):
        pass
    signal.raise_signal(signal.SIGTERM)

    assert heard_by_server == [signal.SIGTERM]


def test_outside_the_main_thread_no_handler_is_set() -> None:
    handlers: list[object] = []

    def serve_in_a_thread() -> None:
        with drain_on_signal(Readiness(), delay=0):
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=serve_in_a_thread)
    thread.start()
    thread.join()

    assert handlers == [signal.getsignal(signal.SIGTERM)]
