"""The events for an observer: requests, refusals, cancellations, threads, tasks and the loop."""

import asyncio
import inspect
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import AsyncMock

import pytest
from blockbuster import BlockBuster
from flask import Flask, Response
from flask_asgi import METHODS, Background, EndedRequest, FlaskToAsgi, Load, ServerObserver
from flask_asgi import _observer as module
from flask_asgi._observer import MOST_MISSED, NOBODY, TICK, lags, method_name, sampled
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.anyio

EVENTS = [name for name in vars(ServerObserver) if not name.startswith("_")]


class Recorder(ServerObserver):
    """Records the events."""

    def __init__(self) -> None:
        self.ended: list[EndedRequest] = []
        self.events: list[tuple[str, object]] = []
        self.waits: list[float] = []
        self.lags: list[float] = []
        self.loads: list[Load] = []

    def request_ended(self, request: EndedRequest) -> None:
        self.ended.append(request)

    def request_queued(self, seconds: float) -> None:
        self.waits.append(seconds)

    def request_shed(self, reason: str) -> None:
        self.events.append(("shed", reason))

    def request_cancelled(self, reason: str) -> None:
        self.events.append(("cancelled", reason))

    def task_began(self) -> None:
        self.events.append(("task", "began"))

    def task_ended(self, outcome: str) -> None:
        self.events.append(("task", outcome))

    def loop_lagged(self, seconds: float) -> None:
        self.lags.append(seconds)

    def load_sampled(self, load: Load) -> None:
        self.loads.append(load)


@pytest.fixture
def observer() -> Recorder:
    return Recorder()


class Client:
    """A hand-made request, whose client can disconnect."""

    def __init__(self, asgi: FlaskToAsgi, path: str, **more: Any) -> None:
        self.messages: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self.send = AsyncMock()
        scope: Any = {"type": "http", "http_version": "1.1", "method": "GET", "path": path}
        scope |= {"query_string": b"", "headers": [], **more}
        serving: Any = asgi(scope, self.messages.get, self.send)  # type: ignore[arg-type] # plain dicts
        self.task = asyncio.create_task(serving)

    def leave(self) -> None:
        self.messages.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        return int(self.send.call_args_list[0].args[0]["status"])


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.001)


@pytest.fixture
def app(app: Flask) -> Flask:
    async def hang() -> str:
        await asyncio.Event().wait()
        return ""

    async def stream() -> Response:
        async def parts() -> AsyncIterator[str]:
            yield "a"
            await asyncio.Event().wait()

        return app.response_class(parts())  # type: ignore[arg-type] # the engine takes it

    async def ok() -> str:
        return "ok"

    app.add_url_rule("/hang", view_func=hang)
    app.add_url_rule("/stream", view_func=stream)
    app.add_url_rule("/ok/<name>", view_func=lambda name: name)
    app.add_url_rule("/async", view_func=ok)
    return app


# Requests


TWICE = {"headers": [(b"x", b"y")] * 2}


@pytest.mark.parametrize(
    ("asked", "options", "expected"),
    [
        ({"path": "/async"}, {}, ("GET", "/async", 200)),
        ({"path": "/ok/ann"}, {}, ("GET", "/ok/<name>", 200)),
        ({"path": "/nowhere"}, {}, ("GET", None, 404)),
        ({"path": "/async", "method": "POST"}, {}, ("POST", None, 405)),
        ({"path": "/async", "method": "BREW"}, {}, ("BREW", None, 405)),
        ({"path": "/async", **TWICE}, {"duplicate_header_limit": 1}, ("GET", "/async", 400)),
        ({"path": "/hang"}, {"request_timeout": 0.001}, ("GET", "/hang", 504)),
        ({"path": "/async"}, {"max_in_flight": 0}, ("GET", "/async", 503)),
    ],
)
async def test_the_end_of_a_request_is_reported_once(
    app: Flask,
    observer: Recorder,
    asked: dict[str, Any],
    options: dict[str, Any],
    expected: tuple[object, ...],
) -> None:
    client = Client(FlaskToAsgi(app, observer=observer, **options), **asked)
    await client.task

    [ended] = observer.ended
    assert expected == (ended.method, ended.route, ended.status)
    assert client.status == ended.status


