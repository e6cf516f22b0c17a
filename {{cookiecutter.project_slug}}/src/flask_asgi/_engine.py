"""The configuration that all requests of one `FlaskToAsgi` share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Flask

from ._threads import ThreadPool

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


@dataclass(frozen=True, slots=True)
class Engine:
    """How requests are served: see the arguments of `FlaskToAsgi`.

    Args:
        app: the Flask application.
        wsgi_application: called for each request; `app`, or a wrapper of it.
        threads: runs the views that are not ``async def``.
        has_async_view: tells for a WSGI environ whether an ``async def`` view answers it.
        request_timeout: seconds; None is no limit.
        duplicate_header_limit: how often a header may be repeated; None is no limit.
    """

    app: Flask
    wsgi_application: "WSGIApplication"
    threads: ThreadPool
    has_async_view: Callable[[dict[str, Any]], bool]
    request_timeout: float | None
    duplicate_header_limit: int | None
