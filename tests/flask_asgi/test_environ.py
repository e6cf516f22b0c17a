"""How Flask sees the path, the query and the headers of a request."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, request

from tests.serving import Server, serve

from .asgi_client import ask, both_kinds, http_scope
from .probes import APPLICATION, SERVERS
from .wire import Connection, connect

pytestmark = pytest.mark.anyio

each_kind = pytest.mark.parametrize("kind", ["async", "sync"])


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"path": "/async", "query_string": b"q=\xe9"}, b" /async q=%E9"),
        ({"path": "/v1/async", "root_path": "/v1"}, b"/v1 /async "),
        ({"path": "/async", "root_path": "/v1"}, b"/v1 /async "),
        ({"path": "/async", "root_path": "/as"}, b"/as /async "),
    ],
    ids=["odd bytes", "root path", "root path left out", "root path that is not a segment"],
)
async def test_the_path_and_the_query_arrive_as_they_were_sent(
    app: Flask, scope: dict[str, Any], expected: bytes
) -> None:
    def seen() -> str:
        query = request.query_string.decode("latin-1").replace("\xe9", "%E9")
        return f"{request.root_path} {request.path} {query}"

    both_kinds(app, seen)

    assert (200, expected) == await ask(app, http_scope(**scope))


async def test_a_path_that_is_not_utf_8_keeps_its_bytes(app: Flask) -> None:
    @app.get("/<name>")
    async def view(name: str) -> str:
        assert name == "\ufffd"
        return str(request.environ["PATH_INFO"].encode("latin-1").hex())

    scope = http_scope("/\ufffd", raw_path=b"/%FF")

    assert (200, b"/\xff".hex().encode()) == await ask(app, scope)


# From a client, through either of uvicorn's parsers


@pytest.fixture(scope="module", params=SERVERS.values(), ids=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve(*request.param) as server:
        yield server


async def seen(connection: Connection, path: str, headers: str = "") -> dict[str, Any]:
    connection.send(path, headers=headers)
    arrived: dict[str, Any] = json.loads((await connection.reply()).body)
    return arrived


@each_kind
async def test_repeated_and_latin_1_headers_arrive(server: Server, kind: str) -> None:
    lines = [
        "Cookie: a=1",
        "Cookie: b=2",
        "X-Twice: 1",
        "X-Twice: 2",
        "X_Twice: 3",
        "X-Odd: Zo\xeb",
    ]
    headers = "".join(f"{line}\r\n" for line in lines)
    async with connect(server.url) as connection:
        arrived = await seen(connection, f"/seen/{kind}", headers)

    assert {"a": "1", "b": "2"} == arrived["cookies"]
    assert "1,2" == arrived["headers"]["X-Twice"]
    assert "Zo\xeb" == arrived["headers"]["X-Odd"]


async def test_a_header_repeated_too_often_is_refused_and_the_connection_stays_open(
    server: Server,
) -> None:
    async with connect(server.url) as connection:
        connection.send("/seen/async", "POST", "X-Many: 1\r\n" * 101, b"body")
        reply = await connection.reply()

        assert (400, "application/problem+json") == (reply.status, reply.headers["content-type"])
        assert b"repeated" in reply.body

        connection.send("/status/200/async")

        assert b"body" == (await connection.reply()).body


@each_kind
async def test_odd_bytes_in_path_and_query_arrive_as_they_were_sent(
    server: Server, kind: str
) -> None:
    async with connect(server.url) as connection:
        arrived = await seen(connection, f"/seen/{kind}/%FF%00%C3%AB%2F+;?q=%FF&%zz&%C3%AB")

    assert f"/seen/{kind}/".encode() + b"\xff\0\xc3\xab/+;" == bytes.fromhex(arrived["path"])
    assert b"q=%FF&%zz&%C3%AB" == bytes.fromhex(arrived["query"])


async def test_a_target_may_be_a_whole_url(server: Server) -> None:
    async with connect(server.url) as connection:
        arrived = await seen(connection, "http://service.example/seen/async/a%20b?q=1")

    assert b"/seen/async/a b" == bytes.fromhex(arrived["path"])
    assert b"q=1" == bytes.fromhex(arrived["query"])


async def test_an_asterisk_as_the_target_is_answered_404(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("*", "OPTIONS")

        assert 404 == (await connection.reply()).status


def test_a_root_path_is_removed_from_the_path() -> None:
    with serve(f"{APPLICATION}:asgi", "--root-path", "/v1") as server:
        arrived = server.get("/seen/async/%C3%AB").json()

    assert "/v1" == arrived["root_path"]
    assert "/seen/async/\xeb".encode() == bytes.fromhex(arrived["path"])
