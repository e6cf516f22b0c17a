"""Rate limits for each caller and view, and the behaviour without Redis."""

import asyncio
import logging
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask, g, request
from flask_asgi import init_problems
from flask_guards import RateLimits, init_rate_limits, is_limited, limit_text, rate_limit
from flask_guards._rate_limits import caller_or_address

from tests.serving import PATIENCE, free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time in seconds, 20 s after a minute begins, which a test can set."""
    now = [1_800_000_020.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def app() -> Flask:
    """Return an application with an async and a sync limited view, and a view without a limit."""
    app = Flask("limited")
    init_problems(app)
    init_rate_limits(app, RateLimits())

    @app.before_request
    def authenticate() -> None:
        if subject := request.headers.get("X-Subject"):
            g.subject = subject

    @app.get("/async")
    @rate_limit("3/minute")
    async def on_loop() -> str:
        await asyncio.sleep(0)
        return "ok"

    @app.get("/sync")
    @rate_limit(lambda: "3/minute")
    def in_thread() -> str:
        return "ok"

    @app.get("/free")
    async def free() -> str:
        return "ok"

    return app


@pytest.mark.parametrize("path", ["/async", "/sync"])
async def test_a_request_over_the_limit_gets_429(
    client: httpx.AsyncClient, clock: list[float], path: str
) -> None:
    name = {"/async": "on_loop", "/sync": "in_thread"}[path]
    answers = [await client.get(path) for _ in range(4)]

    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert [each.headers["RateLimit-Policy"] for each in answers] == [f'"{name}";q=3;w=60'] * 4
    assert [each.headers["RateLimit"] for each in answers] == [
        f'"{name}";r={left};t=40' for left in (2, 1, 0, 0)
    ]
    assert answers[3].headers["Retry-After"] == "40"
    detail = answers[3].json()["detail"]
    assert detail == "At most 3 of these requests are answered in 60 s."

    clock[0] += 120
    assert (await client.get(path)).status_code == 200


async def test_a_view_without_a_limit_sends_no_rate_limit_headers(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/free")

    assert not [each for each in answer.headers if each.lower().startswith("ratelimit")]


async def test_callers_and_views_are_counted_separately(client: httpx.AsyncClient) -> None:
    async def statuses(path: str, subject: str) -> list[int]:
        headers = {b"X-Subject": subject.encode()}
        return [(await client.get(path, headers=headers)).status_code for _ in range(4)]

    for path in ("/async", "/sync"):
        for subject in ("one", "two", "a/b", "a", "Ä", "x" * 500):
            assert await statuses(path, subject) == [200, 200, 200, 429]


async def test_concurrent_requests_are_all_counted(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.get("/async") for _ in range(20)))

    assert sorted(each.status_code for each in answers) == [200] * 3 + [429] * 17


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.7", "ip:192.0.2.7"),
        ("::ffff:192.0.2.7", "ip:192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "ip:2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "ip:2001:db8:1:2::/64"),
        ("unix:", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_caller_without_a_subject_is_counted_by_address(
    app: Flask, address: str, name: str
) -> None:
    with app.test_request_context(environ_base={"REMOTE_ADDR": address}):
        assert caller_or_address() == name
        g.subject = "someone"
        assert caller_or_address() == "sub:someone"


async def test_the_cost_of_a_hit_does_not_grow_with_the_callers(clock: list[float]) -> None:
    limits = RateLimits()
    looks = 0

    class Expirations(dict[str, float]):
        def items(self) -> Any:
            nonlocal looks
            looks += 1
            return super().items()

        def keys(self) -> Any:
            nonlocal looks
            looks += 1
            return super().keys()

    storage: Any = limits._memory.storage
    storage.expirations = Expirations()
    for number in range(1000):
        await limits.hit("10/minute", "view", str(number))
    await asyncio.sleep(0)

    assert looks == 1
    assert len(storage.storage) == len(storage.expirations) == 1000
    clock[0] += 300
    await limits.hit("10/minute", "view", "another")
    assert len(storage.storage) == len(storage.expirations) == len(storage.locks) == 1


@pytest.mark.parametrize("limit", ["", "often", "1", "1/fortnight", "-1/minute", "ten/minute"])
async def test_hit_refuses_an_invalid_limit(limit: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        await RateLimits().hit(limit, "view", "someone")


def test_is_limited_reports_limited_views(app: Flask) -> None:
    views = app.view_functions
    assert [is_limited(views[name]) for name in ("on_loop", "in_thread", "free")] == [
        True,
        True,
        False,
    ]


# With Redis


@contextmanager
def redis(folder: Path, port: int) -> Iterator[None]:
    """Run a real Redis."""
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            yield
        finally:
            process.kill()


needs_redis = pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server")


@needs_redis
def test_replicas_share_their_counts_and_answer_without_redis(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"

    async def use(check: Callable[[RateLimits, RateLimits], Any]) -> None:
        one, two = (RateLimits(url, prefix="test", patience=5, pause=0) for _ in range(2))
        async with one.open(), two.open():
            await check(one, two)

    async def share(one: RateLimits, two: RateLimits) -> None:
        counts = [await limits.hit("3/hour", "view", "someone") for limits in (one, two, one, two)]
        assert [each and (each.allowed, each.remaining) for each in counts] == [
            (True, 2),
            (True, 1),
            (True, 0),
            (False, 0),
        ]

    async def fail_and_recover(one: RateLimits, _: RateLimits) -> None:
        assert [await one.hit("3/hour", "view", "other") for _ in range(3)] == [None] * 3
        server = redis(tmp_path, port)
        await asyncio.to_thread(server.__enter__)
        assert await one.hit("3/hour", "view", "other")
        await asyncio.to_thread(server.__exit__, None, None, None)

    with redis(tmp_path, port):
        asyncio.run(use(share))
    asyncio.run(use(fail_and_recover))
    assert [
        (each.levelno, each.getMessage()) for each in caplog.records if "Redis" in each.msg
    ] == [
        (
            logging.WARNING,
            "The Redis of the rate limits fails (ConnectionError): no limit applies",
        ),
        (logging.WARNING, "The Redis of the rate limits answers again"),
    ]


async def test_a_redis_that_hangs_is_tried_once_per_pause() -> None:
    accepted = 0

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limits = RateLimits(f"redis://127.0.0.1:{port}", patience=0.05, pause=3600)
    async with limits.open():
        assert [await limits.hit("1/hour", "view", "someone") for _ in range(100)] == [None] * 100
    assert accepted == 1
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("text", ["60/minute", "1/2hours", "999999999/second", "10/day", "5/years"])
def test_a_limit_is_a_number_of_requests_in_a_time(text: str) -> None:
    assert limit_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "60",
        "0/minute",
        "-1/minute",
        "1.5/minute",
        "60/0minute",
        "60/fortnight",
        "60/minute;5/second",
        "60/minute, 5/second",
        "60/minute\n",
        "\u0661/minute",
        "9999999999/second",
    ],
)
def test_an_invalid_limit_is_refused_before_a_request(text: str) -> None:
    for refuse in (limit_text, rate_limit):
        with pytest.raises(ValueError, match=r"^must be a number of requests in a time, such as "):
            refuse(text)
