"""A circuit breaker: stops calls for a while to an upstream that keeps failing."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Literal

from ._deadline import Deadline, request_number
from ._errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable

logger = logging.getLogger(__name__)

State = Literal["closed", "open", "half-open"]

# How many targets with recent failures are kept: enough for an upstream that fails in part.
MAX_TARGETS = 1000

# Failures in a row after which a target is not retried.
HOPELESS = 3


class _Circuit:
    """Closed, open for `seconds`, or half-open while a probe is under way."""

    def __init__(self, seconds: float, on_change: Callable[[State], None] | None = None) -> None:
        self._seconds = seconds
        self._on_change = on_change
        self._state: State = "closed"
        self._probe_at = 0.0
        self.failures = 0  # in a row

    @property
    def state(self) -> State:
        is_due = self._state == "open" and self._probe_at <= monotonic()
        return "half-open" if is_due else self._state

    @property
    def wait(self) -> float | None:
        """The seconds until the next try is allowed; None when it is allowed now."""
        if self._state == "closed":
            return None
        wait = self._probe_at - monotonic()
        return max(wait, 0) if wait > 0 or self._state == "half-open" else None

    def enter(self) -> bool:
        """Begin a try, and return whether it is the probe."""
        is_probe = self._state != "closed"
        if is_probe:
            self._change("half-open")
        return is_probe

    def failed(self, *, is_probe: bool, is_enough: bool) -> None:
        if is_probe or (self._state == "closed" and is_enough):
            self._probe_at = monotonic() + self._seconds
            self._change("open")

    def answered(self, *, is_probe: bool) -> None:
        if is_probe or self._state == "closed":  # ignore a try that began before it opened
            self.failures = 0
            self._change("closed")

    def leave(self, *, is_probe: bool) -> None:
        if is_probe and self._state == "half-open":  # it gave no result: the next try probes
            self._change("open")

    def _change(self, state: State) -> None:
        if state != self._state:
            self._state = state
            if self._on_change is not None:
                self._on_change(state)


class Breaker:
    """Opens after `failures` tries in a row have failed, and lets a probe through `seconds` later.

    A probe that succeeds closes the breaker; a probe that fails opens it for `seconds` again. A
    failure is a timeout or an `UpstreamUnavailable`. Any other answer, even 404, counts as success.
    A try that is cancelled, or cut off before the upstream's own timeout, counts as neither.

    A caller cannot open the breaker for other callers by requesting a target that fails. A failing
    reply or a timeout counts once for each target and once for each request, so opening takes
    `failures` different targets and requests. A single target that keeps failing is refused
    separately, after the same number of failures and for the same time. A connection that fails or
    breaks concerns the whole upstream, and counts each time.
    """

    def __init__(
        self,
        upstream: str,
        *,
        failures: int,
        seconds: float,
        on_change: Callable[[State], None] | None = None,
        on_refusal: Callable[[], None] | None = None,
    ) -> None:
        self._upstream = upstream
        self._failures = failures
        self._seconds = seconds
        self._on_change = on_change
        self._on_refusal = on_refusal
        self._all = _Circuit(seconds, self._changed)
        self._targets: OrderedDict[Hashable, _Circuit] = OrderedDict()
        # The targets and the requests of the failures in a row.
        self._failed_targets: set[Hashable] = set()
        self._failed_requests: set[Hashable] = set()

    @property
    def state(self) -> State:
        """`closed`: calls go through; `open`: refused; `half-open`: one probe goes through."""
        return self._all.state

    def refuse(self, target: Hashable = None) -> None:
        """Raise `UpstreamUnavailable` while the breaker refuses all calls, or those to `target`."""
        if (wait := self._all.wait) is not None:
            detail = "is not called: its circuit breaker is open"
            raise self._refusal(detail, wait)
        own = self._targets.get(target)
        if own is not None and (wait := own.wait) is not None:
            detail = "is not asked for this resource: its circuit breaker is open"
            raise self._refusal(detail, wait)

    def _refusal(self, detail: str, wait: float) -> UpstreamUnavailable:
        if self._on_refusal is not None:
            self._on_refusal()
        return UpstreamUnavailable(self._upstream, detail, retry_after=wait)

    def is_hopeless(self, target: Hashable) -> bool:
        """Return whether the last `HOPELESS` tries of that target have all failed."""
        own = self._targets.get(target)
        return own is not None and own.failures >= HOPELESS

    @contextmanager
    def watch(self, deadline: Deadline, target: Hashable = None) -> Iterator[None]:
        """Record the outcome of the try in the block, which `deadline` may cut off.

        `target` is the requested resource; without a target each failure counts.

        Raises `UpstreamUnavailable` instead of running the block while the breaker is open.
        """
        self.refuse(target)
        own = self._targets.get(target)
        is_probe = self._all.enter()
        is_own_probe = own is not None and own.enter()
        try:
            yield
        except (UpstreamTimeout, UpstreamUnavailable) as error:
            concerns_all = error.status is None and error.transient
            self._failed(None if concerns_all else target, is_probe, is_own_probe)
            raise
        except UpstreamError:
            self._answered(target, is_probe)
            raise
        except asyncio.CancelledError:
            if deadline.upstream_is_at_fault:
                self._failed(target, is_probe, is_own_probe)
            raise
        else:
            self._answered(target, is_probe)
        finally:
            self._all.leave(is_probe=is_probe)
            if own is not None:
                own.leave(is_probe=is_own_probe)

    def _failed(self, target: Hashable, is_probe: bool, is_own_probe: bool) -> None:  # noqa: FBT001 - private
        if target is None:
            self._all.failures += 1
        else:
            self._note(self._failed_targets, target)
            self._note(self._failed_requests, request_number())
        different = min(len(self._failed_targets), len(self._failed_requests))
        is_enough = self._all.failures + different >= self._failures
        self._all.failed(is_probe=is_probe, is_enough=is_enough)
        if target is not None:
            own = self._targets.setdefault(target, _Circuit(self._seconds))
            own.failures += 1
            own.failed(is_probe=is_own_probe, is_enough=own.failures >= self._failures)
            if len(self._targets) > MAX_TARGETS:
                self._targets.popitem(last=False)

    def _note(self, seen: set[Hashable], this: Hashable) -> None:
        if len(seen) < self._failures:  # more would change nothing
            seen.add(this)

    def _answered(self, target: Hashable, is_probe: bool) -> None:  # noqa: FBT001 - private
        self._all.answered(is_probe=is_probe)
        if self._all.failures == 0 and self._failed_targets:
            self._failed_targets.clear()
            self._failed_requests.clear()
        self._targets.pop(target, None)

    def _changed(self, state: State) -> None:
        if self._on_change is not None:
            self._on_change(state)
        logger.warning(
            "circuit breaker of %s is %s",
            self._upstream,
            state,
            extra={"upstream": self._upstream, "breaker": state},
        )
