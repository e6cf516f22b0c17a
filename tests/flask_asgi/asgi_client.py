"""A server's side of ASGI without a server, which shows each message that is sent.

The protocol is https://asgi.readthedocs.io/en/latest/specs/www.html.
"""

import asyncio
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from flask import Flask
from flask.sansio.scaffold import Scaffold
from flask_asgi import FlaskToAsgi

from tests.serving import PATIENCE

on_both_paths = pytest.mark.parametrize("path", ["/async", "/sync"])


def both_kinds(app: Scaffold, answer: Callable[[], Any], **options: Any) -> None:
    """Let ``/async`` and ``/sync`` give the same answer, one on the loop, one in a thread."""

    @app.route("/async", **options)
    async def async_view() -> Any:
        await asyncio.sleep(0)
        return answer()

    @app.route("/sync", **options)
    def sync_view() -> Any:
        return answer()


def http_scope(path: str = "/", *headers: tuple[bytes, bytes], **scope: Any) -> dict[str, Any]:
    """Return the scope of a GET, changed by `scope`."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    } | scope


class Client:
    """A server's side of one ASGI scope: the messages to and from the application."""

    def __init__(self, bridge: FlaskToAsgi, scope: dict[str, Any]) -> None:
        self.received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.done = asyncio.create_task(bridge(scope, self.received.get, self.sent.put))  # type: ignore[arg-type] # plain dicts

    def send_body(self, *parts: bytes) -> None:
        """Send the request's whole body; without parts it is empty."""
        for number, part in enumerate(parts or (b"",), start=1):
            more = number < len(parts)
            self.received.put_nowait({"type": "http.request", "body": part, "more_body": more})

    async def next_sent(self) -> dict[str, Any]:
        """Return the next message that the application sends."""
        async with asyncio.timeout(PATIENCE):
            return await self.sent.get()


async def messages(
    served: FlaskToAsgi | Flask, scope: dict[str, Any], *body: bytes, **options: Any
) -> list[dict[str, Any]]:
    """Return every message that a bridge sends for a request; a new bridge gets `options`."""
    bridge = FlaskToAsgi(served, **options) if isinstance(served, Flask) else served
    client = Client(bridge, scope)
    client.send_body(*body)
    async with asyncio.timeout(PATIENCE):
        await client.done
    return [client.sent.get_nowait() for _ in range(client.sent.qsize())]


async def ask(
    served: FlaskToAsgi | Flask, scope: dict[str, Any], *body: bytes, **options: Any
) -> tuple[int, bytes]:
    """Return the status and the body of the answer to a request."""
    start, *bodies = await messages(served, scope, *body, **options)
    return start["status"], b"".join(message["body"] for message in bodies)


async def until_freed(references: Iterable[weakref.ref[Any]]) -> None:
    """Wait until the objects of a request are freed; a thread does so soon after its response."""
    async with asyncio.timeout(10):
        while any(each() is not None for each in references):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
