"""A request runs on the loop if no part of it can block, and otherwise in one thread."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import Any

import flask
import pytest
from flask import Flask, Response, after_this_request, render_template_string, stream_with_context
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_asgi import FlaskToAsgi, in_thread, on_loop
from flask_asgi._greenlets import is_on_loop
from flask_asgi._placement import _METHODS, SIGNALS
from flask_asgi._threads import ThreadPool
from werkzeug.middleware.proxy_fix import ProxyFix

from .asgi_client import Client, ask, http_scope

pytestmark = pytest.mark.anyio

Hook = Callable[..., Any]
HOOKS: dict[str, Callable[[Flask, Hook], Any]] = {
    "before_request": lambda app, hook: app.before_request(hook),
    "after_request": lambda app, hook: app.after_request(hook),
    "teardown_request": lambda app, hook: app.teardown_request(hook),
    "teardown_appcontext": lambda app, hook: app.teardown_appcontext(hook),
    "url_value_preprocessor": lambda app, hook: app.url_value_preprocessor(hook),
}


@pytest.fixture
def where() -> dict[str, tuple[int, bool]]:
    """Return by name: the thread in which code ran, and whether it was on the loop."""
    return {}


@pytest.fixture
def seen_by(where: dict[str, tuple[int, bool]]) -> Callable[[str, Any], Hook]:
    """Return a maker of functions that note where they run, and return a given value."""

    def make(name: str, value: Any = None) -> Hook:
        def function(*args: Any, **_: Any) -> Any:
            where[name] = threading.get_ident(), is_on_loop()
            return args[0] if value is Response else value

        return function

    return make


@pytest.fixture
def served(app: Flask, where: dict[str, tuple[int, bool]]) -> Flask:
    """Return an application whose view at ``/`` is async, and notes where it runs."""

    @app.get("/")
    async def view() -> str:
        where["view"] = threading.get_ident(), is_on_loop()
        await asyncio.sleep(0)
        return "ok"

    return app


def threads_of(where: dict[str, tuple[int, bool]]) -> set[int]:
    """Return the threads of the synchronous code, and check that none of it ran on the loop."""
    assert where.pop("view") == (threading.get_ident(), True)
    assert not any(on_loop for _, on_loop in where.values())
    return {thread for thread, _ in where.values()} - {threading.get_ident()}


@pytest.mark.parametrize("kind", HOOKS)
async def test_a_hook_that_may_block_runs_in_a_thread_and_the_view_on_the_loop(
    served: Flask, where: dict[str, tuple[int, bool]], seen_by: Any, kind: str
) -> None:
    HOOKS[kind](served, seen_by("hook", Response if kind == "after_request" else None))

    assert await ask(served, http_scope()) == (200, b"ok")

    assert len(threads_of(where)) == 1


@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize("how", ["marked", "module", "async"])
async def test_a_hook_that_never_blocks_runs_on_the_loop(
    served: Flask, where: dict[str, tuple[int, bool]], seen_by: Any, kind: str, how: str
) -> None:
    hook = seen_by("hook", Response if kind == "after_request" else None)
    if how == "async" and kind == "url_value_preprocessor":
        pytest.skip("Flask does not await these")
    if how == "async":
        inner = hook

        async def hook(*args: Any) -> Any:
            await asyncio.sleep(0)
            return inner(*args)

    HOOKS[kind](served, on_loop(hook) if how == "marked" else hook)

    modules = ["tests.flask_asgi"] if how == "module" else []
    assert await ask(served, http_scope(), on_loop=modules) == (200, b"ok")

    assert where == {"view": (threading.get_ident(), True), "hook": (threading.get_ident(), True)}


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: str(signal.name))
async def test_a_receiver_of_a_signal_runs_in_a_thread(
    served: Flask, where: dict[str, tuple[int, bool]], seen_by: Any, signal: Any
) -> None:
    with signal.connected_to(seen_by("receiver"), served):
        assert await ask(served, http_scope()) == (200, b"ok")
    assert len(threads_of(where)) == 1

    where.clear()
    await ask(served, http_scope())
    assert where == {"view": (threading.get_ident(), True)}


async def test_all_blocking_code_of_a_request_runs_in_the_same_thread(
    served: Flask, where: dict[str, tuple[int, bool]], seen_by: Any
) -> None:
    class Sessions(SecureCookieSessionInterface):
        def open_session(self, *args: Any) -> SecureCookieSession | None:
            seen_by("opens")()
            return super().open_session(*args)

        def save_session(self, *args: Any) -> None:
            seen_by("saves")()
            super().save_session(*args)

    served.session_interface = Sessions()
    load_user = in_thread(seen_by("loader"))
    for kind, register in HOOKS.items():
        register(served, seen_by(kind, Response if kind == "after_request" else None))

    @served.get("/all")
    async def everything() -> str:
        where["view"] = threading.get_ident(), is_on_loop()
        await asyncio.sleep(0)
        load_user()
        await asyncio.sleep(0)
        return "ok"

    with flask.request_finished.connected_to(seen_by("receiver"), served):
        assert await ask(served, http_scope("/all")) == (200, b"ok")

    assert where.keys() == {"view", "opens", "saves", "loader", "receiver", *HOOKS}
    assert len(threads_of(where)) == 1


# Before 3.1.2, Flask's `stream_with_context` failed in every async view.
FLASK = tuple(map(int, version("flask").split(".")[:3]))
in_async_views = pytest.mark.skipif(FLASK < (3, 1, 2), reason="a bug of older Flask")


@pytest.mark.parametrize("kind", [pytest.param("async", marks=in_async_views), "sync"])
async def test_a_stream_keeps_the_thread_of_its_request_until_its_teardown(
    app: Flask, where: dict[str, tuple[int, bool]], seen_by: Any, kind: str
) -> None:
    app.before_request(seen_by("before"))
    app.teardown_request(seen_by("teardown"))

    def parts() -> Iterator[str]:
        for number in range(3):
            seen_by(f"part {number}")()
            yield str(number)

    def stream() -> Response:
        return Response(stream_with_context(parts()))

    async def async_stream() -> Response:
        return stream()

    app.add_url_rule("/", "stream", stream if kind == "sync" else async_stream)
    bridge = FlaskToAsgi(app)
    requests = [asyncio.create_task(ask(bridge, http_scope())) for _ in range(5)]

    assert await asyncio.gather(*requests) == [(200, b"012")] * 5
    assert await ask(bridge, http_scope()) == (200, b"012")
    assert len({thread for thread, _ in where.values()}) == 1
    assert bridge.engine.threads._away == 0  # noqa: SLF001 - every thread was given back


async def test_a_stream_releases_its_thread_at_a_disconnect(app: Flask) -> None:
    torn_down = threading.Event()

    @app.teardown_request
    def note(_error: BaseException | None) -> None:
        torn_down.set()

    @app.get("/")
    def endless() -> Response:
        def parts() -> Iterator[str]:
            while True:
                yield "part"

        return Response(stream_with_context(parts()))

    bridge = FlaskToAsgi(app, threads=1)
    client = Client(bridge, http_scope())
    client.send_body()
    for _ in range(3):
        await client.next_sent()
    client.received.put_nowait({"type": "http.disconnect"})
    await asyncio.wait([client.done])

    assert torn_down.is_set()
    assert bridge.engine.threads._away == 0  # noqa: SLF001 - it was given back


@pytest.mark.parametrize("marked", [False, True])
async def test_an_error_handler_runs_in_a_thread_unless_it_is_marked(
    app: Flask, where: dict[str, tuple[int, bool]], seen_by: Any, *, marked: bool
) -> None:
    app.testing = False
    handler = seen_by("handler", ("handled", 400))
    app.register_error_handler(ValueError, on_loop(handler) if marked else handler)
    app.register_error_handler(500, on_loop(handler) if marked else handler)

    @app.get("/<kind>")
    async def view(kind: str) -> str:
        raise ValueError if kind == "known" else LookupError

    for path in ("/known", "/unknown"):
        where.clear()
        assert await ask(app, http_scope(path)) == (400, b"handled")
        assert where["handler"][1] is marked
        assert (where["handler"][0] == threading.get_ident()) is marked


async def test_receivers_are_given_the_error_with_its_traceback(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    app.testing = False
    given: list[Any] = []

    @app.get("/")
    async def view() -> str:
        raise LookupError

    def receiver(_app: Flask, exception: BaseException) -> None:
        given.append((type(exception), is_on_loop(), exception.__traceback__ is not None))

    with flask.got_request_exception.connected_to(receiver, app):
        assert (await ask(app, http_scope()))[0] == 500

    assert given == [(LookupError, False, True)]
    assert "in view\n" in caplog.text


async def test_a_deferred_function_runs_in_a_thread_unless_it_is_marked(
    app: Flask, where: dict[str, tuple[int, bool]], seen_by: Any
) -> None:
    @app.get("/<kind>")
    async def view(kind: str) -> str:
        deferred = seen_by(kind, Response)
        after_this_request(on_loop(deferred) if kind == "marked" else deferred)
        return "ok"

    for kind in ("marked", "foreign"):
        assert await ask(app, http_scope(f"/{kind}")) == (200, b"ok")

    assert {kind: on_loop for kind, (_, on_loop) in where.items()} == {
        "marked": True,
        "foreign": False,
    }


@pytest.mark.parametrize("marked", [False, True])
async def test_a_context_processor_runs_in_a_thread_unless_it_is_marked(
    app: Flask, where: dict[str, tuple[int, bool]], seen_by: Any, *, marked: bool
) -> None:
    processor = seen_by("processor", {"word": "said"})
    app.context_processor(on_loop(processor) if marked else processor)

    @app.get("/")
    async def view() -> str:
        await asyncio.sleep(0)
        return render_template_string("{{ word }}")

    assert await ask(app, http_scope()) == (200, b"said")

    assert where["processor"][1] is marked
    assert (where["processor"][0] == threading.get_ident()) is marked


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("marked", [False, True])
async def test_an_overridden_method_runs_in_a_thread_unless_it_is_marked(
    where: dict[str, tuple[int, bool]], method: str, *, marked: bool
) -> None:
    def overriding(self: Flask, *args: Any, **kwargs: Any) -> Any:
        where["method"] = threading.get_ident(), is_on_loop()
        return getattr(Flask, method)(self, *args, **kwargs)

    override = on_loop(overriding) if marked else overriding
    overridden = type("Overridden", (Flask,), {method: override})
    app: Flask = await asyncio.to_thread(overridden, "tested")

    @app.get("/")
    async def view() -> str:
        return "ok"

    assert await ask(app, http_scope()) == (200, b"ok")

    assert where["method"][1] is marked
    assert (where["method"][0] == threading.get_ident()) is marked


# Middleware


class Override:
    """Flask's documented middleware: a header names the method, and a prefix is taken off."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, environ: Any, start_response: Any) -> Any:
        environ["REQUEST_METHOD"] = environ.get(
            "HTTP_X_HTTP_METHOD_OVERRIDE", environ["REQUEST_METHOD"]
        )
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/api")
        return self.inner(environ, start_response)


