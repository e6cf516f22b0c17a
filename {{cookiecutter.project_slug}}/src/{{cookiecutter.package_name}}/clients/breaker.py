"""A circuit breaker: an upstream that only fails is left alone for a while."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Literal

from ..deadline import Limit
from .errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable

logger = logging.getLogger(__name__)

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Opens after `failures` tries in a row have failed; `seconds` later it lets one through.

    That one, the probe, closes it, or opens it for as long again. A failure is a timeout or an
    `UpstreamUnavailable`. Any other answer, even 404, is a sign of life, and a try that is
    cancelled before its `limit` says nothing.
    """

    def __init__(self, upstream: str, *, failures: int, seconds: float) -> None:
        self._upstream = upstream
        self._failures = failures
        self._seconds = seconds
        self._state: State = "closed"
        self._in_a_row = 0
        self._probe_at = 0.0

    @property
    def state(self) -> State:
        """Whether calls go through: all, none, or one to see how it fares."""
        is_due = self._state == "open" and self._probe_at <= monotonic()
        return "half-open" if is_due else self._state

    @contextmanager
    def watch(self, limit: Limit) -> Iterator[None]:
        """Note what becomes of the try in the block, which `limit` may cut off.

        Raises `UpstreamUnavailable` instead of running the block while the breaker is open.
        """
        is_probe = self._state != "closed"
        if is_probe:
            self._start_probe()
        try:
            yield
        except (UpstreamTimeout, UpstreamUnavailable):
            self._failed(is_probe)
            raise
        except UpstreamError:
            self._answered(is_probe)
            raise
        except asyncio.CancelledError:
            if limit.passed:
                self._failed(is_probe)
            raise
        else:
            self._answered(is_probe)
        finally:
            if is_probe and self._state == "half-open":  # it found out nothing: the next one may
                self._change("open")

    def _start_probe(self) -> None:
        wait = self._probe_at - monotonic()
        if self._state == "half-open" or wait > 0:
            detail = "is not called for a moment, because it only failed"
            raise UpstreamUnavailable(self._upstream, detail, retry_after=max(wait, 0))
        self._change("half-open")

    def _failed(self, is_probe: bool) -> None:  # noqa: FBT001 - private
        self._in_a_row += 1
        if is_probe or (self._state == "closed" and self._in_a_row >= self._failures):
            self._probe_at = monotonic() + self._seconds
            self._change("open")

    def _answered(self, is_probe: bool) -> None:  # noqa: FBT001 - private
        if is_probe or self._state == "closed":  # not by a try from before it opened
            self._in_a_row = 0
            self._change("closed")

    def _change(self, state: State) -> None:
        if state != self._state:
            self._state = state
            logger.warning(
                "circuit breaker of %s is %s",
                self._upstream,
                state,
                extra={"upstream": self._upstream, "breaker": state},
            )