async def test_an_observer_of_two_bridges_gets_each_event_once(
    app: Flask, observer: Recorder
) -> None:
    FlaskToAsgi(app, observer=observer)
    await Client(FlaskToAsgi(app, observer=observer), "/async").task

    assert 1 == len(observer.ended)


async def test_a_queued_request_is_reported_with_its_wait(
    app: Flask, observer: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asgi = FlaskToAsgi(app, observer=observer)
    monkeypatch.setattr(asgi.admission, "is_open", lambda: False)
    client = Client(asgi, "/async")
    await asyncio.sleep(0)
    assert 1 == asgi.load().queued
    await client.task

    assert 200 == client.status
    assert 1 == len(observer.waits)
    assert observer.events == []


@pytest.mark.parametrize("reason", ["max_in_flight", "queue", "threads"])
async def test_a_shed_request_is_reported_with_its_reason(
    app: Flask, observer: Recorder, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    asgi = FlaskToAsgi(
        app, observer=observer, threads=1, max_in_flight=0 if reason == "max_in_flight" else 10
    )
    if reason == "queue":
        monkeypatch.setattr(asgi.admission, "is_open", lambda: False)
        monkeypatch.setattr(asgi.admission, "wait", AsyncMock(return_value=False))
    elif reason == "threads":
        monkeypatch.setattr(asgi.engine.threads, "is_full", lambda: True)
    client = Client(asgi, "/ok/ann")
    await client.task

    assert 503 == client.status
    assert [("shed", reason)] == observer.events


@pytest.mark.parametrize(
    ("path", "reason"),
    [  # a stream that has begun has no timeout
        *(("/hang", reason) for reason in ("disconnect", "timeout", "stop")),
        *(("/stream", reason) for reason in ("disconnect", "stop")),
    ],
)
async def test_a_cancelled_view_is_reported_with_its_reason(
    app: Flask, observer: Recorder, path: str, reason: str
) -> None:
    timeout = 0.001 if reason == "timeout" else None
    asgi = FlaskToAsgi(app, observer=observer, request_timeout=timeout)
    client = Client(asgi, path)
    # A request is watched for a disconnect once it has waited for a moment.
    await until(lambda: client.task.done() or client.messages.empty())
    await asyncio.sleep(0)
    if reason == "disconnect":
        client.leave()
    elif reason == "stop":
        await until(lambda: client.send.called or path == "/hang")
        await asyncio.sleep(0.01)
        client.task.cancel()
    await client.task

    assert [("cancelled", reason)] == observer.events


# Threads


async def test_the_load_distinguishes_busy_away_and_idle_threads(app: Flask) -> None:
    release, inside = threading.Event(), threading.Semaphore(0)
    gone = asyncio.Event()

    def block() -> str:
        inside.release()
        release.wait(60)
        return ""

    def visit() -> str:
        app.async_to_sync(gone.wait)()
        return ""

    app.add_url_rule("/block", view_func=block)
    app.add_url_rule("/visit", view_func=visit)
    asgi = FlaskToAsgi(app, threads=2, max_in_flight=77)
    clients = [Client(asgi, "/visit")]
    await until(lambda: asgi.load().threads_away == 1)
    clients += [Client(asgi, "/block") for _ in range(3)]
    await until(lambda: asgi.load().calls_waiting == 1)
    load = asgi.load()
    gone.set()
    release.set()
    await asyncio.gather(*(client.task for client in clients))
    after = asgi.load()
    asgi.engine.threads.close()

    assert (4, 77, 2, 2, 1, 0, 1) == (
        load.in_flight,
        load.most_in_flight,
        load.most_threads,
        load.threads_busy,
        load.threads_away,
        load.threads_idle,
        load.calls_waiting,
    )
    assert (0, 0, 0, 0) == (
        after.in_flight,
        after.threads_busy,
        after.threads_away,
        after.calls_waiting,
    )
    assert after.threads_idle >= 1


# Background tasks


async def test_a_background_task_is_reported_with_its_outcome(observer: Recorder) -> None:
    background = Background(observer=observer)
    background.open()

    async def fail() -> None:
        raise OSError

    background.start(asyncio.sleep(0))
    background.start(fail())
    background.start(asyncio.Event().wait())
    await asyncio.sleep(0)
    await background.close(grace=0.01)

    expected = {"began": 3, "ok": 1, "error": 1, "cancelled": 1}
    assert expected == Counter(outcome for _, outcome in observer.events)


# The loop


@given(st.floats(min_value=-1, max_value=1e4))
def test_a_late_tick_counts_for_each_tick_that_it_delayed(late: float) -> None:
    found = list(lags(late))

    assert max(late, 0) == found[0]
    assert all(0 <= lag <= max(late, 0) for lag in found)
    assert sorted(found, reverse=True) == found
    assert min(max(int(late / TICK), 0), MOST_MISSED) + 1 == len(found)


@asynccontextmanager
async def serving(asgi: FlaskToAsgi) -> AsyncIterator[None]:
    """Keep the lifespan open."""
    received: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    received.put_nowait({"type": "lifespan.startup"})
    send = AsyncMock()
    task: Any = asyncio.create_task(asgi({"type": "lifespan"}, received.get, send))  # type: ignore[arg-type] # plain dicts
    await until(lambda: send.called)
    yield
    received.put_nowait({"type": "lifespan.shutdown"})
    await task


async def test_the_lag_of_a_blocked_loop_is_reported(
    app: Flask, observer: Recorder, blockbuster: BlockBuster
) -> None:
    blockbuster.deactivate()
    async with serving(FlaskToAsgi(app, observer=observer)):
        await until(lambda: observer.lags)
        time.sleep(3 * TICK)  # noqa: ASYNC251 - it must block
        await until(lambda: max(observer.lags) >= 2 * TICK)

    assert 2 <= sum(lag >= TICK / 2 for lag in observer.lags)


async def test_the_load_is_reported_while_serving_and_at_the_end(
    app: Flask, observer: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK", 0.001)
    asgi = FlaskToAsgi(app, observer=observer)
    async with serving(asgi):
        client = Client(asgi, "/hang")
        await until(lambda: observer.loads[-1].in_flight == 1)
        client.task.cancel()
        await client.task
    count = len(observer.loads)
    await asyncio.sleep(0.01)

    assert 0 == observer.loads[-1].in_flight
    assert count == len(observer.loads)


async def test_without_an_observer_nothing_is_measured(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "time", None)  # reading the clock fails
    asgi = FlaskToAsgi(app)
    with sampled(NOBODY, lambda: pytest.fail("the load was sampled")):
        await Client(asgi, "/async").task

    assert {} == {name: found for name, found in app.extensions.items() if "access" in name}
    assert [] == app.before_request_funcs.get(None, [])


# An observer


def test_only_standard_methods_keep_their_names() -> None:
    assert all(method_name(method) == method for method in METHODS)
    assert {"_OTHER"} == {method_name(name) for name in ("get", "", "BREW", "PROPFIND", "GET ")}


@pytest.mark.parametrize("event", EVENTS)
def test_an_error_of_an_observer_is_logged_once_and_not_raised(
    event: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(event)

    fail.__qualname__ = f"Broken{event}.{event}"
    broken = type("Broken", (ServerObserver,), {event: fail})()
    arguments = [None] * (len(inspect.signature(getattr(NOBODY, event)).parameters))

    getattr(broken, event)(*arguments)
    getattr(broken, event)(*arguments)

    assert 1 == len(caplog.records)
    assert caplog.records[0].exc_info is not None


async def test_a_failing_observer_changes_no_response(app: Flask) -> None:
    def fail(*_: object) -> None:
        raise OSError

    broken = type("Broken", (ServerObserver,), dict.fromkeys(EVENTS, fail))()
    asgi = FlaskToAsgi(app, observer=broken)
    async with serving(asgi):
        client = Client(asgi, "/async")
        await client.task

    assert 200 == client.status


def test_the_recorder_knows_every_event() -> None:
    assert set(EVENTS) <= vars(Recorder).keys()
