"""The deadline of a request: its header, its limits, and background work."""

from math import inf

import pytest
from flask import Flask
from flask_asgi import Background
from upstreams import Deadline, lift_deadline, within

from price_service.deadline import SHORTEST_BUDGET

from ..test_deadline import left, trusting

__all__ = ["trusting"]  # a fixture

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("value", ["0", "1", "20", "0000000000"])
def test_a_shorter_time_than_the_minimum_becomes_the_minimum(trusting: Flask, value: str) -> None:
    assert 0 < left(trusting, value) <= SHORTEST_BUDGET


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
def test_an_invalid_header_sets_no_deadline(trusting: Flask, value: str) -> None:
    assert left(trusting, value.encode().decode("latin-1")) == inf


async def test_background_work_has_no_deadline_of_its_request() -> None:
    left: list[float] = []

    async def work() -> None:
        left.append(Deadline(60).left)

    background = Background(on_start=lift_deadline)
    background.open()
    with within(1):
        background.start(work())
    await background.close(5)

    assert left[0] > 50
