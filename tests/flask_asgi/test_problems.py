"""Errors become problems (RFC 9457), without internal details."""

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask, Response, abort, jsonify, request
from flask.testing import FlaskClient
from flask_asgi import handle_errors, init_problems, on_loop, problem
from flask_asgi._greenlets import is_on_loop
from flask_asgi._problems import _DETAILS as DETAILS
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import (
    BadRequest,
    Conflict,
    HTTPException,
    NotFound,
    ServiceUnavailable,
    Unauthorized,
    default_exceptions,
)

from .asgi_client import ask, http_scope


@pytest.fixture
def app(app: Flask) -> Flask:
    """Return an application that answers errors with problems."""
    app.testing = False
    init_problems(app)
    return app


def raising(app: Flask, error: Exception) -> FlaskClient:
    """Return a client of the application with a view at `/raising` that raises `error`."""

    async def view() -> str:
        raise error

    app.add_url_rule("/raising", view_func=view)
    return app.test_client()


# One problem


def test_a_problem_has_the_members_of_the_standard_and_the_request_id(app: Flask) -> None:
    response = app.test_client().get("/no where/ü?token=s3cret", headers={"X-Request-ID": "abc"})

    assert response.status_code == 404
    assert response.content_type == "application/problem+json"
    assert response.get_json() == {
        "type": "about:blank",
        "title": "Not Found",
        "detail": "Nothing was found at this path.",
        "status": 404,
        "instance": "/no%20where/%C3%BC",
        "request_id": "abc",
    }


def test_a_problem_may_have_a_type_and_more_members(app: Flask) -> None:
    with app.test_request_context("/till", environ_overrides={"SCRIPT_NAME": "/shop"}):
        response = problem(409, "It is shut.", kind="urn:problem-type:shut", until="noon")

    body = response.get_json()
    assert (body["type"], body["title"]) == ("urn:problem-type:shut", "Conflict")
    assert (body["until"], body["instance"]) == ("noon", "/shop/till")


def test_an_unregistered_status_has_a_title(app: Flask) -> None:
    with app.test_request_context():
        response = problem(499, "The client has gone.")

    assert response.status_code == 499
    assert response.get_json()["title"] == "Unknown Error"


# Errors of `abort` and of Flask


def test_a_405_lists_the_allowed_methods(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: "")

    response = app.test_client().post("/")

    assert response.status_code == 405
    assert response.content_type == "application/problem+json"
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_a_body_over_the_limit_is_a_problem(app: Flask) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 3
    app.add_url_rule("/size", view_func=lambda: str(len(request.data)), methods=["POST"])

    response = app.test_client().post("/size", data=b"1234")

    assert response.status_code == 413
    assert response.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("error", "name", "value"),
    [
        (ServiceUnavailable(retry_after=7), "Retry-After", "7"),
        (Unauthorized(www_authenticate=WWWAuthenticate("bearer")), "WWW-Authenticate", "Bearer"),
    ],
)
def test_an_errors_own_headers_are_kept(
    app: Flask, error: HTTPException, name: str, value: str
) -> None:
    response = raising(app, error).get("/raising")

    assert response.status_code == error.code
    assert response.content_type == "application/problem+json"
    assert response.headers[name] == value


class Lazy:
    """A lazy text, as translation extensions use."""

    def __str__(self) -> str:
        return "translated"


class OutOfStockError(Conflict):
    description = "There is none left."


@pytest.mark.parametrize(
    ("description", "detail"),
    [
        (ValueError("7 is too many"), "7 is too many"),
        (KeyError("name"), "'name'"),
        (ValueError(), DETAILS[400]),
        (Lazy(), "translated"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}"),
        (bytearray(b"abc"), "abc"),
        ({"name": ["is missing"]}, '{"name": ["is missing"]}'),
        ({("a", 1): datetime(2026, 1, 2, tzinfo=UTC)}, "{}"),
        ([1, Lazy()], '[1, "translated"]'),
        (7, "7"),
        (None, DETAILS[400]),
        ("", DETAILS[400]),
        ("half a pair: \ud83d", "half a pair: ?"),
    ],
)
def test_any_description_of_an_error_becomes_text(
    app: Flask, description: Any, detail: str
) -> None:
    response = raising(app, BadRequest(description)).get("/raising")

    assert response.status_code == 400
    assert response.get_json()["detail"] == detail


def test_the_description_of_a_kind_of_error_is_kept(app: Flask) -> None:
    response = raising(app, OutOfStockError()).get("/raising")

    assert response.get_json()["detail"] == "There is none left."


@pytest.mark.parametrize("status", sorted(default_exceptions))
def test_no_default_detail_addresses_the_user_of_a_browser(app: Flask, status: int) -> None:
    response = raising(app, default_exceptions[status]()).get("/raising")

    detail = response.get_json()["detail"]
    assert detail == DETAILS[status]
    assert re.fullmatch(r"[A-Z].*\.", detail)
    assert not re.search(r"browser|proxy|server|manually|URL|user|page", detail)


def test_a_missing_field_is_named(app: Flask) -> None:
    @app.post("/form")
    async def form() -> str:
        return request.form["name"]

    for debug in (False, True):
        app.debug = debug
        response = app.test_client().post("/form", data={"other": "1"})

        assert response.status_code == 400
        assert response.get_json()["detail"] == "The request has no field 'name'."


