"""The time that a request has left: who sets it, who sees it, and who is free of it."""

import asyncio
from math import inf
from pathlib import Path

import httpx
import pytest
from flask import Flask
from flask_asgi import Background
from upstreams import BUDGET_HEADER, Deadline, Upstream, lift_deadline, within

from {{ cookiecutter.package_name }}.app import create_app
from {{ cookiecutter.package_name }}.deadline import (
    SHORTEST_BUDGET,
    Callers,
)
from {{ cookiecutter.package_name }}.logs import ids_to_pass_on
from {{ cookiecutter.package_name }}.settings import (
    Settings,
    SettingsError,
    load_settings,
)

pytestmark = pytest.mark.anyio


def seen(app: Flask, **headers: str) -> float:
    """Return the seconds that a view with these headers has left."""

    async def view() -> str:
        return str(Deadline(inf).left)

    app.view_functions["seen"] = view
    app.add_url_rule("/seen", endpoint="seen")
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return float(app.test_client().get("/seen", headers=given).text)


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


async def test_the_ids_of_the_request_and_what_it_has_left_go_along(app: Flask) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ids = {"X-Request-ID": "abc", "traceparent": traceparent, "tracestate": "a=1,b@c=2"}
    sent: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers)
        return httpx.Response(204)

    upstream = Upstream(
        "prices",
        "http://prices.invalid",
        timeout=5,
        max_connections=1,
        transport=lambda: httpx.MockTransport(answer),
        pass_on=ids_to_pass_on,
    )

    @app.get("/call")
    async def call() -> str:
        with within(1):
            await upstream.get("/")
        return ""

    await asyncio.to_thread(app.test_client().get, "/call", headers=ids)

    [headers] = sent
    assert {name: headers[name] for name in ids} == ids
    assert int(headers[BUDGET_HEADER]) <= 1000


async def test_background_work_is_free_of_its_requests_deadline() -> None:
    left: list[float] = []

    async def work() -> None:
        left.append(Deadline(60).left)

    background = Background(on_start=lift_deadline)
    background.open()
    with within(1):
        background.start(work())
    await background.close(5)

    assert left[0] > 50
