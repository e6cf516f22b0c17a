"""Retries: which calls are retried, when, and how often at most."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from upstreams._deadline import Deadline
from upstreams._errors import (
    UpstreamError,
    UpstreamUnavailable,
)
from upstreams._retries import (
    LONGEST_WAIT,
    RetryBudget,
    retry_after,
    with_retries,
)

pytestmark = pytest.mark.anyio

BUSY = UpstreamUnavailable("prices", "answered 503", transient=True)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note the pauses between tries instead of taking them."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return pauses


async def tries(
    *errors: UpstreamError | None, most: int = 9, share: float = 1, left: float = 60
) -> int:
    """Return the number of tries of a call that meets these errors, or raise the last error."""
    waiting = list(errors)

    async def attempt() -> None:
        if (error := waiting.pop(0)) is not None:
            raise error

    await with_retries(attempt, most=most, budget=RetryBudget(share), deadline=Deadline(left))
    return len(errors) - len(waiting)


async def test_a_transient_error_is_retried() -> None:
    assert await tries(BUSY, BUSY, None) == 3


@pytest.mark.parametrize(
    ("error", "limits"),
    [
        (UpstreamUnavailable("prices", "answered 500"), {}),
        (BUSY, {"most": 0}),
        (BUSY, {"share": 0}),
        (BUSY, {"left": 0}),
    ],
    ids=["a permanent error", "no retries", "no budget", "no time"],
)
async def test_an_error_is_raised_if_a_retry_is_useless_or_not_allowed(
    error: UpstreamError, limits: dict[str, int], pauses: list[float]
) -> None:
    with pytest.raises(UpstreamUnavailable) as raised:
        await tries(error, None, **limits)

    assert raised.value is error
    assert pauses == []


async def test_the_last_error_is_raised_when_no_retry_is_left() -> None:
    last = UpstreamUnavailable("prices", "answered 502", transient=True)
    with pytest.raises(UpstreamUnavailable, match="502"):
        await tries(BUSY, BUSY, last, None, most=2)


async def test_backoff_doubles_to_a_bound_with_full_jitter(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    lows: list[float] = []

    def longest(low: float, high: float) -> float:
        lows.append(low)
        return high

    monkeypatch.setattr(random, "uniform", longest)
    await tries(*[BUSY] * 7, None)

    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert lows == [0] * 7


async def test_a_retry_waits_for_the_retry_after_of_the_upstream(pauses: list[float]) -> None:
    wait = UpstreamUnavailable("prices", "answered 429", transient=True, retry_after=7)
    await tries(wait, None)

    assert pauses == [7]


async def test_a_retry_after_the_deadline_is_not_waited_for(pauses: list[float]) -> None:
    wait = UpstreamUnavailable("prices", "answered 429", transient=True, retry_after=60)
    with pytest.raises(UpstreamUnavailable):
        await tries(wait, None, left=59)

    assert pauses == []


def test_retries_are_a_share_of_the_calls_after_a_first_burst() -> None:
    budget = RetryBudget(0.25, burst=3)
    granted = 0
    for _ in range(1000):
        budget.note_call()
        while budget.spend():
            granted += 1

    assert granted == 3 + 1000 * 0.25 - 1  # the first call finds the bucket full


def test_an_unspent_budget_does_not_grow_beyond_the_burst() -> None:
    budget = RetryBudget(1, burst=2)
    for _ in range(100):
        budget.note_call()

    assert [budget.spend() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        ("-1", None),
        ("1.5", None),
        ("\u0663", None),
        ("soon", None),
        ("", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("Fri, 31 Dec 1999 23:59:59 -0000", 0),
        ("9" * 400, LONGEST_WAIT),
        ("9" * 5000, None),
        ("86401", LONGEST_WAIT),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        (f"Fri, 31 Dec {'9' * 400} 23:59:59 GMT", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        (f"Fri, 31 Dec 1999 {'9' * 40}:59:59 GMT", None),
        (f"Fri, 31 Dec 1999 23:59:59 +{'9' * 40}", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", LONGEST_WAIT),
        ("\u00b2", None),
        ("1e3", None),
        ("inf", None),
        ("1_0", None),
        (" 5", None),
        ("5, 10", None),
        (",", None),
        ("Fri", None),
        ("\0", None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_a_retry_after_date_gives_the_seconds_until_then() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    assert retry_after(date) == pytest.approx(100, abs=5)


def test_no_retry_after_text_raises_or_exceeds_the_longest_wait() -> None:
    dates = random.Random(11)  # noqa: S311 - no secret
    pieces = ["Fri", ",", " ", "31", "Dec", "9" * 30, "1999", "23:59:59", "GMT", "+9999", "-", ":"]
    for _ in range(5000):
        value = "".join(dates.choices(pieces, k=dates.randint(1, 9)))
        seconds = retry_after(value)
        assert seconds is None or 0 <= seconds <= LONGEST_WAIT, value
