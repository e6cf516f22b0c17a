"""The log lines of a request, wherever its code runs, and their format."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }} import logs
from {{ cookiecutter.package_name }}.settings import Settings

from .conftest import Lines, LiveClient
from .serving import wait_until

logger = logging.getLogger("tests")

ACCESS = logs.access.name
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


@pytest.mark.parametrize("path", ["/livez", "/nowhere"])
def test_a_clients_request_id_is_kept(client: FlaskClient, path: str) -> None:
    response = client.get(path, headers={"X-Request-ID": "Root=1-67891233-abc"})

    assert response.headers["X-Request-ID"] == "Root=1-67891233-abc"


@pytest.mark.parametrize("given", ["", "x" * 129, 'quo"te'])
def test_an_unsafe_request_id_is_replaced(client: FlaskClient, given: str) -> None:
    response = client.get("/livez", headers={"X-Request-ID": given})

    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])


@pytest.mark.parametrize("path", ["/sync", "/async", "/child-tasks", "/thread"])
def test_every_record_of_a_request_has_its_ids(
    app: Flask, live_client: LiveClient, lines: Lines, path: str
) -> None:
    def talk() -> str:
        logger.info("said")
        return ""

    async def talk_later() -> str:
        return talk()

    async def talk_at_once() -> str:
        await asyncio.gather(talk_later(), talk_later())
        return ""

    async def talk_in_a_thread() -> str:
        return await asyncio.to_thread(talk)

    app.add_url_rule("/sync", view_func=talk)
    app.add_url_rule("/async", view_func=talk_later)
    app.add_url_rule("/child-tasks", view_func=talk_at_once)
    app.add_url_rule("/thread", view_func=talk_in_a_thread)

    live_client.get(path, headers={"X-Request-ID": "abc", "traceparent": TRACEPARENT})

    said = lines("tests")
    assert said
    assert {(line["request_id"], line["trace_id"]) for line in said} == {("abc", TRACE_ID)}


def test_a_record_outside_a_request_has_no_ids(
    app: Flask, client: FlaskClient, lines: Lines
) -> None:
    client.get("/livez")
    logger.info("said after a request")
    with app.app_context():
        logger.info("said in a command")

    assert not any("request_id" in line for line in lines("tests"))


def test_a_request_is_logged_with_its_route_and_not_its_path(app: Flask, lines: Lines) -> None:
    @app.get("/users/<name>")
    async def user(name: str) -> str:
        return name

    app.test_client().get("/users/ann?token=s3cret")

    [line] = lines(ACCESS)
    assert list(line)[:4] == ["time", "level", "logger", "message"]
    assert line.pop("duration_ms") >= 0
    assert re.fullmatch("[0-9a-f]{32}", line.pop("request_id"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", line.pop("time"))
    assert re.fullmatch(r"GET /users/<name> 200 in [\d.]+ ms", line.pop("message"))
    assert line == {
        "level": "INFO",
        "logger": ACCESS,
        "method": "GET",
        "route": "/users/<name>",
        "status": 200,
        "client": "127.0.0.1",
        "bytes": 3,
    }


def test_a_request_without_a_route_is_logged_with_its_path_and_not_its_query(
    client: FlaskClient, lines: Lines
) -> None:
    client.post("/two%0Alines?token=s3cret")

    [line] = lines(ACCESS)
    assert (line["route"], line["status"], line["path"]) == (None, 404, "/two%0Alines")
    assert line["message"].startswith("POST /two%0Alines 404 in ")


@pytest.mark.parametrize(("status", "level"), [(404, "INFO"), (503, "ERROR")])
def test_a_5xx_response_is_logged_as_an_error(
    app: Flask, lines: Lines, status: int, level: str
) -> None:
    app.add_url_rule("/answer", view_func=lambda: ("", status))

    app.test_client().get("/answer")

    [line] = lines(ACCESS)
    assert (line["status"], line["level"]) == (status, level)


def test_a_stream_is_one_access_line_at_its_end(
    app: Flask, live_client: LiveClient, lines: Lines
) -> None:
    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "a"
        logger.info("said")
        yield "b"

    assert live_client.get("/stream").text == "ab"

    wait_until(lambda: lines(ACCESS))
    written = [line for line in lines("") if line["logger"] in {"tests", ACCESS}]
    assert [line["logger"] for line in written] == ["tests", ACCESS]
    assert written[1]["bytes"] == 2


def test_no_secret_is_logged(app: Flask, lines: Lines) -> None:
    @app.get("/refused")
    def refused() -> str:
        headers = {"Authorization": "Bearer s3cret", "Cookie": "id=s3cret"}
        logger.info("calling https://ann:s3cret@example.test/?token=s3cret", extra=headers)
        message = f"refused with {headers}"
        raise ConnectionError(message)

    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.test_client().get("/refused")

    assert "s3cret" not in str(lines(""))
    assert "[redacted]" in str(lines("tests"))


def test_a_failed_request_is_one_access_line_and_one_line_for_its_cause(
    app: Flask, lines: Lines
) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.add_url_rule("/broken", view_func=lambda: str(1 / 0))

    app.test_client().get("/broken", headers={"X-Request-ID": "abc"})

    cause, line = lines("")
    assert "Traceback" in cause["exc_info"]
    assert (cause["level"], cause["request_id"]) == ("ERROR", "abc")
    assert (line["status"], line["request_id"]) == (500, "abc")


@pytest.mark.usefixtures("unchanged_logging")
def test_text_logs_are_readable_lines(
    settings: Settings, client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(settings)

    client.get("/nowhere", headers={"X-Request-ID": "abc"})

    written = capsys.readouterr().err
    assert re.search(r" INFO +\S+: GET /nowhere 404 in [\d.]+ ms request_id=abc\n", written)
