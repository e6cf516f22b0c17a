"""What is logged of a request, wherever its code runs, and in which format."""

import asyncio
import logging
import random
import re
import unicodedata
from collections.abc import Iterator
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from flask import Flask, Response, g, request, send_file, stream_with_context
from flask.testing import FlaskClient
from flask_asgi import FlaskToAsgi

from price_service import logs
from price_service.settings import Settings

from ..conftest import Lines

logger = logging.getLogger("tests")

ACCESS = logs.access.name
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
IDS = f"{TRACE_ID}-b7ad6b7169203331"


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


@pytest.mark.parametrize("traceparent", [f"00-{IDS}-01", f"01-{IDS}-00", f"cc-{IDS}-01-more"])
def test_the_trace_id_of_the_caller_is_logged(
    client: FlaskClient, lines: Lines, traceparent: str
) -> None:
    client.get("/livez", headers={"traceparent": traceparent})

    [line] = lines(ACCESS)
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

    [line] = lines(ACCESS)
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


@pytest.mark.parametrize("path", ["/sync", "/async", "/child-tasks", "/thread"])
def test_outside_a_server_every_record_has_its_id_too(
    talking: Flask, lines: Lines, path: str
) -> None:
    talking.test_client().get(path, headers={"X-Request-ID": "abc"})

    assert {line["request_id"] for line in lines("tests")} == {"abc"}


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

    assert sorted(line["request_id"] for line in lines("tests")) == ["a", "b"]


@pytest.mark.parametrize(
    ("path", "status", "logged"),
    [
        ("/nowhere?token=s3cret", 404, "/nowhere"),
        ("/livez?token=s3cret", 405, "/livez"),
        ("/two%0Alines\u2028/\x1b[31m", 404, "/two%0Alines%E2%80%A8/%1B%5B31m"),
        ("/" + 1000 * "x", 404, "/" + 255 * "x"),
    ],
)
def test_a_request_without_a_route_is_logged_with_its_path_and_not_its_query(
    client: FlaskClient, lines: Lines, path: str, status: int, logged: str
) -> None:
    client.post(path)

    [line] = lines(ACCESS)
    assert (line["route"], line["status"], line["path"]) == (None, status, logged)
    assert line["message"].startswith(f"POST {logged} {status} in ")


def test_a_long_method_is_cut(client: FlaskClient, lines: Lines) -> None:
    client.open("/livez", method=1000 * "X")

    [line] = lines(ACCESS)
    assert line["method"] == 32 * "X"


@pytest.mark.parametrize("status", [200, 302, 404, 429, 500, 502, 503, 504])
def test_an_answer_that_the_service_is_to_blame_for_is_an_error(
    app: Flask, lines: Lines, status: int
) -> None:
    @app.get("/answer")
    async def answer() -> tuple[str, int]:
        return "", status

    app.test_client().get("/answer")

    [line] = lines(ACCESS)
    assert (line["status"], line["level"]) == (status, "ERROR" if status >= 500 else "INFO")


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/sync", "/async", "/plain", "/async-parts"])
async def test_a_stream_is_one_access_line_when_it_has_ended(
    app: Flask, lines: Lines, path: str
) -> None:
    def parts() -> Iterator[str]:
        yield "a"
        logger.info("said")
        yield "b"

    async def async_parts() -> Any:
        for part in parts():
            yield part

    def path_with_context() -> Iterator[str]:
        yield from parts()
        yield request.path

    app.add_url_rule("/plain", "plain", lambda: Response(parts()))
    app.add_url_rule("/sync", "sync", lambda: Response(stream_with_context(path_with_context())))

    @app.get("/async")
    async def in_async_view() -> Response:
        return Response(stream_with_context(path_with_context()))

    @app.get("/async-parts")
    async def async_stream() -> Any:
        return app.response_class(async_parts())

    async with under_asgi(app) as client:
        response = await client.get(path, headers={"X-Request-ID": "abc"})

    assert response.text.startswith("ab")
    written = lines("")
    assert [line["logger"] for line in written] == ["tests", ACCESS]
    access = written[1]
    assert (access["route"], access["status"], access["request_id"]) == (path, 200, "abc")


@pytest.mark.anyio
async def test_a_stream_whose_client_leaves_is_one_access_line(app: Flask, lines: Lines) -> None:
    begun = asyncio.Event()

    @app.get("/endless")
    async def endless() -> Any:
        async def parts() -> Any:
            yield "a"
            begun.set()
            await asyncio.Event().wait()

        return app.response_class(parts())

    async with under_asgi(app) as client:
        request = asyncio.create_task(client.get("/endless"))
        await begun.wait()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)

    [line] = lines(ACCESS)
    assert (line["route"], line["status"]) == ("/endless", 200)


