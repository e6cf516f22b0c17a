"""Sentry's SDK with the engine, as `docs/observing.md` of a service says; its transport is ours.

The SDK changes Flask's classes permanently, so each test runs in a new process.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .forking import Forking, forking

SETUP = """
import asyncio, json, logging, threading
import httpx, sentry_sdk
from flask import Flask
from flask_asgi import FlaskToAsgi, serve_in_thread, watch_requests
from sentry_sdk.integrations import iter_default_integrations
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.transport import Transport

list(iter_default_integrations(True))  # imports the modules of `init` once

events = []

class Kept(Transport):
    def capture_envelope(self, envelope):
        events.extend(item.payload.json for item in envelope.items if item.type == "event")

app = Flask("shop")
access = logging.getLogger("shop.logs.access")
watch_requests(app, lambda ended: access.error("%s %s", ended.route, ended.status))
places = []
met = asyncio.Barrier(2)

@app.get("/where")
async def where():
    places.append(threading.current_thread().name)
    return ""

@app.get("/fails/<name>")
async def fails(name):
    sentry_sdk.set_tag("name", name)
    await met.wait()  # both requests are inside
    raise ZeroDivisionError(name)

@app.get("/calls/<name>")
async def calls(name):
    await asyncio.gather(deep(name))
    return ""

async def deep(name):
    raise KeyError(name)

@app.get("/sync")
def sync():
    raise LookupError("sync")

def init(transport=Kept):
    sentry_sdk.init(
        dsn="https://key@sentry.example.test/1",
        transport=transport,
        max_request_body_size="never",
    )
    ignore_logger(access.name)

def shown(event):
    [error] = event["exception"]["values"]
    return {
        "type": error["type"],
        "value": error["value"],
        "name": event.get("tags", {}).get("name"),
        "transaction": event["transaction"],
        "url": event["request"]["url"].rpartition(":")[2].partition("/")[2],
    }

async def ask(url, *paths):
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        headers = {"Authorization": "Bearer s3cret", "Cookie": "id=s3cret"}
        answers = [client.get(path, headers=headers) for path in paths]
        return [each.status_code for each in await asyncio.gather(*answers)]
"""


@pytest.fixture(scope="module")
def python() -> Iterator[Forking]:
    """Return a runner of code after `SETUP`."""
    with forking(SETUP) as python:
        yield python


def result(python: Forking, code: str) -> Any:
    """Return the JSON that the code prints."""
    done = python.run(code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("options", "on_loop"), [("on_loop=['sentry_sdk']", True), ("on_loop=[]", False)]
)
def test_async_views_need_no_thread_if_the_receivers_of_the_sdk_are_named(
    python: Forking, options: str, *, on_loop: bool
) -> None:
    """The view runs on the loop in both cases; otherwise the request also holds a thread."""
    answer = result(
        python,
        f"""
init()
asgi = FlaskToAsgi(app, {options})
with serve_in_thread(asgi) as server:
    status = asyncio.run(ask(server.url, "/where"))
print(json.dumps([status, places, asgi.engine.placement.is_free_of_blocking(), len(events)]))
""",
    )

    assert answer == [[200], ["server"], on_loop, 0]


def test_each_error_of_concurrent_requests_is_one_event_with_its_own_data(python: Forking) -> None:
    found = result(
        python,
        """
init()
with serve_in_thread(FlaskToAsgi(app, on_loop=["sentry_sdk"])) as server:
    status = asyncio.run(ask(server.url, "/fails/ann", "/fails/bob"))
    status += asyncio.run(ask(server.url, "/calls/eve", "/sync"))
assert status == [500] * 4, status
assert "s3cret" not in json.dumps(events), events
print(json.dumps([shown(each) for each in events]))
""",
    )

    assert sorted(found, key=lambda each: str(each["value"])) == [
        {
            "type": "KeyError",
            "value": "'eve'",
            "name": None,
            "transaction": "calls",
            "url": "calls/eve",
        },
        {
            "type": "ZeroDivisionError",
            "value": "ann",
            "name": "ann",
            "transaction": "fails",
            "url": "fails/ann",
        },
        {
            "type": "ZeroDivisionError",
            "value": "bob",
            "name": "bob",
            "transaction": "fails",
            "url": "fails/bob",
        },
        {
            "type": "LookupError",
            "value": "sync",
            "name": None,
            "transaction": "sync",
            "url": "sync",
        },
    ]


@pytest.mark.heavy
def test_an_event_is_sent_by_a_thread_of_the_sdk_and_not_by_the_loop(python: Forking) -> None:
    """A tracker that does not answer delays no request."""
    status = result(
        python,
        """
from sentry_sdk.transport import HttpTransport

released = threading.Event()

class Stuck(HttpTransport):
    def _send_request(self, *args, **kwargs):
        released.wait(20)

init(Stuck)
with serve_in_thread(FlaskToAsgi(app, on_loop=["sentry_sdk"])) as server:
    status = asyncio.run(ask(server.url, "/fails/ann", "/fails/bob"))
    status += asyncio.run(ask(server.url, "/where"))
    assert not released.is_set()
    released.set()
print(json.dumps(status))
""",
    )

    assert status == [500, 500, 200]
