"""Every error leaves the service as a problem (RFC 9457), and none says more than it should."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask, Response, abort, jsonify, request
from flask.testing import FlaskClient
from upstreams import (
    DeadlineExceeded,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
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

from price_service.problems import (
    DETAILS,
    problem,
    upstream_problem,
)


def raising(app: Flask, error: Exception) -> FlaskClient:
    """Return a client of the application with a view at `/` that raises `error`."""

    async def view() -> str:
        raise error

    app.view_functions["raising"] = view
    app.add_url_rule("/raising", endpoint="raising")
    return app.test_client()


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
    """A text that is made when it is asked for, as extensions for translations have it."""

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
def test_whatever_describes_an_error_becomes_text(
    app: Flask, description: Any, detail: str
) -> None:
    response = raising(app, BadRequest(description)).get("/raising")

    assert response.status_code == 400
    assert response.get_json()["detail"] == detail


def test_the_description_of_a_kind_of_error_is_kept(app: Flask) -> None:
    response = raising(app, OutOfStockError()).get("/raising")

    assert response.get_json()["detail"] == "There is none left."


@pytest.mark.parametrize("status", sorted(default_exceptions))
def test_no_stock_text_speaks_to_a_person_with_a_browser(app: Flask, status: int) -> None:
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


def test_the_response_of_an_error_is_sent_as_it_is(app: Flask) -> None:
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


def test_failures_of_several_kinds_have_no_type_in_common(app: Flask) -> None:
    errors = [
        UpstreamTimeout("prices", "did not answer in time"),
        UpstreamUnavailable("prices", "answered 503", retry_after=9),
        UpstreamUnavailable("prices", "answered 503", retry_after=3),
    ]
    with app.test_request_context():
        response = upstream_problem(errors, "Nothing arrived.")

    assert response.status_code == 502
    assert response.get_json()["type"] == "about:blank"
    assert response.headers["Retry-After"] == "3"


def test_a_status_that_http_does_not_name_still_has_a_title(app: Flask) -> None:
    with app.test_request_context():
        response = problem(499, "The client has gone.")

    assert response.status_code == 499
    assert response.get_json()["title"] == "Unknown Error"


# Groups, as asyncio.TaskGroup raises them


GONE = UpstreamUnavailable("prices", "answered 503", retry_after=6.2, status=503)
LATE = UpstreamTimeout("orders", "did not answer in time")


def grouped(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("unhandled errors in a TaskGroup", errors)


@pytest.mark.parametrize("error", [GONE, LATE, DeadlineExceeded("no time was left")], ids=str)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_group_of_one_expected_error_is_that_error(
    app: Flask, error: UpstreamError | DeadlineExceeded, depth: int
) -> None:
    alone = raising(app, error).get("/raising", headers={"X-Request-ID": "a"})
    group: Exception = error
    for _ in range(depth):
        group = grouped(group)

    app.view_functions["raising"] = lambda: raise_(group)
    response = app.test_client().get("/raising", headers={"X-Request-ID": "a"})

    assert (response.status_code, response.data) == (alone.status_code, alone.data)
    assert response.headers == alone.headers


def raise_(error: Exception) -> str:
    raise error


def test_a_group_of_several_is_what_they_have_in_common(app: Flask) -> None:
    response = raising(app, grouped(LATE, grouped(GONE))).get("/raising")
    assert response.status_code == 502
    assert response.get_json()["type"] == "about:blank"
    assert response.headers["Retry-After"] == "7"

    app.view_functions["raising"] = lambda: raise_(grouped(LATE, DeadlineExceeded("late")))
    assert app.test_client().get("/raising").status_code == 504


def test_what_a_view_refuses_in_a_group_comes_first(app: Flask) -> None:
    response = raising(app, grouped(GONE, grouped(NotFound("no such order")))).get("/raising")

    assert response.status_code == 404
    assert response.get_json()["detail"] == "no such order"


@pytest.mark.parametrize(
    "group",
    [
        grouped(ZeroDivisionError()),
        grouped(GONE, ZeroDivisionError()),
        grouped(grouped(KeyError())),
    ],
    ids=str,
)
def test_a_group_with_a_bug_is_a_bug(
    app: Flask, caplog: pytest.LogCaptureFixture, group: ExceptionGroup[Exception]
) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    response = raising(app, group).get("/raising")

    assert response.status_code == 500
    assert "ExceptionGroup" in caplog.text


# When to come back


@pytest.mark.parametrize(
    ("wait", "header"),
    [
        (0, "0"),
        (0.2, "1"),
        (1e300, "86400"),
        (float("inf"), None),
        (float("nan"), None),
        (-1, None),
        (None, None),
    ],
)
def test_when_to_come_back_is_a_number_that_somebody_waits(
    app: Flask, wait: float | None, header: str | None
) -> None:
    error = UpstreamUnavailable("prices", "answered 503", retry_after=wait)

    assert raising(app, error).get("/raising").headers.get("Retry-After") == header


def test_too_many_calls_of_our_own_are_a_503(app: Flask) -> None:
    error = UpstreamBusy("prices", "had no connection free in time", retry_after=1)
    response = raising(app, error).get("/raising")

    assert response.status_code == 503
    assert response.get_json()["type"] == "urn:problem-type:upstream-busy"
    assert response.headers["Retry-After"] == "1"

    with app.test_request_context():
        assert upstream_problem([error, LATE], "Nothing arrived.").status_code == 504
        assert upstream_problem([error, GONE], "Nothing arrived.").status_code == 502
