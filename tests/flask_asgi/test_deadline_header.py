"""The time that a trusted caller waits, read from a header of its request."""

from math import inf

import pytest
from flask import Flask
from flask_asgi import SHORTEST_BUDGET, Networks, init_deadlines

HEADER = "X-Time-Left-Ms"


def given(app: Flask, value: str | None, *, believed: str = "127.0.0.0/8") -> list[float]:
    """Return the seconds with which each of two requests begins; the first has the header."""
    begun: list[float] = []
    init_deadlines(app, HEADER, believed=Networks(believed), begin=begun.append)
    client = app.test_client()
    client.get("/", headers={} if value is None else {HEADER: value})
    client.get("/")
    return begun


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2500", 2.5),
        ("101", 0.101),
        *((short, SHORTEST_BUDGET) for short in ("0", "1", "20", "0000000000")),
    ],
)
def test_a_trusted_caller_gives_its_request_a_time(app: Flask, value: str, seconds: float) -> None:
    assert given(app, value) == [seconds, inf]


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "-1", "+1", "1.5", "1e3", "0x20", " ", "soon", "1_0", "20, 20"),
        *("\u0661", "\u0663", "\u00b2", "9" * 12, "9" * 5000),
    ],
)
def test_a_missing_or_invalid_header_gives_infinite_time(app: Flask, value: str | None) -> None:
    assert given(app, value) == [inf, inf]


@pytest.mark.parametrize("believed", ["", "10.0.0.0/8", "::1"])
def test_another_callers_header_is_not_believed(app: Flask, believed: str) -> None:
    assert given(app, "2500", believed=believed) == [inf, inf]
