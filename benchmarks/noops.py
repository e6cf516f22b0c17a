"""Makes no-op requests to the engine without a server, one after another: see `instructions.py`.

    python -P noops.py NUMBER

The lifespan is open during the requests, as it sets the garbage collector.
"""

import asyncio
import sys
from typing import Any

from benchmarks.apps.template import asgi

ASGI: Any = asgi  # called with plain dictionaries
SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.4"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/noop",
    "raw_path": b"/noop",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"127.0.0.1:8000"), (b"accept", b"*/*")],
    "client": ("127.0.0.1", 50000),
    "server": ("127.0.0.1", 8000),
}
REQUEST = {"type": "http.request", "body": b"", "more_body": False}


async def main(number: int) -> None:
    """Makes `number` requests.

    Raises:
        RuntimeError: an answer is not 200.
    """
    to_lifespan: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_lifespan: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    lifespan = asyncio.create_task(
        ASGI({"type": "lifespan", "state": {}}, to_lifespan.get, from_lifespan.put)
    )
    for step in ("startup", "shutdown"):
        await to_lifespan.put({"type": f"lifespan.{step}"})
        if (await from_lifespan.get())["type"] != f"lifespan.{step}.complete":
            message = f"the lifespan failed at its {step}"
            raise RuntimeError(message)
        if step == "startup":
            for _ in range(number):
                await request()
    await lifespan


async def request() -> None:
    """Makes one request."""
    requested = False
    statuses = []

    async def receive() -> dict[str, Any]:
        nonlocal requested
        if requested:
            await asyncio.Event().wait()  # the client stays connected
        requested = True
        return REQUEST

    async def send(message: Any) -> None:  # noqa: ANN401 (an ASGI event)
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await ASGI(dict(SCOPE), receive, send)
    if statuses != [200]:
        message = f"answered {statuses}"
        raise RuntimeError(message)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