@pytest.fixture
def both_methods(app: Flask, where: dict[str, tuple[int, bool]], seen_by: Any) -> Flask:
    """Return an application whose GET is async, and whose PUT is not."""

    @app.get("/")
    async def get() -> str:
        where["view"] = threading.get_ident(), is_on_loop()
        return "got"

    app.add_url_rule("/", "put", seen_by("put", "put"), methods=["PUT"])
    return app


@pytest.mark.parametrize("marked", [False, True])
async def test_a_sync_view_that_middleware_chose_does_not_run_on_the_loop(
    both_methods: Flask, where: dict[str, tuple[int, bool]], *, marked: bool
) -> None:
    middleware = Override(both_methods.wsgi_app)
    if marked:
        on_loop(Override)
    both_methods.wsgi_app = middleware  # type: ignore[method-assign]
    scope = http_scope("/api/", (b"x-http-method-override", b"PUT"))

    try:
        assert await ask(both_methods, scope) == (200, b"put")
        assert await ask(both_methods, http_scope("/api/")) == (200, b"got")
    finally:
        if marked:
            del Override.__flask_asgi_on_loop__  # type: ignore[attr-defined]

    assert where["put"][0] != threading.get_ident()
    assert where["view"] == (threading.get_ident(), True)


async def test_middleware_that_only_reads_headers_changes_nothing(served: Flask) -> None:
    served.wsgi_app = ProxyFix(ProxyFix(served.wsgi_app))  # type: ignore[method-assign]
    bridge = FlaskToAsgi(served)

    assert await ask(bridge, http_scope()) == (200, b"ok")

    assert bridge.engine.threads._threads == 0  # noqa: SLF001 - none was needed


