"""What can go wrong with an upstream, as the only exceptions that leave this package.

One more may leave it, `deadline.DeadlineExceeded`: the time of the request itself has run out.
"""


class UpstreamError(Exception):
    """An upstream did not give a usable answer; `detail` is fit for a caller's eyes.

    `retry_after` is for how many seconds the upstream wants to be left alone, if it said so.
    `transient` says that the same call may well succeed in a moment.
    """

    def __init__(
        self,
        upstream: str,
        detail: str,
        *,
        retry_after: float | None = None,
        transient: bool = False,
    ) -> None:
        """Name the upstream and say in one clause what happened, without addresses or secrets."""
        super().__init__(f"{upstream} {detail}")
        self.upstream = upstream
        self.detail = detail
        self.retry_after = retry_after
        self.transient = transient


class UpstreamTimeout(UpstreamError):
    """No answer in time."""


class UpstreamUnavailable(UpstreamError):
    """No connection, a broken one, or an upstream that says it cannot serve now."""


class UpstreamRejected(UpstreamError):
    """The upstream answered that our request was wrong (4xx)."""


class UpstreamInvalid(UpstreamError):
    """The upstream answered something that cannot be used."""
