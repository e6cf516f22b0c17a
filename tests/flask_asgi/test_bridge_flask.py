"""Flask's features work through the bridge as without it, for async views and for sync views."""

import asyncio
import contextvars
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import httpx
import pytest
from asgiref.sync import sync_to_async
from blinker import Namespace
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    after_this_request,
    copy_current_request_context,
    current_app,
    flash,
    g,
    get_flashed_messages,
    got_request_exception,
    make_response,
    render_template_string,
    request,
    request_finished,
    request_started,
    session,
    stream_template_string,
    url_for,
)
from flask.globals import request_ctx
from flask.views import MethodView, View
from flask_asgi import FlaskToAsgi
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from .asgi_client import both_kinds, on_both_paths

pytestmark = pytest.mark.anyio


class NotEnoughError(Exception):
    """The error that the views raise."""


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "not a secret"  # noqa: S105 - it is not
    return app


@pytest.fixture
def bp() -> Blueprint:
    return Blueprint("bp", __name__, url_prefix="/bp")


@pytest.fixture
def outer() -> Blueprint:
    return Blueprint("outer", __name__, url_prefix="/outer")


@pytest.fixture
def other() -> Flask:
    return Flask("other")


@pytest.fixture
def client(app: Flask) -> httpx.AsyncClient:
    return client_of(app)


def client_of(app: Flask) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(FlaskToAsgi(app))  # type: ignore[arg-type] # plain dicts
    return httpx.AsyncClient(transport=transport, base_url="http://service.example")


def hooks(target: Flask | Blueprint, name: str, calls: list[str]) -> None:
    """Note every call of a sync and of an async hook of each kind."""

    def note(kind: str) -> None:
        calls.append(f"{name} {kind} of {request.path}")

    @target.before_request
    def before() -> None:
        note("before")

    @target.before_request
    async def async_before() -> None:
        await asyncio.sleep(0)
        note("async before")

    @target.after_request
    def after(response: Response) -> Response:
        note("after")
        return response

    @target.after_request
    async def async_after(response: Response) -> Response:
        await asyncio.sleep(0)
        note("async after")
        return response

    @target.teardown_request
    def teardown(_error: BaseException | None) -> None:
        note("teardown")

    @target.teardown_request
    async def async_teardown(_error: BaseException | None) -> None:
        await asyncio.sleep(0)
        note("async teardown")


# Hooks


@on_both_paths
async def test_hooks_run_in_flasks_order(
    app: Flask, bp: Blueprint, client: httpx.AsyncClient, path: str
) -> None:
    calls: list[str] = []
    hooks(app, "app", calls)
    hooks(bp, "bp", calls)
    both_kinds(bp, lambda: calls.append("view") or "ok")  # type: ignore[func-returns-value,redundant-expr]
    app.register_blueprint(bp)
    expected = [
        *("app before", "app async before", "bp before", "bp async before", "view"),
        *("bp async after", "bp after", "app async after", "app after"),
        *("bp async teardown", "bp teardown", "app async teardown", "app teardown"),
    ]

    assert "ok" == (await client.get(f"/bp{path}")).text
    assert expected == [call.removesuffix(f" of /bp{path}") for call in calls]


@on_both_paths
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_hook_may_answer_instead_of_the_view(
    app: Flask, client: httpx.AsyncClient, path: str, kind: str
) -> None:
    async def async_hook() -> AsyncIterator[str]:
        await asyncio.sleep(0)

        async def parts() -> AsyncIterator[str]:
            yield "from "
            yield "the hook"

        return parts()

    def sync_hook() -> Iterator[str]:
        yield "from "
        yield "the hook"

    app.before_request(async_hook if kind == "async" else sync_hook)
    both_kinds(app, lambda: "from the view")

    assert "from the hook" == (await client.get(path)).text


@on_both_paths
async def test_hooks_and_the_view_share_g(app: Flask, client: httpx.AsyncClient, path: str) -> None:
    @app.before_request
    async def before() -> None:
        g.steps = ["before"]

    @app.after_request
    async def after(response: Response) -> Response:
        response.headers["Steps"] = " ".join([*g.steps, "after"])
        return response

    both_kinds(app, lambda: g.steps.append("view") or "ok")

    assert "before view after" == (await client.get(path)).headers["Steps"]


