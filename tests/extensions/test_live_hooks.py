"""An application's hooks run in threads, so that they may block.

Several requests at once reach the same blocking code, which waits in a barrier for all of them. On
the event loop, the first request would block the others.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import (
    Blueprint,
    Flask,
    Response,
    after_this_request,
    g,
    got_request_exception,
    render_template_string,
    request,
    request_finished,
    request_started,
    session,
)
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_asgi import FlaskToAsgi, on_loop
from flask_login import LoginManager, UserMixin, current_user, login_user

from .live import Gate, barrier, live, place

pytestmark = pytest.mark.heavy

CLIENTS = 4

Block = Callable[[], None]


def before_request(app: Flask, block: Block) -> None:
    app.before_request(block)


def before_request_of_blueprint(app: Flask, block: Block) -> None:
    bp = Blueprint("bp", __name__)
    bp.before_app_request(block)
    app.register_blueprint(bp)


def after_request(app: Flask, block: Block) -> None:
    @app.after_request
    def hook(response: Response) -> Response:
        block()
        return response


def after_this(app: Flask, block: Block) -> None:
    def view() -> str:
        @after_this_request
        def hook(response: Response) -> Response:
            block()
            return response

        return "ok"

    app.view_functions["view"] = view


def teardown_request(app: Flask, block: Block) -> None:
    app.teardown_request(lambda _: block())


def teardown_appcontext(app: Flask, block: Block) -> None:
    app.teardown_appcontext(lambda _: block())


def url_value_preprocessor(app: Flask, block: Block) -> None:
    app.url_value_preprocessor(lambda _endpoint, _values: block())


def error_handler(app: Flask, block: Block) -> None:
    def view() -> str:
        raise LookupError

    @app.errorhandler(LookupError)
    def hook(_error: LookupError) -> str:
        block()
        return "ok"

    app.view_functions["view"] = view


def context_processor(app: Flask, block: Block) -> None:
    def view() -> str:
        return render_template_string("ok")

    @app.context_processor
    def hook() -> dict[str, object]:
        block()
        return {}

    app.view_functions["view"] = view


def session_open(app: Flask, block: Block) -> None:
    class Sessions(SecureCookieSessionInterface):
        def open_session(self, *args: Any) -> SecureCookieSession | None:
            block()
            return super().open_session(*args)

    app.session_interface = Sessions()


def session_save(app: Flask, block: Block) -> None:
    class Sessions(SecureCookieSessionInterface):
        def save_session(self, *_args: Any) -> None:
            block()

    app.session_interface = Sessions()


def signal_started(app: Flask, block: Block) -> None:
    request_started.connect(lambda _app: block(), app, weak=False)


def signal_finished(app: Flask, block: Block) -> None:
    request_finished.connect(lambda _app, response: block(), app, weak=False)  # noqa: ARG005 - blinker's


def signal_exception(app: Flask, block: Block) -> None:
    def view() -> str:
        raise LookupError

    app.register_error_handler(500, lambda _: "ok")
    app.view_functions["view"] = view
    got_request_exception.connect(lambda _app, exception: block(), app, weak=False)  # noqa: ARG005 - blinker's


def user_loader(app: Flask, block: Block) -> None:
    manager = LoginManager(app)

    @manager.request_loader
    def load(_request: object) -> UserMixin:
        block()
        return UserMixin()

    @app.before_request
    def guard() -> None:
        assert current_user.is_authenticated


KINDS = (
    before_request,
    before_request_of_blueprint,
    after_request,
    after_this,
    teardown_request,
    teardown_appcontext,
    url_value_preprocessor,
    error_handler,
    context_processor,
    session_open,
    session_save,
    signal_started,
    signal_finished,
    signal_exception,
    user_loader,
)


def asynchronous(view: Callable[[], Any]) -> Callable[[], Any]:
    """A view that waits, and then calls the view on the loop."""

    async def call() -> Any:
        await asyncio.sleep(0)
        return view()

    return call


def make_app() -> Flask:
    """An application with a sync view, which a test can make async, and an async view."""
    app = Flask(__name__)
    app.secret_key = "not a secret"  # noqa: S105 - it is not

    @app.get("/")
    def view() -> str:
        return "ok"

    @app.get("/awaits")
    async def awaits() -> str:
        await asyncio.sleep(0)
        return place()

    return app


@pytest.mark.parametrize("view", ["sync", "async"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_blocking_hooks_run_for_several_requests_at_once(
    kind: Callable[[Flask, Block], None], view: str
) -> None:
    app, meeting = make_app(), barrier(CLIENTS)
    places: list[str] = []

    def block() -> None:
        places.append(place())
        meeting.wait()

    kind(app, block)
    if view == "async":
        app.view_functions["view"] = asynchronous(app.view_functions["view"])
    with live(app) as server:
        answers = server.at_once(CLIENTS)

    assert answers == {"200 ok": CLIENTS}
    assert places == ["thread"] * CLIENTS
    assert not meeting.broken


@pytest.mark.parametrize("path", ["/", "/awaits"])
def test_a_user_loader_runs_for_several_users_at_once(path: str) -> None:
    app, meeting = make_app(), barrier(CLIENTS)
    manager = LoginManager(app)

    @manager.user_loader
    def load(user_id: str) -> UserMixin:
        meeting.wait()
        return user(user_id)

    @app.before_request
    def guard() -> tuple[str, int] | None:
        return None if current_user.is_authenticated else ("who?", 401)

    with app.test_request_context("/"):
        login_user(user("7"))
        response = app.make_response("")
        app.session_interface.save_session(app, *session_of(response))
    cookie = response.headers["Set-Cookie"].partition(";")[0]

    with live(app) as server:
        answers = server.at_once(CLIENTS, path, headers={"Cookie": cookie})

    assert [*answers.values()] == [CLIENTS]
    assert "200" in next(iter(answers))


def user(user_id: str) -> UserMixin:
    """A user with an id."""
    made = UserMixin()
    made.id = user_id
    return made


def session_of(response: Response) -> tuple[Any, Response]:
    """The current session, and the response that saves it."""
    return session._get_current_object(), response  # type: ignore[attr-defined]  # noqa: SLF001 - a proxy


def test_a_user_loader_runs_in_a_thread_if_an_async_view_calls_it_first() -> None:
    app = make_app()
    places: list[str] = []
    manager = LoginManager(app)

    @manager.request_loader
    def load(_request: object) -> UserMixin:
        places.append(place())
        return UserMixin()

    @app.get("/asks")
    async def asks() -> str:
        return str(current_user.is_authenticated)

    with live(app) as server:
        assert server.get("/asks").text == "True"

    assert places == ["thread"]


# The thread has the context of the request


shared: contextvars.ContextVar[str] = contextvars.ContextVar("shared", default="nobody")


@pytest.mark.parametrize("way", ["live", "native"])
def test_hooks_and_view_see_the_same_context(way: str) -> None:
    app = Flask(__name__)

    @app.before_request
    def before() -> None:
        g.seen = ["before"]
        shared.set("before")

    @app.get("/")
    async def view() -> str:
        g.seen.append(f"view after {shared.get()}")
        await asyncio.sleep(0)
        if way == "live":  # without the bridge the view has a copy of the context
            shared.set("view")
        return "ok"

    @app.after_request
    def after(response: Response) -> Response:
        g.seen.append(f"after {shared.get()}")
        response.set_data(", ".join(g.seen))
        return response

    if way == "native":
        FlaskToAsgi(app)
        text = app.test_client().get("/").text
        assert text == "before, view after before, after before"
    else:
        with live(app) as server:
            text = server.get("/").text
        assert text == "before, view after before, after view"


@pytest.mark.parametrize("path", ["/", "/awaits"])
def test_all_hooks_of_a_request_share_a_thread(path: str) -> None:
    app = make_app()
    threads: list[int] = []

    for _ in range(3):
        app.before_request(lambda: threads.append(threading.get_ident()))

        @app.after_request
        def after(response: Response) -> Response:
            threads.append(threading.get_ident())
            return response

    with live(app) as server:
        loop_thread = server.server.run(current_thread())
        assert server.get(path).is_success

    assert len(threads) == 6
    assert len({*threads}) == 1
    assert loop_thread not in threads


async def current_thread() -> int:
    """The thread that runs this coroutine."""
    return threading.get_ident()


def test_async_hooks_stay_on_the_loop() -> None:
    app = make_app()
    places: list[str] = []

    @app.before_request
    async def before() -> None:
        await asyncio.sleep(0)
        places.append(place())

    @app.after_request
    async def after(response: Response) -> Response:
        await asyncio.sleep(0)
        places.append(place())
        return response

    @app.teardown_request
    async def teardown(_error: BaseException | None) -> None:
        await asyncio.sleep(0)
        places.append(place())

    with live(app) as server:
        assert server.get("/awaits").text == "loop"

    assert places == ["loop"] * 3


def test_the_loop_keeps_running_while_a_hook_blocks() -> None:
    app, gate = make_app(), Gate()

    @app.before_request
    def block() -> None:
        if "block" in request.args:
            gate.block()

    with live(app) as server, server.blocked(gate, "/awaits?block", "loop"):
        assert server.get("/awaits").text == "loop"


# Hooks that stay on the loop


def no_hooks(_app: Flask) -> None:
    pass


def async_hooks(app: Flask) -> None:
    @app.before_request
    async def before() -> None:
        await asyncio.sleep(0)

    @app.after_request
    async def after(response: Response) -> Response:
        await asyncio.sleep(0)
        return response


def marked_hooks(app: Flask) -> None:
    """Hooks that are marked as never blocking."""
    app.before_request(on_loop(lambda: None))
    app.after_request(on_loop(lambda response: response))
    app.teardown_request(on_loop(lambda _error: None))
    app.teardown_appcontext(on_loop(lambda _error: None))
    app.url_value_preprocessor(on_loop(lambda _endpoint, _values: None))


@pytest.mark.parametrize(
    "hooks",
    [no_hooks, async_hooks, marked_hooks],
    ids=lambda hooks: hooks.__name__,
)
def test_an_async_view_needs_no_thread_if_no_hook_needs_one(
    hooks: Callable[[Flask], None],
) -> None:
    """The only thread is busy."""
    app, gate = Flask(__name__), Gate()

    @app.get("/")
    def block() -> str:
        gate.block()
        return "ok"

    @app.get("/awaits")
    async def awaits() -> str:
        await asyncio.sleep(0)
        return place()

    hooks(app)
    with live(app, threads=1) as server, server.blocked(gate, "/", "ok"):
        assert server.get("/awaits").text == "loop"


def test_marked_hooks_run_on_the_loop() -> None:
    app = make_app()
    places: list[str] = []

    def note(*_: object) -> None:
        places.append(place())

    app.before_request(on_loop(note))
    app.teardown_request(on_loop(note))
    app.teardown_appcontext(on_loop(note))
    app.url_value_preprocessor(on_loop(note))

    @app.after_request
    @on_loop
    def after(response: Response) -> Response:
        note()
        return response

    with live(app) as server:
        assert server.get("/awaits").text == "loop"

    assert places == ["loop"] * 5
