"""The time that a request has left: who sets it, who sees it, and who is free of it."""

import asyncio
from math import inf

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.background import Background
from {{ cookiecutter.package_name }}.deadline import (
    BUDGET_HEADER,
    DeadlineExceeded,
    Limit,
    within,
)
from {{ cookiecutter.package_name }}.fanout import fan_out

pytestmark = pytest.mark.anyio


def seen(app: Flask, **headers: str) -> float:
    """Return the seconds that a view with these headers has left."""

    async def view() -> str:
        return str(Limit(inf).left)

    app.view_functions["seen"] = view
    app.add_url_rule("/seen", endpoint="seen")
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return float(app.test_client().get("/seen", headers=given).text)


def test_a_limit_is_the_calls_own_where_no_deadline_is_sooner() -> None:
    assert Limit(5).left == pytest.approx(5, abs=1)
    with within(60):
        assert Limit(5).left == pytest.approx(5, abs=1)
        assert not Limit(5).is_deadline


def test_a_deadline_only_ever_shrinks() -> None:
    with within(5), within(60) as inner:
        assert inner.left <= 5
        assert Limit(60).is_deadline
    assert Limit(60).left > 50


def test_a_limit_in_the_past_has_passed() -> None:
    assert Limit(0).passed
    assert not Limit(1).passed


def test_a_caller_that_says_how_long_it_waits_sets_the_deadline(app: Flask) -> None:
    assert 0 < seen(app, **{BUDGET_HEADER: "2500"}) <= 2.5


@pytest.mark.parametrize("value", ["", "-1", "soon", "1.5", "\u0663"])
def test_nonsense_in_its_place_sets_none(app: Flask, value: str) -> None:
    assert seen(app, **{BUDGET_HEADER: value.encode().decode("latin-1")}) == inf


async def test_every_call_of_a_fan_out_sees_its_deadline() -> None:
    async def call(_: int) -> float:
        return Limit(60).left

    result = await fan_out(call, range(2), deadline=5, max_concurrency=2)

    assert all(left <= 5 for left in result.arrived.values())
    assert Limit(60).left > 50


async def test_a_fan_out_gets_no_more_than_its_request_has_left() -> None:
    async def call(_: int) -> None:
        await asyncio.Event().wait()

    with within(0.02):
        async with asyncio.timeout(5):
            result = await fan_out(call, range(2), deadline=60, max_concurrency=2)

    assert [type(error) for error in result.failed.values()] == [DeadlineExceeded] * 2


async def test_background_work_is_free_of_its_requests_deadline() -> None:
    left: list[float] = []

    async def work() -> None:
        left.append(Limit(60).left)

    background = Background()
    background.open()
    with within(1):
        background.start(work())
    await background.close(5)

    assert left[0] > 50
