"""An application can be wrapped any number of times: its methods are replaced once."""

import asyncio
import functools
import inspect
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from flask import Flask, Response
from flask_asgi import FlaskToAsgi

PATHS = ("/sync", "/async", "/stream", "/absent")


async def ask(asgi: FlaskToAsgi, path: str, host: str = "localhost") -> tuple[int, bytes]:
    """Return the status and the body of the response to a GET."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", host.encode("latin-1"))],
    }
    sent: list[Any] = []
    received: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if not received:
            await asyncio.Event().wait()  # the client stays
        return received.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    await asgi(scope, receive, send)  # type: ignore[arg-type]
    start, *parts = sent
    return start["status"], b"".join(part["body"] for part in parts)


class CountingFlask(Flask):
    """Counts the calls that reach the replaced methods."""

    def __init__(self) -> None:
        super().__init__(__name__)
        self.calls: Counter[str] = Counter()

    def make_response(self, rv: Any) -> Response:
        """Count."""
        self.calls["make_response"] += 1
        return super().make_response(rv)

    def do_teardown_request(self, *args: Any) -> None:
        """Count."""
        self.calls["do_teardown_request"] += 1
        super().do_teardown_request(*args)


def make_app() -> CountingFlask:
    """Return an application with a view of each kind."""
    app = CountingFlask()

    @app.get("/sync")
    def sync() -> str:
        return "sync"

    @app.get("/async")
    async def view() -> str:
        await asyncio.sleep(0)
        return "async"

    @app.get("/stream")
    async def stream() -> Response:
        def parts() -> Iterator[str]:
            yield threading.current_thread().name

        return app.response_class(parts())

    return app


REPLACED = (
    "async_to_sync",
    "create_url_adapter",
    "do_teardown_request",
    "full_dispatch_request",
    "make_response",
    "raise_routing_exception",
)


@pytest.mark.parametrize("times", [1, 2, 10])
def test_methods_are_replaced_the_first_time_only(times: int) -> None:
    app = make_app()
    FlaskToAsgi(app)
    replacements = {name: vars(app)[name] for name in REPLACED}

    for _ in range(times - 1):
        FlaskToAsgi(app)

    assert {name: vars(app)[name] for name in REPLACED} == replacements
    assert set(REPLACED) == {name for name in vars(app) if hasattr(Flask, name)} & set(REPLACED)


@pytest.mark.parametrize("path", PATHS)
def test_each_of_several_bridges_answers_like_a_single_bridge(path: str) -> None:
    only, twice = make_app(), make_app()
    alone = FlaskToAsgi(only)
    several = [FlaskToAsgi(twice, threads=number) for number in (1, 2)]

    expected = asyncio.run(ask(alone, path))

    for asgi in several:
        twice.calls.clear()
        assert expected == asyncio.run(ask(asgi, path))
        assert only.calls == twice.calls


def test_each_bridge_has_its_own_threads_and_limits() -> None:
    app = make_app()
    first, second = FlaskToAsgi(app, threads=1), FlaskToAsgi(app, max_in_flight=0)

    async def check() -> None:
        assert ((await ask(second, "/sync"))[0], (await ask(first, "/sync"))[0]) == (503, 200)
        # The third bridge has no thread yet, and must not need the threads of the first.
        first.engine.threads.close()
        third = FlaskToAsgi(app)
        assert await asyncio.wait_for(ask(third, "/stream"), 10) == (200, b"view")

    asyncio.run(check())


def test_a_stream_is_read_in_a_thread_of_its_requests_bridge() -> None:
    app = make_app()
    used, idle = FlaskToAsgi(app), FlaskToAsgi(app)

    async def check() -> None:
        assert await ask(used, "/stream") == (200, b"view")
        assert tuple(len(threads_of(each)) for each in (used, idle)) == (1, 0)

    def threads_of(asgi: FlaskToAsgi) -> range:
        return range(asgi.engine.threads._threads)  # noqa: SLF001 - how many it has started

    asyncio.run(check())


class Functions:
    """Kinds of functions, plain and asynchronous."""

    async def method(self) -> None: ...
    def plain_method(self) -> None: ...
    @staticmethod
    async def static() -> None: ...
    async def __call__(self) -> None: ...


async def coroutine_function() -> None: ...


async def async_generator_function() -> Any:
    yield


@functools.wraps(coroutine_function)
def wrapper() -> None: ...


def marked() -> None: ...


def another() -> None: ...


vars(another)["an_attribute"] = True
if sys.version_info >= (3, 12):
    inspect.markcoroutinefunction(marked)

KINDS: list[Callable[..., Any]] = [
    *(coroutine_function, async_generator_function, wrapper, marked, another, print, dict),
    *(Functions().method, Functions().plain_method, Functions.static, Functions.method),
    *(Functions(), Functions().__call__, functools.partial(print), mock.Mock(), mock.AsyncMock()),
    *(functools.partial(coroutine_function), functools.partial(Functions().method)),
]


@pytest.mark.parametrize("function", KINDS, ids=range(len(KINDS)))
def test_a_function_counts_as_async_if_flask_says_so(function: Callable[..., Any]) -> None:
    app, plain = Flask("served"), Flask("plain")
    FlaskToAsgi(app)
    handed: list[Callable[..., Any]] = []
    for each in (app, plain):
        vars(each)["async_to_sync"] = handed.append
    expected = plain.ensure_sync(function)

    result = app.ensure_sync(function)

    assert (result is function) is (expected is function) is (not handed)
    assert handed in ([], [function, function])


def test_an_overridden_ensure_sync_is_used() -> None:
    class Own(Flask):
        def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
            return lambda: ("ensured", func)

    app = Own("own")
    FlaskToAsgi(app)

    assert app.ensure_sync(another)() == ("ensured", another)