def test_an_error_after_a_stream_was_returned_is_one_access_line(app: Flask, lines: Lines) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.after_request
    def fail(response: Response) -> Response:
        if response.is_streamed:
            raise RuntimeError
        return response

    app.add_url_rule("/stream", "stream", lambda: Response(iter(["a"])))

    app.test_client().get("/stream")

    assert [line["status"] for line in lines(ACCESS)] == [500]


def test_a_file_is_one_access_line(app: Flask, lines: Lines) -> None:
    app.add_url_rule("/file", "file", lambda: send_file(__file__))

    app.test_client().get("/file", buffered=True)

    assert [line["status"] for line in lines(ACCESS)] == [200]


def test_an_answer_for_which_no_hook_ran_before_has_an_id_and_one_access_line(
    app: Flask, lines: Lines
) -> None:
    headers = {"X-Request-ID": "abc", "traceparent": f"00-{IDS}-01"}
    with app.test_request_context("/nowhere?token=s3cret", headers=headers):
        response = app.process_response(Response("Too many.", 503))

    [line] = lines(ACCESS)
    assert response.headers["X-Request-ID"] == line["request_id"] == "abc"
    assert (line["status"], line["path"], line["trace_id"]) == (503, "/nowhere", TRACE_ID)


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

    [line] = lines(ACCESS)
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

    [line] = lines(ACCESS)
    assert (line["route"], line["status"]) == ("/hang", 504)


def test_a_context_that_somebody_pushed_is_no_request(app: Flask, lines: Lines) -> None:
    with app.test_request_context("/livez"):
        pass

    assert lines(ACCESS) == []


def test_fields_of_a_record_are_members_of_its_line(lines: Lines) -> None:
    logger.info("said", extra={"upstream": "prices", "color_message": "\033[1msaid"})

    [line] = lines("tests")
    assert line["upstream"] == "prices"
    assert "color_message" not in line


FORGED = "2026-11-26 12:00:00,000 INFO    tests: forged"
BREAKS = [
    *(chr(code) for code in range(0x20)),
    *(chr(code) for code in range(0x7F, 0xA0)),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff",
    "\ud800",
    "\udfff",
    "\r\n",
    "\x1b[2K\x1b[1G",
]


def hostile_texts() -> list[str]:
    """Return texts that try to make up a line, one with each character that could, and mixtures."""
    chance = random.Random(7)  # noqa: S311 - the same texts in every run
    alphabet = [*BREAKS, FORGED, "a", " ", "\t", "%s", "{}", "é", "\N{GREEN APPLE}"]
    mixed = ["".join(chance.choices(alphabet, k=12)) for _ in range(100)]
    return [f"a{each}{FORGED}" for each in BREAKS] + mixed


class HostileError(Exception):
    """An error whose text is a client's."""


def log_everywhere(text: str) -> None:
    """Log `text` in every place of a record that a formatter writes."""
    error = HostileError(text)
    error.add_note(text)
    logger.error("%s", text, exc_info=error)
    logger.warning(text.replace("%", "%%"), extra={"request_id": text})
    logging.getLogger(text or "tests").info("said", stack_info=True)


def test_no_text_can_make_up_a_line_or_speak_to_a_terminal(
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    unchanged_logging: None,  # noqa: ARG001 - only its effect is needed
) -> None:
    logs.configure(settings)
    texts = hostile_texts()

    for text in texts:
        log_everywhere(text)

    written = capsys.readouterr().err
    records = [line for line in written.split("\n")[:-1] if not line.startswith("  ")]
    assert len(records) == 3 * len(texts)
    # Each begins with a time, and no other time follows at a line's start, whatever splits lines.
    assert all(re.match(r"\d{4}-\d\d-\d\d [\d:,]+ (ERROR|WARNING|INFO) ", line) for line in records)
    assert written.splitlines() == written.split("\n")[:-1]
    assert not {unicodedata.category(char) for char in written if char != "\n"} & {"Cc", "Cs"}
    assert not set("".join(BREAKS[-21:-4])) & set(written)


@pytest.mark.parametrize("others_first", [True, False])
def test_a_traceback_is_indented_for_this_handler_alone(
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    unchanged_logging: None,  # noqa: ARG001 - only its effect is needed
    *,
    others_first: bool,
) -> None:
    logs.configure(settings)
    others = Recording()
    root = logging.getLogger()
    root.handlers = [others, *root.handlers] if others_first else [*root.handlers, others]

    log_everywhere("plain")

    written = capsys.readouterr().err
    assert "HostileError: plain\n  plain\n" in written  # the second line is the note
    assert "\n  Stack (most recent call last):\n    File " in written
    assert "HostileError: plain\nplain" in others.seen[0]


class Recording(logging.Handler):
    """Keeps what the standard library's formatter makes of records."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))
