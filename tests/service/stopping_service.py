"""The service, started as by its command, with requests that are in flight when it stops."""

import asyncio
import os
import time
from pathlib import Path

from flask_asgi import State

from price_service.asgi import asgi
from price_service.parts import parts
from price_service.serve import main

app = asgi.app
inside: list[str] = []


def draining() -> bool:
    return parts(app).readiness.state is State.DRAINING


@app.get("/until-draining/async")
async def until_draining_async() -> str:
    inside.append("async")
    while not draining():  # noqa: ASYNC110 - a signal handler sets no asyncio.Event
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)  # longer than the server waits between its checks for the signal
    return "answered"


@app.get("/until-draining/sync")
def until_draining_sync() -> str:
    inside.append("sync")
    while not draining():
        time.sleep(0.01)
    time.sleep(0.2)  # longer than the server waits between its checks for the signal
    return "answered"


@app.get("/forever")
async def forever() -> str:
    inside.append("forever")
    await asyncio.Event().wait()
    return "never"


@app.get("/inside/<view>")
async def is_inside(view: str) -> dict[str, object]:
    return {"inside": view in inside}


def until_released() -> None:
    release = Path(os.environ["RELEASE"])
    release.with_name("inside").touch()
    while not release.exists():
        time.sleep(0.01)


@app.get("/block")
async def block() -> str:
    until_released()  # blocks the event loop
    return "released"


@app.get("/worker")
async def worker() -> str:
    return str(os.getpid())


if __name__ == "__main__":
    main()
