"""Makes requests to an ASGI application without a server, one after another, for `counting`.

It also runs in a bake's environment, so it imports the standard library only.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

PART = 64 * 1024  # bytes: the size of uvicorn's parts

Message = dict[str, Any]
# An ASGI application, called with plain dictionaries.
Application = Callable[..., Awaitable[None]]


def scope(method: str, target: str, *headers: tuple[bytes, bytes]) -> Message:
    """ASGI's scope of a request for `target`, a path with its query if it has one."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8000"), (b"accept", b"*/*"), *headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    }


@asynccontextmanager
async def lifespan(application: Application) -> AsyncIterator[None]:
    """The application's lifespan, open for a block; it sets the garbage collector, for example.

    Raises:
        RuntimeError: it failed.
    """
    to: asyncio.Queue[Message] = asyncio.Queue()
    answers: asyncio.Queue[Message] = asyncio.Queue()

    async def step(name: str) -> None:
        await to.put({"type": f"lifespan.{name}"})
        if (await answers.get())["type"] != f"lifespan.{name}.complete":
            message = f"the lifespan failed at its {name}"
            raise RuntimeError(message)

    task = asyncio.ensure_future(
        application({"type": "lifespan", "state": {}}, to.get, answers.put)
    )
    await step("startup")
    yield
    await step("shutdown")
    await task


async def request(
    application: Application, of: Message, body: bytes = b"", *, status: int = 200
) -> int:
    """Makes one request; returns the size of the answer's body in bytes.

    Raises:
        RuntimeError: the answer has another status.
    """
    messages = _messages(body)
    statuses = []
    received = 0

    async def receive() -> Message:
        if (message := next(messages, None)) is None:
            await asyncio.Event().wait()  # the client stays connected
            raise AssertionError
        return message

    async def send(message: Message) -> None:
        nonlocal received
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        else:
            received += len(message["body"])

    await application(dict(of), receive, send)
    if statuses != [status]:
        error = f"{of['path']} was answered {statuses}"
        raise RuntimeError(error)
    return received


def _messages(body: bytes) -> Iterator[Message]:
    for first in range(0, max(1, len(body)), PART):
        part, is_last = body[first : first + PART], first + PART >= len(body)
        yield {"type": "http.request", "body": part, "more_body": not is_last}
