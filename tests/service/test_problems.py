"""Every error leaves the service as a problem (RFC 9457), without internal details."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from upstreams import (
    DeadlineExceeded,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from werkzeug.exceptions import NotFound

from price_service.problems import upstream_problem


def raising(app: Flask, error: Exception) -> FlaskClient:
    """Return a client of the application with a view at `/` that raises `error`."""

    async def view() -> str:
        raise error

    app.view_functions["raising"] = view
    app.add_url_rule("/raising", endpoint="raising")
    return app.test_client()


def test_failures_of_several_types_give_a_problem_without_a_type(app: Flask) -> None:
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


# Groups of errors, as asyncio.TaskGroup raises them


GONE = UpstreamUnavailable("prices", "answered 503", retry_after=6.2, status=503)
LATE = UpstreamTimeout("orders", "did not answer in time")


def grouped(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("unhandled errors in a TaskGroup", errors)


@pytest.mark.parametrize("error", [GONE, LATE, DeadlineExceeded("no time was left")], ids=str)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_group_with_one_expected_error_gives_the_same_response_as_the_error(
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


def test_a_group_of_several_errors_gives_one_common_response(app: Flask) -> None:
    response = raising(app, grouped(LATE, grouped(GONE))).get("/raising")
    assert response.status_code == 502
    assert response.get_json()["type"] == "about:blank"
    assert response.headers["Retry-After"] == "7"

    app.view_functions["raising"] = lambda: raise_(grouped(LATE, DeadlineExceeded("late")))
    assert app.test_client().get("/raising").status_code == 504


def test_an_http_error_in_a_group_decides_the_response(app: Flask) -> None:
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
def test_a_group_with_a_bug_gives_500(
    app: Flask, caplog: pytest.LogCaptureFixture, group: ExceptionGroup[Exception]
) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    response = raising(app, group).get("/raising")

    assert response.status_code == 500
    assert "ExceptionGroup" in caplog.text


# Retry-After


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
def test_retry_after_is_a_whole_number_of_at_most_a_day(
    app: Flask, wait: float | None, header: str | None
) -> None:
    error = UpstreamUnavailable("prices", "answered 503", retry_after=wait)

    assert raising(app, error).get("/raising").headers.get("Retry-After") == header


def test_a_busy_upstream_client_gives_503(app: Flask) -> None:
    error = UpstreamBusy("prices", "had no connection free in time", retry_after=1)
    response = raising(app, error).get("/raising")

    assert response.status_code == 503
    assert response.get_json()["type"] == "urn:problem-type:upstream-busy"
    assert response.headers["Retry-After"] == "1"

    with app.test_request_context():
        assert upstream_problem([error, LATE], "Nothing arrived.").status_code == 504
        assert upstream_problem([error, GONE], "Nothing arrived.").status_code == 502
