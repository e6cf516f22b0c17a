"""Every error leaves the service as a problem (RFC 9457), without internal details."""

import asyncio

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from upstreams import (
    DeadlineExceeded,
    UpstreamBusy,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from werkzeug.exceptions import BadRequest

from {{ cookiecutter.package_name }}.problems import upstream_problem

GONE = UpstreamUnavailable("orders", "answered 503", retry_after=6.2, status=503)
LATE = UpstreamTimeout("stock", "did not answer in time")


def raising(app: Flask, error: Exception) -> FlaskClient:
    """Return a client of the application with a view at `/raising` that raises `error`."""

    async def view() -> str:
        raise error

    app.config["PROPAGATE_EXCEPTIONS"] = False  # as in production: the client gets an answer
    app.add_url_rule("/raising", view_func=view)
    return app.test_client()


def test_a_problem_has_the_members_of_the_standard_and_the_request_id(client: FlaskClient) -> None:
    response = client.get("/no where/ü?token=s3cret", headers={"X-Request-ID": "abc"})

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


def test_an_unexpected_error_is_logged_and_hidden_from_the_client(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    response = raising(app, RuntimeError("the password is s3cret")).get("/raising")

    assert response.status_code == 500
    assert response.content_type == "application/problem+json"
    assert "s3cret" not in response.text
    assert "RuntimeError: the password is s3cret" in caplog.text


@pytest.mark.parametrize(
    ("kind", "status", "problem_type"),
    [
        (UpstreamTimeout, 504, "upstream-timeout"),
        (UpstreamBusy, 503, "upstream-busy"),
        (UpstreamUnavailable, 502, "upstream-unavailable"),
        (UpstreamInvalid, 502, "upstream-invalid"),
        (UpstreamRejected, 502, "upstream-rejected"),
    ],
)
def test_a_failed_upstream_is_logged_and_named_in_a_problem_with_a_type(
    app: Flask,
    caplog: pytest.LogCaptureFixture,
    kind: type[UpstreamError],
    status: int,
    problem_type: str,
) -> None:
    response = raising(app, kind("orders", "answered nonsense")).get("/raising")

    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    body = response.get_json()
    assert body["type"] == f"urn:problem-type:{problem_type}"
    assert body["upstream"] == "orders"
    assert body["detail"] == "The upstream orders answered nonsense."
    assert "orders answered nonsense" in caplog.text
    assert "Retry-After" not in response.headers


def test_the_retry_after_of_an_upstream_is_passed_on(app: Flask) -> None:
    assert raising(app, GONE).get("/raising").headers["Retry-After"] == "7"


def test_an_exceeded_deadline_has_its_own_problem_type(app: Flask) -> None:
    response = raising(app, DeadlineExceeded("no time was left")).get("/raising")

    assert response.status_code == 504
    assert response.get_json()["type"] == "urn:problem-type:deadline-exceeded"


def test_failures_of_several_types_give_a_problem_without_a_type(app: Flask) -> None:
    with app.test_request_context():
        response: Response = upstream_problem([LATE, GONE], "Nothing arrived.", symbols=2)

    assert response.status_code == 502
    assert response.get_json()["type"] == "about:blank"
    assert response.get_json()["symbols"] == 2
    assert response.headers["Retry-After"] == "7"


def test_a_task_group_with_a_failed_call_gives_its_problem(app: Flask) -> None:
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
    assert response.get_json()["upstream"] == "orders"


def grouped(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("unhandled errors in a TaskGroup", errors)


@pytest.mark.parametrize(
    ("group", "status"),
    [
        (grouped(LATE, grouped(GONE)), 502),
        (grouped(LATE, DeadlineExceeded("late")), 504),
        (grouped(GONE, grouped(BadRequest("no such order"))), 400),  # the view refused it
    ],
)
def test_a_group_of_several_errors_gives_one_common_response(
    app: Flask, group: Exception, status: int
) -> None:
    assert raising(app, group).get("/raising").status_code == status


def test_a_group_with_a_bug_gives_500(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    assert raising(app, grouped(GONE, ZeroDivisionError())).get("/raising").status_code == 500
    assert "ExceptionGroup" in caplog.text
