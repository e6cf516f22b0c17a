"""Every error leaves the service as a problem (RFC 9457), and none says more than it should."""

import asyncio
import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import pytest
from flask import Flask, Response, abort, jsonify, request
from flask.testing import FlaskClient
from upstreams._deadline import DeadlineExceeded
from upstreams._errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
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

from {{ cookiecutter.package_name }}.problems import (
    DETAILS,
    problem,
    upstream_problem,
)


@pytest.fixture
def broken(app: Flask) -> FlaskClient:
    """Return a client of the application with a view that fails by accident."""
    app.config["PROPAGATE_EXCEPTIONS"] = False  # as in production: the client gets an answer

    @app.get("/broken")
    async def broken() -> str:
        await asyncio.sleep(0)
        message = "the password is s3cret"
        raise RuntimeError(message)

    return app.test_client()


def raising(app: Flask, error: Exception) -> FlaskClient:
    """Return a client of the application with a view at `/` that raises `error`."""

    async def view() -> str:
        raise error

    app.view_functions["raising"] = view
    app.add_url_rule("/raising", endpoint="raising")
    return app.test_client()


def test_a_problem_has_the_members_of_the_standard_and_the_request_id(client: FlaskClient) -> None:
    response = client.get("/no where/ü?token=s3cret", headers={"X-Request-ID": "abc"})

    assert response.status_code == 404
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = response.get_json()
    assert body == {
        "type": "about:blank",
        "title": "Not Found",
        "detail": "Nothing was found at this path.",
        "status": 404,
        "instance": "/no%20where/%C3%BC",
        "request_id": "abc",
    }


def test_a_wrong_method_is_told_which_are_allowed(client: FlaskClient) -> None:
    response = client.post("/livez")

    assert response.status_code == 405
    assert response.content_type == "application/problem+json"
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


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


def test_a_body_over_the_limit_is_a_problem(app: Flask, client: FlaskClient) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 3

    @app.post("/size")
    async def size() -> str:
        return str(len(request.get_data()))

    response = client.post("/size", data=b"1234")

    assert response.status_code == 413
    assert response.content_type == "application/problem+json"


def test_a_description_becomes_the_detail(app: Flask) -> None:
    @app.get("/teapot")
    async def teapot() -> str:
        abort(418, "I cannot brew <coffee>.")

    assert app.test_client().get("/teapot").get_json()["detail"] == "I cannot brew <coffee>."


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


def test_an_accident_is_logged_and_its_cause_kept_from_the_client(
    broken: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    response = broken.get("/broken")

    assert response.status_code == 500
    assert response.content_type == "application/problem+json"
    assert "s3cret" not in response.text
    assert "RuntimeError: the password is s3cret" in caplog.text


def test_debug_mode_shows_the_cause_to_the_client(app: Flask, broken: FlaskClient) -> None:
    app.debug = True

    response = broken.get("/broken")

    assert response.status_code == 500
    assert response.get_json()["detail"] == "RuntimeError('the password is s3cret')"


@pytest.mark.parametrize(
    ("kind", "status", "problem_type"),
    [
        (UpstreamTimeout, HTTPStatus.GATEWAY_TIMEOUT, "upstream-timeout"),
        (UpstreamUnavailable, HTTPStatus.BAD_GATEWAY, "upstream-unavailable"),
        (UpstreamInvalid, HTTPStatus.BAD_GATEWAY, "upstream-invalid"),
        (UpstreamRejected, HTTPStatus.BAD_GATEWAY, "upstream-rejected"),
    ],
)
def test_an_upstreams_failure_has_a_type_names_the_upstream_and_is_logged(
    app: Flask,
    caplog: pytest.LogCaptureFixture,
    kind: type[UpstreamError],
    status: HTTPStatus,
    problem_type: str,
) -> None:
    response = raising(app, kind("prices", "answered nonsense")).get("/raising")

    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    body = response.get_json()
    assert body["type"] == f"urn:problem-type:{problem_type}"
    assert body["upstream"] == "prices"
    assert body["detail"] == "The upstream prices answered nonsense."
    assert "prices answered nonsense" in caplog.text
    assert "Retry-After" not in response.headers


def test_an_upstream_that_says_when_to_come_back_is_believed(app: Flask) -> None:
    error = UpstreamUnavailable("prices", "answered 503", retry_after=6.2)

    assert raising(app, error).get("/raising").headers["Retry-After"] == "7"


def test_a_request_that_runs_out_of_time_is_a_problem_of_its_own(app: Flask) -> None:
    response = raising(app, DeadlineExceeded("no time was left")).get("/raising")

    assert response.status_code == 504
    assert response.get_json()["type"] == "urn:problem-type:deadline-exceeded"


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


def test_a_task_group_over_two_upstreams_one_of_which_is_down(app: Flask) -> None:
    @app.get("/both")
    async def both() -> str:
        async def down() -> None:
            raise GONE

        async with asyncio.TaskGroup() as group:
            group.create_task(down())
            group.create_task(asyncio.sleep(60))
        return ""

    response = app.test_client().get("/both")

    assert response.status_code == 502
    assert response.get_json()["type"] == "urn:problem-type:upstream-unavailable"
    assert response.get_json()["upstream"] == "prices"
    assert response.headers["Retry-After"] == "7"


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