# Limits and cancellation in a thread


@contextmanager
def started(bridge: FlaskToAsgi) -> Iterator[Client]:
    client = Client(bridge, http_scope())
    client.send_body()
    yield client
    assert client.done.done()


@pytest.fixture
def waiting(app: Flask) -> tuple[Flask, list[object], asyncio.Event]:
    """Return an application with a hook that may block, and a view that never ends."""
    ended: list[object] = []
    entered = asyncio.Event()

    @app.before_request
    def before() -> None:
        """Make the request need a thread."""

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        ended.append(type(error))

    @app.get("/")
    async def view() -> str:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("view")
        return "never"

    return app, ended, entered


async def test_a_view_is_cancelled_at_a_disconnect(
    waiting: tuple[Flask, list[object], asyncio.Event],
) -> None:
    app, ended, entered = waiting
    with started(FlaskToAsgi(app)) as client:
        await entered.wait()
        client.received.put_nowait({"type": "http.disconnect"})
        await asyncio.wait([client.done])

    assert client.sent.empty()
    assert ended == ["view", asyncio.CancelledError]


async def test_a_timed_out_view_is_cancelled_and_answered_504(
    waiting: tuple[Flask, list[object], asyncio.Event],
) -> None:
    app, ended, _ = waiting

    status, _ = await ask(app, http_scope(), request_timeout=0.2)

    assert status == 504
    assert ended[:2] == ["view", asyncio.CancelledError]


