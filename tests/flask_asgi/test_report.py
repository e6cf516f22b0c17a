"""Start-up reports the code that makes async views need a thread."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.views import MethodView
from flask_asgi import FlaskToAsgi, HiddenViewError, on_loop, request_scope
from flask_asgi._report import report
from sqlalchemy.orm import scoped_session, sessionmaker

from .asgi_client import Client
from .test_marks import coroutine, wrapping


def said(app: Flask, caplog: pytest.LogCaptureFixture, **options: Any) -> list[tuple[str, str]]:
    """Return the level and the message of each line at start-up."""
    caplog.clear()
    bridge = FlaskToAsgi(app, **options)
    with caplog.at_level(logging.INFO):
        report(app, bridge.engine.placement, 100, refuse_hidden_views=bridge.refuse_hidden_views)
    return [(record.levelname, record.getMessage()) for record in caplog.records]


HIDDEN = (
    "The async view 'hidden' holds one of 100 threads while it waits, because a decorator of "
    "tests.flask_asgi.test_marks hides it. Put @flask_asgi.on_loop above the decorators if they "
    "never block."
)


def test_a_hidden_view_is_a_warning(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.add_url_rule("/a", "hidden", wrapping(coroutine), methods=["GET", "POST"])
    app.add_url_rule("/b", "marked", on_loop(wrapping(coroutine)))
    app.add_url_rule("/c", "async", coroutine)
    app.add_url_rule("/d", "sync", lambda: "ok")

    assert said(app, caplog) == [("WARNING", HIDDEN)]


def test_a_hidden_method_of_a_class_is_a_warning(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    class Hidden(MethodView):
        get = staticmethod(wrapping(coroutine))

    app.add_url_rule("/", view_func=Hidden.as_view("hidden"))

    assert said(app, caplog) == [("WARNING", HIDDEN)]


def test_a_hidden_view_can_be_refused(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.add_url_rule("/a", "hidden", wrapping(coroutine))

    with pytest.raises(HiddenViewError) as refused:
        said(app, caplog, refuse_hidden_views=True)

    assert str(refused.value) == HIDDEN


@pytest.mark.anyio
async def test_a_refused_view_fails_the_start(app: Flask) -> None:
    app.add_url_rule("/a", "hidden", wrapping(coroutine))
    client = Client(FlaskToAsgi(app, refuse_hidden_views=True), {"type": "lifespan"})
    client.received.put_nowait({"type": "lifespan.startup"})

    failed = await client.next_sent()

    assert failed["type"] == "lifespan.startup.failed"
    assert HIDDEN in failed["message"]


@pytest.mark.anyio
async def test_the_report_is_logged_at_the_start(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    app.add_url_rule("/a", "hidden", wrapping(coroutine))
    client = Client(FlaskToAsgi(app), {"type": "lifespan"})
    for phase in ("startup", "shutdown"):
        client.received.put_nowait({"type": f"lifespan.{phase}"})
    await client.done

    assert HIDDEN in caplog.messages


def hook(*_: object) -> None:
    """Do nothing."""


def test_code_that_may_block_is_named(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.add_url_rule("/", "async", coroutine)
    app.before_request(hook)
    app.teardown_request(on_loop(lambda _error: None))

    message = (
        "Requests to async views hold one of 100 threads while they wait, because this code "
        "may block: before_request tests.flask_asgi.test_report.hook. Mark code that never "
        "blocks with flask_asgi.on_loop."
    )
    assert said(app, caplog) == [("INFO", message)]
    assert said(app, caplog, on_loop=[__name__]) == []


def test_without_async_views_nothing_is_reported(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    app.add_url_rule("/", "sync", lambda: "ok")
    app.before_request(hook)

    assert said(app, caplog) == []


@pytest.mark.parametrize("scope", [None, request_scope])
def test_a_session_for_each_thread_is_a_warning(
    app: Flask, caplog: pytest.LogCaptureFixture, scope: Callable[[], object] | None
) -> None:
    app.add_url_rule("/", "async", coroutine)
    session = scoped_session(sessionmaker(), scopefunc=scope)

    lines = said(app, caplog)

    assert (len(lines) == 1) is (scope is None)
    assert all("scopefunc=flask_asgi.request_scope" in line for _, line in lines)
    del session
