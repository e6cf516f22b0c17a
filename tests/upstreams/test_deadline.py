"""Deadlines: how long a call may take, and how much time its request leaves it."""

import asyncio

import pytest
from upstreams import begin_request, lift_deadline
from upstreams._deadline import (
    Deadline,
    DeadlineExceeded,
    request_number,
    within,
)
from upstreams._fan_out import fan_out

pytestmark = pytest.mark.anyio


def test_the_deadline_of_a_call_applies_if_no_other_is_sooner() -> None:
    assert Deadline(5).left == pytest.approx(5, abs=1)
    with within(60):
        assert Deadline(5).left == pytest.approx(5, abs=1)
        assert not Deadline(5).ends_with_request


def test_a_deadline_only_ever_shrinks() -> None:
    with within(5), within(60) as inner:
        assert inner.left <= 5
        assert Deadline(60).ends_with_request
    assert Deadline(60).left > 50


def test_a_deadline_in_the_past_has_passed() -> None:
    assert Deadline(0).passed
    assert not Deadline(1).passed


def test_only_a_whole_timeout_is_the_upstreams_fault() -> None:
    assert Deadline(0).upstream_is_at_fault
    with within(0):
        assert Deadline(1).passed
        assert not Deadline(1).upstream_is_at_fault
        assert Deadline(1).without_request().left > 0
        assert not Deadline(1).without_request().ends_with_request


async def test_every_call_of_a_fan_out_sees_its_deadline() -> None:
    async def call(_: int) -> float:
        return Deadline(60).left

    result = await fan_out(call, range(2), deadline=5, max_concurrency=2)

    assert all(left <= 5 for left in result.arrived.values())
    assert Deadline(60).left > 50


async def test_a_fan_out_gets_at_most_the_remaining_time_of_its_request() -> None:
    async def call(_: int) -> None:
        await asyncio.Event().wait()

    with within(0.02):
        async with asyncio.timeout(5):
            result = await fan_out(call, range(2), deadline=60, max_concurrency=2)

    assert [type(error) for error in result.failed.values()] == [DeadlineExceeded] * 2


def test_a_timeout_shorter_than_the_upstreams_is_not_its_fault() -> None:
    short, usual, long = (Deadline(seconds, fault_after=60) for seconds in (0, 60, 120))

    assert (short.passed, short.is_early, short.ends_with_request) == (True, True, False)
    assert not short.upstream_is_at_fault
    assert not usual.is_early
    assert not long.is_early
    assert not short.without_request().upstream_is_at_fault


def test_a_later_request_has_a_higher_number() -> None:
    begin_request()
    first = request_number()
    with within(5):
        assert request_number() == first
    begin_request(seconds=1)

    assert request_number() == request_number() > first
    assert Deadline(60).left <= 1


def test_work_that_outlives_its_request_has_no_deadline() -> None:
    begin_request(seconds=1)
    number = request_number()
    lift_deadline()

    assert Deadline(60).left > 50
    assert request_number() != number
