"""The circuit breaker: the outcomes that open it, close it or have no effect."""

import asyncio

import pytest
from upstreams import _breaker as module
from upstreams._breaker import (
    HOPELESS,
    MAX_TARGETS,
    Breaker,
    State,
)
from upstreams._deadline import Deadline, lift_deadline, within
from upstreams._errors import (
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)


class Clock:
    """The breaker's clock, which only a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:  # noqa: D102
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


@pytest.fixture(autouse=True)
def no_request() -> None:
    """Remove the deadline of an earlier test's request from this context, as WSGI does."""
    lift_deadline()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:  # noqa: ARG001 - only its effect is needed
    return Breaker("prices", failures=3, seconds=10)


def attempt(
    breaker: Breaker,
    error: BaseException | None = None,
    *,
    left: float = 60,
    target: str | None = None,
) -> None:
    """Make a try that ends in `error`, if any."""
    with breaker.watch(Deadline(left), target):
        if error is not None:
            raise error


def state(breaker: Breaker) -> State:
    """Return its state; without the function, mypy would assume that it never changes."""
    return breaker.state


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(UpstreamTimeout):
            attempt(breaker, UpstreamTimeout("prices", "did not answer in time"))


def test_consecutive_failures_open_the_breaker(breaker: Breaker) -> None:
    fail(breaker, 2)
    attempt(breaker)
    fail(breaker, 2)
    assert state(breaker) == "closed"

    fail(breaker, 1)
    assert state(breaker) == "open"