def test_the_response_of_an_error_is_sent_unchanged(app: Flask) -> None:
    @app.get("/answered")
    async def answered() -> str:
        response = jsonify(errors=["name"])
        response.status_code = 422
        response.headers["X-Own"] = "1"
        abort(422, response=response)

    @app.get("/bare")
    async def bare() -> str:
        abort(Response("own", 409))

    own = Response("own", 418, content_type="text/plain")
    assert raising(app, BadRequest(response=own)).get("/raising").status_code == 418
    answer = app.test_client().get("/answered")
    assert (answer.status_code, answer.get_json()) == (422, {"errors": ["name"]})
    assert answer.headers["X-Own"] == "1"
    assert app.test_client().get("/bare").status_code == 409


# Unexpected errors


def test_an_unexpected_error_is_logged_and_hidden_from_the_client(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    response = raising(app, RuntimeError("the password is s3cret")).get("/raising")

    assert response.status_code == 500
    assert response.content_type == "application/problem+json"
    assert "s3cret" not in response.text
    assert "RuntimeError: the password is s3cret" in caplog.text


def test_debug_mode_shows_the_cause_to_the_client(app: Flask) -> None:
    app.debug = True

    response = raising(app, RuntimeError("the password is s3cret")).get("/raising")

    assert response.status_code == 500
    assert response.get_json()["detail"] == "RuntimeError('the password is s3cret')"


# Errors that are expected, alone and in groups as asyncio.TaskGroup raises them


class TillError(Exception):
    """The till is shut."""


class JammedError(TillError):
    """The till is jammed."""


@pytest.fixture
def handling(app: Flask) -> Flask:
    """Return an application that expects two kinds of errors."""

    def handler(errors: list[Exception]) -> Response:
        return problem(502, "It failed.", errors=[type(error).__name__ for error in errors])

    handle_errors(app, handler, TillError, KeyError)
    return app


def grouped(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("unhandled errors in a TaskGroup", errors)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TillError(), ["TillError"]),
        (JammedError(), ["JammedError"]),
        (grouped(TillError()), ["TillError"]),
        (grouped(grouped(grouped(JammedError()))), ["JammedError"]),
        (grouped(TillError(), grouped(KeyError(), JammedError()), TillError()), None),
    ],
)
def test_the_handler_gets_every_error_that_is_expected(
    handling: Flask, error: Exception, expected: list[str] | None
) -> None:
    response = raising(handling, error).get("/raising")

    assert response.status_code == 502
    all_four = ["TillError", "KeyError", "JammedError", "TillError"]
    assert response.get_json()["errors"] == (expected or all_four)


def test_an_error_of_a_task_group_is_answered(handling: Flask) -> None:
    @handling.get("/both")
    async def both() -> str:
        async def fail() -> None:
            raise TillError

        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(asyncio.Event().wait())
        return ""

    assert handling.test_client().get("/both").get_json()["errors"] == ["TillError"]


@pytest.mark.anyio
async def test_a_handler_may_be_async_with_and_without_a_server(app: Flask) -> None:
    async def handler(errors: list[Exception]) -> Response:
        await asyncio.sleep(0)
        return problem(502, "It failed.", errors=len(errors))

    handle_errors(app, handler, TillError)
    client = raising(app, grouped(TillError(), TillError()))

    outside = await asyncio.to_thread(client.get, "/raising")
    assert outside.get_json()["errors"] == 2
    status, body = await ask(app, http_scope("/raising"))
    assert (status, json.loads(body)["errors"]) == (502, 2)


def test_an_http_error_in_a_group_comes_first(handling: Flask) -> None:
    error = grouped(TillError(), grouped(NotFound("no such order")), KeyError())
    response = raising(handling, error).get("/raising")

    assert response.status_code == 404
    assert response.content_type == "application/problem+json"
    assert response.get_json()["detail"] == "no such order"


def test_an_http_error_in_a_group_goes_to_the_applications_handler(handling: Flask) -> None:
    @handling.errorhandler(404)
    def missing(_error: HTTPException) -> tuple[str, int]:
        return "own", 404

    assert raising(handling, grouped(NotFound())).get("/raising").text == "own"


@pytest.mark.parametrize(
    "group",
    [
        grouped(ZeroDivisionError()),
        grouped(TillError(), ZeroDivisionError()),
        grouped(NotFound(), ZeroDivisionError()),
        grouped(grouped(OSError())),
    ],
    ids=str,
)
def test_a_group_with_an_unexpected_error_is_answered_500(
    handling: Flask, caplog: pytest.LogCaptureFixture, group: ExceptionGroup[Exception]
) -> None:
    response = raising(handling, group).get("/raising")

    assert response.status_code == 500
    assert response.content_type == "application/problem+json"
    assert "ExceptionGroup" in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["sync", "marked", "async"])
async def test_a_handler_that_may_block_runs_in_a_thread(app: Flask, kind: str) -> None:
    app.testing = False
    on_the_loop: list[bool] = []

    def handle(_errors: list[Exception]) -> tuple[str, int]:
        on_the_loop.append(is_on_loop())
        return "handled", 400

    async def handle_async(errors: list[Exception]) -> tuple[str, int]:
        await asyncio.sleep(0)
        return handle(errors)

    if kind == "marked":
        on_loop(handle)
    handle_errors(app, handle_async if kind == "async" else handle, LookupError)

    @app.get("/<shape>")
    async def view(shape: str) -> str:
        if shape == "alone":
            raise LookupError
        message = "two"
        raise ExceptionGroup(message, [LookupError(), LookupError()])

    for shape in ("alone", "group"):
        assert await ask(app, http_scope(f"/{shape}")) == (400, b"handled")
    assert on_the_loop == [kind != "sync"] * 2
