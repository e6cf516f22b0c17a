"""The time that a request has left: who sets it, who sees it, and who is free of it."""

import asyncio
import json
from contextvars import Context
from math import inf
from pathlib import Path

import pytest
from flask import Flask
from flask_asgi._background import Background
from upstreams._deadline import (
    BUDGET_HEADER,
    DeadlineExceeded,
    Limit,
    lift_deadline,
    place,
    within,
)
from upstreams._fan_out import fan_out

from {{ cookiecutter.package_name }}.app import create_app
from {{ cookiecutter.package_name }}.deadline import (
    SHORTEST_BUDGET,
    Callers,
)
from {{ cookiecutter.package_name }}.settings import (
    Settings,
    SettingsError,
    load_settings,
)

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


def test_only_a_whole_timeout_is_the_upstreams_fault() -> None:
    assert Limit(0).timed_out
    with within(0):
        assert Limit(1).passed
        assert not Limit(1).timed_out
        assert Limit(1).whole().left > 0
        assert not Limit(1).whole().is_deadline


@pytest.fixture
def believing(settings: Settings) -> Flask:
    """Return an application that believes the test client, which is at 127.0.0.1."""
    return create_app(settings.model_copy(update={"deadline_allow_ips": "10.1.2.3, 127.0.0.0/8"}))


def test_nobody_is_believed_who_is_not_named(app: Flask, settings: Settings) -> None:
    assert seen(app, **{BUDGET_HEADER: "2500"}) == inf

    other = create_app(settings.model_copy(update={"deadline_allow_ips": "10.0.0.0/8,::1"}))
    assert seen(other, **{BUDGET_HEADER: "2500"}) == inf


def test_a_caller_that_is_believed_sets_the_deadline(believing: Flask) -> None:
    assert 2 < seen(believing, **{BUDGET_HEADER: "2500"}) <= 2.5


@pytest.mark.parametrize("value", ["0", "1", "20", "0000000000"])
def test_less_than_the_shortest_time_is_taken_for_that(believing: Flask, value: str) -> None:
    left = seen(believing, **{BUDGET_HEADER: value})
    assert 0 < left <= SHORTEST_BUDGET


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "soon",
        "1.5",
        "\u0663",
        "\u00b2",
        "9" * 12,
        "9" * 5000,
        "1e3",
        "0x20",
        "1_0",
        "20, 20",
    ],
    ids=lambda value: value[:12],
)
def test_nonsense_in_its_place_sets_none(believing: Flask, value: str) -> None:
    assert seen(believing, **{BUDGET_HEADER: value.encode().decode("latin-1")}) == inf


@pytest.mark.parametrize(
    ("listed", "address", "is_one"),
    [
        ("", "127.0.0.1", False),
        (" , ", "127.0.0.1", False),
        ("*", "203.0.113.9", True),
        ("*", None, True),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.1/8", "10.9.9.9", True),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("fd00::/8", "fd12::1", True),
        ("fd00::/8", "10.0.0.1", False),
        ("10.0.0.0/8", None, False),
        ("10.0.0.0/8", "", False),
        ("10.0.0.0/8", "unix:", False),
    ],
)
def test_callers_are_addresses_and_networks(
    listed: str, address: str | None, is_one: object
) -> None:
    assert (address in Callers(listed)) is is_one


@pytest.mark.parametrize("listed", ["example.com", "10.0.0", "10.0.0.0/33", "10.0.0.1 10.0.0.2"])
def test_what_is_no_caller_is_refused_at_the_start_without_showing_it(
    clean_environment: Path,  # noqa: ARG001 - only its effect is needed
    listed: str,
) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(deadline_allow_ips=listed)

    assert str(error.value).startswith("DEADLINE_ALLOW_IPS must be IP addresses, networks or '*'")
    assert listed not in str(error.value)


def test_calls_of_a_request_rank_by_its_beginning(app: Flask) -> None:
    async def view() -> str:
        first = place()
        with within(5):
            return str([first, place()])

    app.add_url_rule("/began", view_func=view)
    first, second = json.loads(app.test_client().get("/began").text)

    assert first == second
    assert Context().run(place) > first


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

    background = Background(on_start=lift_deadline)
    background.open()
    with within(1):
        background.start(work())
    await background.close(5)

    assert left[0] > 50