def test_an_open_breaker_refuses_calls_with_a_retry_after(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 4
    with pytest.raises(
        UpstreamUnavailable, match="is not called: its circuit breaker is open"
    ) as refused:
        attempt(breaker, ZeroDivisionError())

    assert refused.value.retry_after == 6
    assert not refused.value.transient


def test_a_half_open_breaker_lets_only_one_probe_through(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10
    assert state(breaker) == "half-open"

    with breaker.watch(Deadline(60)):
        for _ in range(50):
            with pytest.raises(UpstreamUnavailable):
                attempt(breaker)
        assert state(breaker) == "half-open"

    assert state(breaker) == "closed"
    attempt(breaker)


def test_a_failed_probe_opens_the_breaker_for_the_same_time_again(
    breaker: Breaker, clock: Clock
) -> None:
    fail(breaker, 3)
    clock.now += 10
    fail(breaker, 1)
    clock.now += 9

    assert state(breaker) == "open"
    with pytest.raises(UpstreamUnavailable):
        attempt(breaker)


def test_a_cancelled_probe_is_followed_by_another(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10
    with pytest.raises(asyncio.CancelledError):
        attempt(breaker, asyncio.CancelledError())
    assert state(breaker) == "half-open"

    attempt(breaker)
    assert state(breaker) == "closed"


def test_an_answer_to_an_earlier_try_does_not_close_the_breaker(breaker: Breaker) -> None:
    with breaker.watch(Deadline(60)):
        fail(breaker, 3)

    assert state(breaker) == "open"


@pytest.mark.parametrize("error", [UpstreamRejected, UpstreamInvalid])
def test_any_answer_resets_the_count_of_failures(
    breaker: Breaker, error: type[UpstreamRejected | UpstreamInvalid]
) -> None:
    fail(breaker, 2)
    with pytest.raises(error):
        attempt(breaker, error("prices", "answered 404"))
    fail(breaker, 2)

    assert state(breaker) == "closed"


def test_a_cancellation_does_not_count(breaker: Breaker) -> None:
    for _ in range(10):
        with pytest.raises(asyncio.CancelledError):
            attempt(breaker, asyncio.CancelledError())

    assert state(breaker) == "closed"


def test_a_timed_out_try_is_a_failure(breaker: Breaker) -> None:
    for _ in range(3):
        with pytest.raises(asyncio.CancelledError):
            attempt(breaker, asyncio.CancelledError(), left=0)

    assert state(breaker) == "open"


def test_every_change_is_logged_once(
    breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    fail(breaker, 3)
    clock.now += 10
    attempt(breaker)
    attempt(breaker)

    assert [record.getMessage() for record in caplog.records] == [
        "circuit breaker of prices is open",
        "circuit breaker of prices is half-open",
        "circuit breaker of prices is closed",
    ]
    assert [vars(record)["breaker"] for record in caplog.records] == ["open", "half-open", "closed"]


# One target and one request among many


def fails(
    breaker: Breaker, target: str, error: UpstreamError | None = None, *, times: int = 1
) -> None:
    """Make a number of requests that fail for a target."""
    error = error or UpstreamUnavailable("prices", "answered 503", status=503, transient=True)
    for _ in range(times):
        with pytest.raises(UpstreamError), within(60), breaker.watch(Deadline(60), target):
            raise error


REPLIES = [
    UpstreamUnavailable("prices", "answered 500", status=500),
    UpstreamUnavailable("prices", "answered 503", status=503, transient=True),
    UpstreamUnavailable("prices", "answered 429", status=429, transient=True),
    UpstreamTimeout("prices", "did not answer in time"),
]


@pytest.mark.parametrize("error", REPLIES, ids=str)
def test_only_the_failing_target_is_refused(
    breaker: Breaker, clock: Clock, error: UpstreamError
) -> None:
    fails(breaker, "bad", error, times=3)
    assert state(breaker) == "closed"
    with pytest.raises(UpstreamUnavailable, match="is not asked for this") as refused:
        attempt(breaker, target="bad")
    assert refused.value.retry_after == 10
    attempt(breaker, target="good")

    clock.now += 10
    attempt(breaker, target="bad")
    attempt(breaker, target="bad")


def test_a_failed_probe_refuses_its_target_for_the_same_time_again(
    breaker: Breaker, clock: Clock
) -> None:
    fails(breaker, "bad", times=3)
    clock.now += 10
    fails(breaker, "bad")
    with pytest.raises(UpstreamUnavailable, match="is not asked for this"):
        attempt(breaker, target="bad")

    clock.now += 10
    with pytest.raises(asyncio.CancelledError):
        attempt(breaker, asyncio.CancelledError(), target="bad")
    attempt(breaker, target="bad")  # a cancelled probe is followed by another


def test_a_request_with_many_failing_targets_counts_once(breaker: Breaker) -> None:
    with within(60):
        for number in range(20):
            with pytest.raises(UpstreamError), breaker.watch(Deadline(60), f"target {number}"):
                raise REPLIES[1]

    assert state(breaker) == "closed"


def test_many_requests_for_one_target_count_once(breaker: Breaker) -> None:
    fails(breaker, "good", times=2)
    fails(breaker, "bad", times=2)
    assert state(breaker) == "closed"


def test_failures_of_different_targets_and_requests_open_the_breaker(breaker: Breaker) -> None:
    for number in range(2):
        fails(breaker, f"target {number}")
    attempt(breaker, target="good")
    for number in range(2):
        fails(breaker, f"target {number}")
    assert state(breaker) == "closed"

    fails(breaker, "another")
    assert state(breaker) == "open"


@pytest.mark.parametrize(
    "error",
    [
        UpstreamUnavailable("prices", "cannot be reached", transient=True),
        UpstreamTimeout("prices", "could not be reached in time", transient=True),
    ],
    ids=str,
)
def test_a_failed_connection_counts_for_all_targets(breaker: Breaker, error: UpstreamError) -> None:
    with within(60):
        for _ in range(3):
            with pytest.raises(UpstreamError), breaker.watch(Deadline(60), "one"):
                raise error

    assert state(breaker) == "open"


def test_the_number_of_remembered_targets_is_bounded(breaker: Breaker) -> None:
    for number in range(MAX_TARGETS * 2):
        fails(breaker, f"target {number}")
        attempt(breaker, target="good")

    assert len(breaker._targets) <= MAX_TARGETS  # noqa: SLF001
    assert len(breaker._failed_targets) <= 3  # noqa: SLF001


def test_a_target_that_keeps_failing_is_hopeless(breaker: Breaker) -> None:
    assert not breaker.is_hopeless("bad")
    fails(breaker, "bad", times=HOPELESS)
    assert breaker.is_hopeless("bad")
    assert not breaker.is_hopeless("good")


@pytest.mark.parametrize("target", [None, "target"])
def test_a_try_cut_off_by_its_requests_deadline_does_not_count(
    breaker: Breaker, clock: Clock, target: str | None
) -> None:
    with within(0):
        for _ in range(10):
            with pytest.raises(asyncio.CancelledError):
                attempt(breaker, asyncio.CancelledError(), left=60, target=target)
    assert state(breaker) == "closed"

    fail(breaker, 3)
    clock.now += 10
    with within(0), pytest.raises(asyncio.CancelledError):
        attempt(breaker, asyncio.CancelledError(), left=60, target=target)
    attempt(breaker, target=target)  # the cut-off probe is followed by another
    assert state(breaker) == "closed"
