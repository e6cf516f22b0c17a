"""What is logged of a request, wherever its code runs, and in which format."""

import asyncio
import json
import logging
import re
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }} import logs
from {{ cookiecutter.package_name }}.bridge import FlaskToAsgi
from {{ cookiecutter.package_name }}.settings import Settings

logger = logging.getLogger("tests")

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
IDS = f"{TRACE_ID}-b7ad6b7169203331"


class Lines:
    """Reads the JSON lines that were logged since the last look."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def of(self, name: str) -> list[dict[str, Any]]:
        """Return those of one logger."""
        lines = map(json.loads, self.capsys.readouterr().err.splitlines())
        return [line for line in lines if line["logger"] == name]

    def access(self) -> list[dict[str, Any]]:
        """Return the access lines."""
        return self.of(logs.access.name)


@pytest.fixture
def lines(
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    unchanged_logging: None,  # noqa: ARG001 - only its effect is needed
) -> Lines:
    """Configure JSON logs, and return what reads them."""
    logs.configure(settings.model_copy(update={"log_format": "json"}))
    return Lines(capsys)


@pytest.fixture
def talking(app: Flask) -> Flask:
    """Return the application with views that log from every place where code of a request runs."""

    def talk() -> None:
        logger.info("said")

    async def talk_later() -> None:
        talk()

    @app.get("/sync")
    def sync_view() -> str:
        talk()
        return ""

    @app.get("/async")
    async def async_view() -> str:
        talk()
        return ""

    @app.get("/child-tasks")
    async def child_tasks() -> str:
        await asyncio.gather(talk_later(), talk_later())
        return ""

    @app.get("/thread")
    async def thread() -> str:
        await asyncio.to_thread(talk)
        return ""

    return app


def under_asgi(app: Flask) -> httpx.AsyncClient:
    """Return a client of the application behind the bridge."""
    transport = httpx.ASGITransport(app=FlaskToAsgi(app))  # type: ignore[arg-type] # looser types
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.mark.parametrize("given", ["a", "A-1_b:2", "Root=1-67891233-abc/+.", "x" * 128])
def test_a_clients_request_id_is_kept(client: FlaskClient, given: str) -> None:
    response = client.get("/livez", headers={"X-Request-ID": given})

    assert response.headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", "é", 'quo"te', "a,b"])
def test_a_request_id_that_could_do_harm_is_replaced(client: FlaskClient, given: str) -> None:
    response = client.get("/livez", headers={"X-Request-ID": given})

    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])


def test_an_error_carries_the_request_id_too(client: FlaskClient) -> None:
    response = client.get("/nowhere", headers={"X-Request-ID": "abc"})

    assert response.headers["X-Request-ID"] == "abc"


@pytest.mark.parametrize("traceparent", [f"00-{IDS}-01", f"01-{IDS}-00", f"cc-{IDS}-01-more"])
def test_the_trace_id_of_the_caller_is_logged(
    client: FlaskClient, lines: Lines, traceparent: str
) -> None:
    client.get("/livez", headers={"traceparent": traceparent})

    [line] = lines.access()
    assert line["trace_id"] == TRACE_ID


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        f"ff-{IDS}-01",
        f"00-{IDS}-01-more",
        f"00-{IDS}-1",
        f"00-{IDS.upper()}-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
    ],
)
def test_an_invalid_traceparent_is_ignored(
    client: FlaskClient, lines: Lines, traceparent: str
) -> None:
    client.get("/livez", headers={"traceparent": traceparent})

    [line] = lines.access()
    assert "trace_id" not in line


@pytest.mark.parametrize(
    ("traceparent", "tracestate", "kept"),
    [
        (f"00-{IDS}-01", "a=1, b@c=2", "a=1, b@c=2"),
        (f"00-{IDS}-01", "a=" + 511 * "x", None),
        (f"00-{IDS}-01", "a=\x7f", None),
        (f"00-{IDS}-01", "", None),
        ("", "a=1", None),
    ],
)
def test_what_tracers_add_is_kept_beside_a_valid_traceparent(
    app: Flask, traceparent: str, tracestate: str, kept: str | None
) -> None:
    headers = {"traceparent": traceparent, "tracestate": tracestate}
    with app.test_client() as client:
        client.get("/livez", headers=headers)

        assert g.get("tracestate") == kept


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/sync", "/async", "/child-tasks", "/thread"])
async def test_every_record_of_a_request_has_its_ids(
    talking: Flask, lines: Lines, path: str
) -> None:
    headers = {"X-Request-ID": "abc", "traceparent": f"00-{IDS}-01"}

    async with under_asgi(talking) as client:
        await client.get(path, headers=headers)

    said = lines.of("tests")
    assert said
    assert {(line["request_id"], line["trace_id"]) for line in said} == {("abc", TRACE_ID)}


@pytest.mark.parametrize("path", ["/sync", "/async", "/child-tasks", "/thread"])
def test_outside_a_server_every_record_has_its_id_too(
    talking: Flask, lines: Lines, path: str
) -> None:
    talking.test_client().get(path, headers={"X-Request-ID": "abc"})

    assert {line["request_id"] for line in lines.of("tests")} == {"abc"}


@pytest.mark.anyio
async def test_requests_that_overlap_keep_their_ids_apart(app: Flask, lines: Lines) -> None:
    both_inside = asyncio.Barrier(2)

    @app.get("/meet")
    async def meet() -> str:
        await both_inside.wait()
        logger.info("said")
        return ""

    async with under_asgi(app) as client, asyncio.timeout(10):
        await asyncio.gather(
            *(client.get("/meet", headers={"X-Request-ID": name}) for name in ("a", "b"))
        )

    assert sorted(line["request_id"] for line in lines.of("tests")) == ["a", "b"]


def test_a_record_outside_a_request_has_no_ids(
    app: Flask, client: FlaskClient, lines: Lines
) -> None:
    client.get("/livez")
    logger.info("said after a request")
    with app.app_context():
        logger.info("said in a command")

    assert not any("request_id" in line for line in lines.of("tests"))


def test_a_request_is_one_line_with_its_route_and_not_its_path(app: Flask, lines: Lines) -> None:
    @app.get("/users/<name>")
    async def user(name: str) -> str:
        return name

    app.test_client().get("/users/ann?token=s3cret")

    [line] = lines.access()
    assert line.pop("duration_ms") >= 0
    assert re.fullmatch("[0-9a-f]{32}", line.pop("request_id"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", line.pop("time"))
    assert re.fullmatch(r"GET /users/<name> 200 in [\d.]+ ms", line.pop("message"))
    assert line == {
        "level": "INFO",
        "logger": logs.access.name,
        "method": "GET",
        "route": "/users/<name>",
        "status": 200,
    }


def test_a_request_without_a_route_is_logged_too(client: FlaskClient, lines: Lines) -> None:
    client.get("/nowhere")

    [line] = lines.access()
    assert (line["route"], line["status"]) == (None, 404)


def test_a_failed_request_is_one_access_line_and_one_line_for_its_cause(
    app: Flask, lines: Lines
) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.get("/broken")
    async def broken() -> str:
        raise RuntimeError

    app.test_client().get("/broken", headers={"X-Request-ID": "abc"})

    written = [json.loads(line) for line in lines.capsys.readouterr().err.splitlines()]
    cause, access = written
    assert "Traceback" in cause["exc_info"]
    assert (cause["level"], cause["request_id"]) == ("ERROR", "abc")
    assert (access["status"], access["request_id"]) == (500, "abc")


@pytest.mark.anyio
async def test_a_request_whose_client_went_away_is_logged_as_499(app: Flask, lines: Lines) -> None:
    inside = asyncio.Event()

    @app.get("/hang")
    async def hang() -> str:
        inside.set()
        await asyncio.Event().wait()
        return ""

    messages: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/hang"} | {
        "query_string": b"",
        "headers": [],
    }
    request = FlaskToAsgi(app)(scope, messages.get, AsyncMock())  # type: ignore[arg-type] # plain dicts
    task = asyncio.create_task(request)
    await inside.wait()
    messages.put_nowait({"type": "http.disconnect"})
    await task

    [line] = lines.access()
    assert (line["route"], line["status"]) == ("/hang", 499)


@pytest.mark.anyio
async def test_a_request_that_took_too_long_is_logged_as_504(app: Flask, lines: Lines) -> None:
    @app.get("/hang")
    async def hang() -> str:
        await asyncio.Event().wait()
        return ""

    transport = httpx.ASGITransport(FlaskToAsgi(app, request_timeout=0.01))  # type: ignore[arg-type] # httpx's own types
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/hang")).status_code == 504

    [line] = lines.access()
    assert (line["route"], line["status"]) == ("/hang", 504)


def test_a_context_that_somebody_pushed_is_no_request(app: Flask, lines: Lines) -> None:
    with app.test_request_context("/livez"):
        pass

    assert lines.access() == []


def test_a_forged_line_stays_inside_its_record(lines: Lines) -> None:
    logger.info("one\n%s", '{"logger": "tests", "message": "two"}')

    assert len(lines.of("tests")) == 1


def test_fields_of_a_record_are_members_of_its_line(lines: Lines) -> None:
    logger.info("said", extra={"upstream": "prices", "color_message": "\033[1msaid"})

    [line] = lines.of("tests")
    assert line["upstream"] == "prices"
    assert "color_message" not in line


def test_text_logs_are_for_reading(
    settings: Settings,
    client: FlaskClient,
    capsys: pytest.CaptureFixture[str],
    unchanged_logging: None,  # noqa: ARG001 - only its effect is needed
) -> None:
    logs.configure(settings)

    client.get("/livez")

    assert re.search(r" INFO +\S+: GET /livez 200 in [\d.]+ ms\n", capsys.readouterr().err)


def test_what_uvicorns_own_command_set_up_is_replaced(settings: Settings, lines: Lines) -> None:
    for name in ("uvicorn", "uvicorn.access"):
        logging.getLogger(name).addHandler(logging.StreamHandler())

    logs.configure(settings.model_copy(update={"log_format": "json"}))
    logging.getLogger("uvicorn.error").info("Started")

    assert [line["message"] for line in lines.of("uvicorn.error")] == ["Started"]
    assert not logging.getLogger("uvicorn.access").hasHandlers()


def test_the_least_severe_level_is_a_setting(
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    unchanged_logging: None,  # noqa: ARG001 - only its effect is needed
) -> None:
    logs.configure(settings.model_copy(update={"log_level": "WARNING"}))

    logger.info("quiet")
    logger.warning("loud")

    written = capsys.readouterr().err
    assert "quiet" not in written
    assert "loud" in written
