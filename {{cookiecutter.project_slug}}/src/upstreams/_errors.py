"""What can go wrong with an upstream, as the only exceptions that leave this package.

One more may leave it, `deadline.DeadlineExceeded`: the time of the request itself has run out.
"""

from typing import Self


class UpstreamError(Exception):
    """An upstream did not give a usable answer; `detail` is fit for a caller's eyes.

    `retry_after` is for how many seconds the upstream wants to be left alone, if it said so.
    `transient` says that the same call may well succeed in a moment. `status` is that of the
    reply, if there was one. `reason` is for the log: what the network or the parser said, without
    addresses. `attempts` is how often the call was tried, 0 where that is not known.
    """

    attempts = 0

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
        """Name the upstream and say in one clause what happened, without addresses or secrets."""
        super().__init__(f"{upstream} {detail}")
        self.upstream = upstream
        self.detail = detail
        self.retry_after = retry_after
        self.transient = transient
        self.status = status
        self.reason = reason

    def again(self) -> Self:
        """Return an error that says the same and was raised nowhere yet."""
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

    It says nothing about the upstream: it is this service that makes too many calls.
    """


class UpstreamUnavailable(UpstreamError):
    """No connection, a broken one, or an upstream that says it cannot serve now."""


class UpstreamRejected(UpstreamError):
    """The upstream answered that our request was wrong (4xx)."""


class UpstreamInvalid(UpstreamError):
    """The upstream answered something that cannot be used."""
