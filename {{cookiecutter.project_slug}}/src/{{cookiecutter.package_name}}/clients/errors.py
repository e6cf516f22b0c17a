"""What can go wrong with an upstream, as the only exceptions that leave this package."""


class UpstreamError(Exception):
    """An upstream did not give a usable answer; `detail` is fit for a caller's eyes."""

    def __init__(self, upstream: str, detail: str) -> None:
        """Name the upstream and say in one clause what happened, without addresses or secrets."""
        super().__init__(f"{upstream} {detail}")
        self.upstream = upstream
        self.detail = detail


class UpstreamTimeout(UpstreamError):
    """No answer in time."""


class UpstreamUnavailable(UpstreamError):
    """No connection, a broken one, or an upstream that says it cannot serve now."""


class UpstreamRejected(UpstreamError):
    """The upstream answered that our request was wrong (4xx)."""


class UpstreamInvalid(UpstreamError):
    """The upstream answered something that cannot be used."""
