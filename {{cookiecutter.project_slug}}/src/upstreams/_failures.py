"""Warnings about failed calls, limited in rate for each kind of failure."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from contextvars import Context
from dataclasses import dataclass
from time import monotonic

from ._deadline import DeadlineExceeded
from ._errors import UpstreamError

logger = logging.getLogger(__name__)

# Log lines per second, and in a burst. The limit is per kind of failure: no kind hides another.
BURST = 20.0
A_SECOND = 1.0

# Seconds after which a separate line counts the lines that were left out. While failures continue,
# the next line comes earlier and has the count.
COUNTED_AFTER = 2.0

# The largest number of kinds that are kept. In practice there are few.
_MAX_KINDS = 500

# The upstream, the name of the error, the status of the reply, and whether a request was made:
# calls that an open circuit breaker refuses must not hide the failures that opened it.
Kind = tuple[str | None, str, int | None, bool]


@dataclass(slots=True)
class _Tokens:
    """The token bucket of a kind, and the counts of its lines."""

    left: float
    counted_at: float
    written: int = 0
    left_out: int = 0  # since the last line


class Allowance:
    """Limits the log lines of each kind by a token bucket per kind."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Hashable, _Tokens] = OrderedDict()

    def take(self, kind: Hashable) -> int | None:
        """Return how many lines of that kind were left out before this; None to leave it out."""
        now = monotonic()
        tokens = self._kinds.setdefault(kind, _Tokens(BURST, now))
        tokens.left = min(BURST, tokens.left + A_SECOND * (now - tokens.counted_at))
        tokens.counted_at = now
        if len(self._kinds) > _MAX_KINDS:
            self._kinds.popitem(last=False)
        if tokens.left < 1:
            tokens.left_out += 1
            return None
        tokens.left -= 1
        tokens.written += 1
        left_out, tokens.left_out = tokens.left_out, 0
        return left_out

    def state(self, kind: Hashable) -> tuple[int, int]:
        """Return how many lines of that kind were written, and left out since the last one."""
        tokens = self._kinds.get(kind)
        return (0, 0) if tokens is None else (tokens.written, tokens.left_out)

    def count(self, kind: Hashable, written: int) -> int:
        """Return how many lines were left out, if `written` is still the count of written lines."""
        tokens = self._kinds.get(kind)
        if tokens is None or tokens.written != written:
            return 0
        left_out, tokens.left_out = tokens.left_out, 0
        return left_out


_allowance = Allowance()


def log_failure(error: BaseException, *, seconds: float | None = None) -> None:
    """Log a warning for a failed call that took `seconds`, unless its kind was logged too often.

    The line has the name of the upstream, the kind of error, the attempts, and how many lines of
    the same kind were left out before it, in its text and in `extra`. Only an `UpstreamError` and
    a `DeadlineExceeded` are logged, and each of them once.

    `Upstream` and `fan_out` call this themselves. Call it for errors that the program raises, such
    as an `UpstreamInvalid` for a reply with a price missing.
    """
    if not isinstance(error, UpstreamError | DeadlineExceeded) or error.logged:
        return
    error.logged = True
    name, status = type(error).__name__, getattr(error, "status", None)
    kind: Kind = (error.upstream, name, status, error.attempts > 0)
    left_out = _allowance.take(kind)
    if left_out is None:
        _count_later(kind)
        return
    facts = {
        "upstream": error.upstream,
        "kind": name,
        "duration_ms": None if seconds is None else round(seconds * 1000, 1),
        "attempts": error.attempts or None,
        "reason": getattr(error, "reason", None),
        "left_out": left_out or None,
    }
    _warn(str(error), facts)


def _count_later(kind: Kind) -> None:
    written, left_out = _allowance.state(kind)
    if left_out == 1:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # the next line has the count
        # In an empty context: the line belongs to no request.
        loop.call_later(COUNTED_AFTER, _count, kind, written, context=Context())


def _count(kind: Kind, written: int) -> None:
    if left_out := _allowance.count(kind, written):
        upstream, name, status, _ = kind
        facts = {"upstream": upstream, "kind": name, "status": status, "left_out": left_out}
        _warn(f"{left_out} more failed calls were not logged", facts)


def _warn(message: str, facts: Mapping[str, object]) -> None:
    known = {name: fact for name, fact in facts.items() if fact is not None}
    told = ", ".join(f"{name}={fact}" for name, fact in known.items())
    logger.warning("%s (%s)", message, told, extra=known)