@on_both_paths
async def test_after_this_request_takes_an_async_function(
    app: Flask, client: httpx.AsyncClient, path: str
) -> None:
    def answer() -> str:
        @after_this_request
        async def mark(response: Response) -> Response:
            response.headers["Marked"] = "yes"
            return response

        return "ok"

    both_kinds(app, answer)

    assert "yes" == (await client.get(path)).headers["Marked"]


@on_both_paths
async def test_a_template_gets_the_values_of_async_context_processors(
    app: Flask, client: httpx.AsyncClient, path: str
) -> None:
    @app.context_processor
    async def names() -> dict[str, str]:
        await asyncio.sleep(0)
        return {"name": "Ann"}

    both_kinds(app, lambda: render_template_string("{{ name }} at {{ request.path }}"))

    assert f"Ann at {path}" == (await client.get(path)).text


@on_both_paths
async def test_a_streamed_template_can_use_its_request(
    app: Flask, client: httpx.AsyncClient, path: str
) -> None:
    source = "{% for n in range(3) %}{{ request.path }} {% endfor %}"
    both_kinds(app, lambda: stream_template_string(source))

    assert f"{path} " * 3 == (await client.get(path)).text


@on_both_paths
async def test_an_async_hook_can_read_the_body(
    app: Flask, client: httpx.AsyncClient, path: str
) -> None:
    @app.before_request
    async def check() -> str:
        await asyncio.sleep(0)
        return f"refused {request.get_json()['name']}"

    app.post("/async")(taken_async)
    app.post("/sync")(taken_sync)

    assert "refused Ann" == (await client.post(path, json={"name": "Ann"})).text


async def taken_async() -> str:
    return "taken"


def taken_sync() -> str:
    return "taken"


# Errors


@on_both_paths
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_error_handlers_answer(
    app: Flask, bp: Blueprint, client: httpx.AsyncClient, path: str, kind: str
) -> None:
    def handle(error: Exception) -> tuple[str, int]:
        return f"{type(error).__name__} at {request.path}", 409

    async def handle_async(error: Exception) -> tuple[str, int]:
        await asyncio.sleep(0)
        return handle(error)

    def fail() -> None:
        raise NotEnoughError

    bp.register_error_handler(NotEnoughError, handle_async if kind == "async" else handle)
    app.register_error_handler(404, handle_async if kind == "async" else handle)
    both_kinds(bp, fail)
    both_kinds(app, lambda: abort(404))
    app.register_blueprint(bp)

    ours, http = await client.get(f"/bp{path}"), await client.get(path)

    assert (409, f"NotEnoughError at /bp{path}") == (ours.status_code, ours.text)
    assert (409, f"NotFound at {path}") == (http.status_code, http.text)


