"""A failed call of an upstream is one line in the log, however a view handles it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx
import pytest
from flask import Flask
from upstreams import Upstream, UpstreamError, UpstreamInvalid, fan_out

upstream = Upstream(
    "orders",
    "http://orders.invalid",
    transport=lambda: httpx.MockTransport(lambda _: httpx.Response(503)),
    max_retries=0,
)


async def raised() -> None:
    await upstream.get("/?key=s3cret")


async def in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(upstream.get("/?key=s3cret"))


async def caught() -> None:
    with suppress(UpstreamError):
        await upstream.get("/?key=s3cret")


async def gathered() -> None:
    await asyncio.gather(upstream.get("/?key=s3cret"), return_exceptions=True)


async def fanned_out() -> None:
    await fan_out(upstream.get, ["/?key=s3cret"], deadline=20, max_concurrency=1)


async def fanned_out_and_raised() -> None:
    result = await fan_out(upstream.get, ["/?key=s3cret"], deadline=20, max_concurrency=1)
    raise result.failed.popitem()[1]


async def found_wrong() -> None:
    detail = "sent a reply without a price"
    raise UpstreamInvalid(upstream.name, detail)


WAYS = [raised, in_a_group, caught, gathered, fanned_out, fanned_out_and_raised, found_wrong]


@pytest.mark.parametrize("view", WAYS)
def test_each_failed_call_is_one_log_line(
    app: Flask, view: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    async def answer() -> str:
        await view()
        return "done without"

    app.add_url_rule("/failing", view_func=answer)
    with caplog.at_level(logging.WARNING):
        response = app.test_client().get("/failing")

    is_raised = view in {raised, in_a_group, fanned_out_and_raised, found_wrong}
    assert response.status_code == (502 if is_raised else 200)
    [record] = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert vars(record)["upstream"] == "orders"
    assert "s3cret" not in caplog.text
