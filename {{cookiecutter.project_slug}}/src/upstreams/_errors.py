"""The errors of a call: one type for each way in which an upstream fails.

`DeadlineExceeded` is the only other error that a call raises for its upstream: the request itself
has run out of time.
"""

from typing import Self


class UpstreamError(Exception):
    """An upstream did not give a usable answer.

    - `upstream`: the name of the upstream.
    - `detail`: what happened, in a clause that may be shown to a caller of the program.
    - `retry_after`: the seconds that the upstream asked to wait, if it did.
    - `transient`: whether the same call may succeed in a moment.
    - `status`: the status of the reply, if there was a reply.
    - `reason`: for the log: the message of the network or the parser, without addresses.
    - `attempts`: how often the call was tried, 0 if unknown.
    - `logged`: whether `log_failure` has seen it.
    """

    attempts = 0
    logged = False

    def __init__(  # noqa: PLR0913 - an error has these facts
        self,
        upstream: str,
        detail: str,
        *,
        retry_after: float | None = None,
        transient: bool = False,
        status: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Take the facts; neither `detail` nor `reason` may hold an address or a secret."""
        super().__init__(f"{upstream} {detail}")
        self.upstream = upstream
        self.detail = detail
        self.retry_after = retry_after
        self.transient = transient
        self.status = status
        self.reason = reason

    def again(self) -> Self:
        """Return a copy without a traceback."""
        copy = type(self)(
            self.upstream,
            self.detail,
            retry_after=self.retry_after,
            transient=self.transient,
            status=self.status,
            reason=self.reason,
        )
        copy.attempts = self.attempts
        return copy


class UpstreamTimeout(UpstreamError):
    """No answer in time."""


class UpstreamBusy(UpstreamTimeout):
    """No connection became free in time, or too many calls wait for one; nothing was sent.

    The upstream is not at fault: this program makes too many calls at a time.
    """


class UpstreamUnavailable(UpstreamError):
    """No connection, a broken connection, a 429 or 5xx, or a circuit breaker that is open."""


class UpstreamRejected(UpstreamError):
    """The upstream rejected the request as wrong (4xx other than 429)."""


class UpstreamInvalid(UpstreamError):
    """The upstream sent a reply that cannot be used: a redirect, not HTTP, or too large."""