@on_both_paths
async def test_an_unhandled_error_is_logged_and_answered_500(
    app: Flask, client: httpx.AsyncClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[BaseException | None] = []

    @app.teardown_request
    async def teardown(error: BaseException | None) -> None:
        errors.append(error)

    def fail() -> None:
        raise NotEnoughError

    both_kinds(app, fail)

    assert 500 == (await client.get(path)).status_code
    assert [f"Exception on {path} [GET]"] == [record.message for record in caplog.records]
    assert [NotEnoughError] == [type(error) for error in errors]


@on_both_paths
async def test_a_propagated_error_reaches_the_server(
    app: Flask, client: httpx.AsyncClient, path: str
) -> None:
    app.testing = True

    def fail() -> None:
        raise NotEnoughError

    both_kinds(app, fail)

    with pytest.raises(NotEnoughError):
        await client.get(path)


@on_both_paths
async def test_a_stop_iteration_of_a_view_is_answered_500(
    app: Flask, client: httpx.AsyncClient, path: str
) -> None:
    both_kinds(app, lambda: next(iter([])))

    assert 500 == (await client.get(path)).status_code


# Signals


@on_both_paths
async def test_signals_reach_sync_and_async_receivers(
    app: Flask, client: httpx.AsyncClient, path: str
) -> None:
    received: list[str] = []

    def receive(_sender: Flask, **_: Any) -> None:
        received.append(f"sync {request.path}")

    async def receive_async(_sender: Flask, **_: Any) -> None:
        await asyncio.sleep(0)
        received.append(f"async {request.path}")

    def fail() -> None:
        raise NotEnoughError

    signals = (request_started, got_request_exception, request_finished)
    both_kinds(app, fail)
    for signal in signals:
        signal.connect(receive, app)
        signal.connect(receive_async, app)

    await client.get(path)

    assert sorted([f"async {path}", f"sync {path}"] * len(signals)) == sorted(received)


async def test_an_async_view_sends_custom_signals(app: Flask, client: httpx.AsyncClient) -> None:
    paid = Namespace().signal("paid")

    @paid.connect
    async def receive(_sender: object, **_: Any) -> str:
        await asyncio.sleep(0)
        return request.path

    @app.get("/")
    async def view() -> list[str]:
        return [answer for _, answer in await paid.send_async(_sync_wrapper=sync_to_async)]

    assert ["/"] == (await client.get("/")).json()


# Views


class AsyncMethods(MethodView):
    async def get(self) -> str:
        await asyncio.sleep(0)
        return f"got {request.path}"

    async def post(self) -> str:
        await asyncio.sleep(0)
        return f"took {request.get_data(as_text=True)}"

    async def put(self) -> Response:
        await asyncio.sleep(0)
        return make_response(f"part {number} " for number in range(2))


class OneMethod(View):
    init_every_request = False

    async def dispatch_request(self, number: int) -> str:  # type: ignore[override] # Flask allows it
        await asyncio.sleep(0)
        return f"number {number}"


async def test_class_based_views_have_async_methods(app: Flask, client: httpx.AsyncClient) -> None:
    app.add_url_rule("/methods", view_func=AsyncMethods.as_view("methods"))
    app.add_url_rule("/one/<int:number>", view_func=OneMethod.as_view("one"))

    assert "got /methods" == (await client.get("/methods")).text
    assert "took it" == (await client.post("/methods", content=b"it")).text
    assert "part 0 part 1 " == (await client.put("/methods")).text
    assert 405 == (await client.delete("/methods")).status_code
    assert "number 7" == (await client.get("/one/7")).text


async def test_a_decorator_calls_an_async_view_with_ensure_sync(
    app: Flask, client: httpx.AsyncClient
) -> None:
    def checked(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def check(*args: Any, **kwargs: Any) -> Any:
            return f"checked {current_app.ensure_sync(view)(*args, **kwargs)}"

        return check

    @app.get("/<name>")
    @checked
    async def view(name: str) -> str:
        await asyncio.sleep(0)
        return f"{name} at {request.path}"

    assert "checked a at /a" == (await client.get("/a")).text


@on_both_paths
async def test_blueprints_nest(
    app: Flask, bp: Blueprint, outer: Blueprint, client: httpx.AsyncClient, path: str
) -> None:
    both_kinds(bp, lambda: url_for(".sync_view", _external=True))
    outer.register_blueprint(bp)
    app.register_blueprint(outer)

    url = (await client.get(f"/outer/bp{path}")).text

    assert "http://service.example/outer/bp/sync" == url


@on_both_paths
async def test_head_and_options_are_answered_for_every_view(
    app: Flask, client: httpx.AsyncClient, path: str
) -> None:
    both_kinds(app, lambda: "four")

    head, options = await client.head(path), await client.options(path)

    assert ("4", "") == (head.headers["Content-Length"], head.text)
    assert {"GET", "HEAD", "OPTIONS"} == set(options.headers["Allow"].split(", "))


async def test_an_async_view_can_use_timeouts_task_groups_and_cancel_scopes(
    app: Flask, client: httpx.AsyncClient
) -> None:
    @app.get("/")
    async def view() -> list[str]:
        seen = []
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(10)
        except TimeoutError:
            seen.append("timeout")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(10))
                group.create_task(fail())
        except* NotEnoughError:
            seen.append("task group")
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep(10)
        seen += ["cancel scope"] if scope.cancelled_caught else []
        return seen

    async def fail() -> None:
        raise NotEnoughError

    assert ["timeout", "task group", "cancel scope"] == (await client.get("/")).json()


# Contexts


async def test_tasks_and_threads_of_an_async_view_have_its_request(
    app: Flask, client: httpx.AsyncClient
) -> None:
    async def in_a_task() -> str:
        await asyncio.sleep(0)
        return f"task {request.path} {g.name}"

    def in_a_thread() -> str:
        return f"thread {request.path} {g.name}"

    @app.get("/")
    async def view() -> list[str]:
        g.name = "Ann"
        work = (
            in_a_task(),
            asyncio.to_thread(in_a_thread),
            asyncio.to_thread(copy_current_request_context(in_a_thread)),
            sync_to_async(in_a_thread)(),
        )
        return [*await asyncio.gather(*work)]

    expected = ["task / Ann", "thread / Ann", "thread / Ann", "thread / Ann"]
    assert expected == (await client.get("/")).json()


async def test_a_thread_of_a_sync_view_gets_its_request_by_copy_current_request_context(
    app: Flask, client: httpx.AsyncClient
) -> None:
    @app.get("/")
    def view() -> list[str]:
        seen: list[str] = []

        @copy_current_request_context
        def work() -> None:
            seen.append(request.path)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return seen

    assert ["/"] == (await client.get("/")).json()


async def test_an_async_stream_has_its_request_if_it_copies_the_context(
    app: Flask, client: httpx.AsyncClient
) -> None:
    @app.get("/")
    async def view() -> AsyncIterator[str]:
        context = request_ctx.copy()

        async def parts() -> AsyncIterator[str]:
            with context:
                for _ in range(3):
                    await asyncio.sleep(0)
                    yield f"{request.path} "

        return parts()

    assert "/ / / " == (await client.get("/")).text


@on_both_paths
async def test_sync_code_reaches_async_code_through_any_number_of_layers(
    app: Flask, client: httpx.AsyncClient, path: str
) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    def sync_layer(left: int) -> int:
        return current_app.ensure_sync(async_layer)(left)  # type: ignore[no-any-return]

    async def async_layer(left: int) -> int:
        await asyncio.sleep(0)
        variable.set(variable.get() + 1)
        return sync_layer(left - 1) if left else variable.get()

    both_kinds(app, lambda: str(sync_layer(9)))

    assert "10" == (await client.get(path)).text


# Sessions


@on_both_paths
async def test_a_session_lasts_from_request_to_request(
    app: Flask, client: httpx.AsyncClient, path: str
) -> None:
    def count() -> dict[str, Any]:
        session["visits"] = session.get("visits", 0) + 1
        flash(f"visit {session['visits']}")
        return {"visits": session["visits"], "flashed": get_flashed_messages()}

    both_kinds(app, count)

    for visits in (1, 2, 3):
        expected = {"visits": visits, "flashed": [f"visit {visits}"]}
        assert expected == (await client.get(path)).json()


# Middleware


@on_both_paths
async def test_proxy_fix_sees_the_headers_of_a_proxy(app: Flask, path: str) -> None:
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]
    both_kinds(app, lambda: [request.remote_addr, request.url, url_for("sync_view")])
    headers = {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "shop.example",
        "X-Forwarded-Prefix": "/v1",
    }

    answer = (await client_of(app).get(path, headers=headers)).json()

    assert ["192.0.2.1", f"https://shop.example/v1{path}", "/v1/sync"] == answer


