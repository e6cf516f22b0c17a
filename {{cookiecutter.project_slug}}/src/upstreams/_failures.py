"""Warnings about failed calls, limited in rate for each kind of failure."""

import logging
from collections import OrderedDict
from collections.abc import Hashable
from time import monotonic

from ._deadline import DeadlineExceeded
from ._errors import UpstreamError

logger = logging.getLogger(__name__)

# Log lines at once, and a second. Each kind of failure has its own, so that none hides another.
BURST = 20.0
A_SECOND = 1.0

# Kinds that are remembered. There are few: an upstream, an error, a status.
_MAX_KINDS = 500


class Allowance:
    """The log lines that each kind may have: a token bucket for each."""

    def __init__(self) -> None:
        # By kind: tokens, when they were counted, and the lines left out since the last line.
        self._kinds: OrderedDict[Hashable, tuple[float, float, int]] = OrderedDict()

    def take(self, kind: Hashable) -> int | None:
        """Return how many lines of that kind were left out before this; None to leave it out."""
        now = monotonic()
        tokens, counted_at, left_out = self._kinds.get(kind, (BURST, now, 0))
        tokens = min(BURST, tokens + A_SECOND * (now - counted_at))
        allowed = tokens >= 1
        self._kinds[kind] = (tokens - 1, now, 0) if allowed else (tokens, now, left_out + 1)
        if len(self._kinds) > _MAX_KINDS:
            self._kinds.popitem(last=False)
        return left_out if allowed else None


_allowance = Allowance()


def log_failure(error: BaseException, *, seconds: float | None = None) -> None:
    """Log a warning for a failed call that took `seconds`, unless its kind was logged too often.

    The line has the name of the upstream, the kind of error, the attempts, and how many lines of
    the same kind were left out before it, in its text and in `extra`. Only an `UpstreamError` and
    a `DeadlineExceeded` are logged, and each of them once.

    `Upstream` and `fan_out` call this themselves. It is for what a program raises itself, such as
    an `UpstreamInvalid` for a reply with a price missing.
    """
    if not isinstance(error, UpstreamError | DeadlineExceeded) or error.logged:
        return
    error.logged = True
    kind: Hashable = (error.upstream, type(error), getattr(error, "status", None))
    left_out = _allowance.take(kind)
    if left_out is None:
        return
    facts = {
        "upstream": error.upstream,
        "kind": type(error).__name__,
        "duration_ms": None if seconds is None else round(seconds * 1000, 1),
        "attempts": error.attempts or None,
        "reason": getattr(error, "reason", None),
        "left_out": left_out or None,
    }
    known = {name: fact for name, fact in facts.items() if fact is not None}
    told = ", ".join(f"{name}={fact}" for name, fact in known.items())
    logger.warning("%s (%s)", error, told, extra=known)
