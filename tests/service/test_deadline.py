"""The time that a request has left: who sets it, and which calls it limits."""

from math import inf

import pytest
from flask import Flask
from flask_asgi import Background
from upstreams import Deadline, lift_deadline, within

from price_service.deadline import SHORTEST_BUDGET

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