@on_both_paths
async def test_a_mounted_application_is_served(app: Flask, other: Flask, path: str) -> None:
    both_kinds(other, lambda: f"other {request.root_path}{request.path}")
    both_kinds(app, lambda: "app")
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/other": other})  # type: ignore[method-assign]
    client = client_of(app)

    assert "app" == (await client.get(path)).text
    assert f"other /other{path}" == (await client.get(f"/other{path}")).text


async def test_an_application_mounted_below_an_async_view_needs_its_own_bridge(
    app: Flask, other: Flask
) -> None:
    @app.get("/<path:_rest>")
    async def everything_else(_rest: str) -> str:
        return "app"

    both_kinds(other, lambda: "other")
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/other": other})  # type: ignore[method-assign]
    FlaskToAsgi(other)  # Flask's `async_to_sync` cannot be used on the loop, where this view runs

    assert "other" == (await client_of(app).get("/other/async")).text


# Outside a server


def test_a_command_may_call_async_code(app: Flask) -> None:
    FlaskToAsgi(app)

    @app.cli.command("greet")
    def greet() -> None:
        async def name() -> str:
            await asyncio.sleep(0)
            return current_app.import_name

        print(current_app.ensure_sync(name)())

    result = app.test_cli_runner().invoke(args=["greet"])

    assert f"{__name__}\n" == result.output


def test_test_clients_still_call_every_view(app: Flask) -> None:
    both_kinds(app, lambda: "ok")
    FlaskToAsgi(app)

    assert ["ok", "ok"] == [app.test_client().get(path).text for path in ("/async", "/sync")]