async def test_a_blocking_sync_view_has_no_timeout(app: Flask) -> None:
    release = threading.Event()

    @app.before_request
    async def wait() -> None:  # the timeout of waits for the loop begins here
        await asyncio.sleep(0)

    @app.get("/")
    def view() -> str:
        assert release.wait(10)
        return "late"

    bridge = FlaskToAsgi(app, request_timeout=0.2)
    client = Client(bridge, http_scope())
    client.send_body()
    await asyncio.sleep(0.4)  # past the limit
    release.set()

    assert (await client.next_sent())["status"] == 200
    await client.done


async def test_a_wait_that_begins_after_the_limit_is_cancelled(app: Flask) -> None:
    release = threading.Event()

    @app.before_request
    async def wait() -> None:
        await asyncio.sleep(0)

    @app.before_request
    def block() -> None:
        assert release.wait(10)

    @app.get("/")
    async def view() -> str:
        await asyncio.Event().wait()
        return "never"

    client = Client(FlaskToAsgi(app, request_timeout=0.2), http_scope())
    client.send_body()
    await asyncio.sleep(0.4)  # past the limit
    release.set()

    assert (await client.next_sent())["status"] == 504


async def test_a_thread_that_waits_for_an_async_view_frees_its_slot(app: Flask) -> None:
    barrier = asyncio.Barrier(20)

    @app.before_request
    def before() -> None:
        """Make the request need a thread."""

    @app.get("/")
    async def view() -> str:
        await barrier.wait()
        return "met"

    bridge = FlaskToAsgi(app, threads=2, max_waiting=100)
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(ask(bridge, http_scope()) for _ in range(20)))

    assert answers == [(200, b"met")] * 20
    assert bridge.engine.threads._away == 0  # noqa: SLF001 - all are back


async def test_a_health_check_is_answered_while_all_threads_are_busy(app: Flask) -> None:
    entered, release = threading.Event(), threading.Event()

    @app.before_request
    def before() -> None:
        """Make the request need a thread."""

    @app.get("/busy")
    def busy() -> str:
        entered.set()
        release.wait(20)
        return "free"

    @app.get("/livez")
    async def livez() -> str:
        return "alive"

    bridge = FlaskToAsgi(app, threads=1, max_waiting=0, always_answer=["/livez"])
    blocked = asyncio.create_task(ask(bridge, http_scope("/busy")))
    await asyncio.to_thread(entered.wait, 20)

    assert await ask(bridge, http_scope("/livez")) == (200, b"alive")
    assert (await ask(bridge, http_scope("/busy")))[0] == 503
    release.set()
    assert await blocked == (200, b"free")


async def test_the_number_of_threads_that_are_away_is_limited() -> None:
    pool = ThreadPool(1, max_waiting=1)

    with ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(pool.away())
        assert not pool.can_be_away()
        assert pool._away == 10  # noqa: SLF001 - no more than the limit

    assert pool.can_be_away()
    assert pool._away == 0  # noqa: SLF001 - all are back
