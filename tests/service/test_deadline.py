"""The time that a request has left: who sets it, who sees it, and who is free of it."""

from math import inf
from pathlib import Path

import pytest
from flask import Flask
from flask_asgi import Background
from upstreams import Deadline, SettingsError, lift_deadline, within

from price_service.deadline import SHORTEST_BUDGET, Callers
from price_service.settings import load_settings

from ..test_deadline import believing, left

__all__ = ["believing"]  # a fixture

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("value", ["0", "1", "20", "0000000000"])
def test_less_than_the_shortest_time_is_taken_for_that(believing: Flask, value: str) -> None:
    assert 0 < left(believing, value) <= SHORTEST_BUDGET


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
    assert left(believing, value.encode().decode("latin-1")) == inf


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
