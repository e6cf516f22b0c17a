"""The configuration that all requests of one `FlaskToAsgi` share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Flask

from ._observer import NOBODY, ServerObserver
from ._placement import Placement
from ._threads import ThreadPool

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


@dataclass(frozen=True, slots=True)
class Engine:
    """How requests are served: see the arguments of `FlaskToAsgi`.

    Args:
        app: the Flask application.
        wsgi_application: called for each request; `app`, or a wrapper of it.
        threads: runs the requests that may block.
        placement: tells which requests run on the event loop.
        spare_threads: run requests that must be answered while `threads` are busy: refusals, and
            those for the paths in `always_answer` if their hooks may block.
        always_answer: paths.
        request_timeout: seconds; None is no limit.
        duplicate_header_limit: how often a header may be repeated; None is no limit.
        observer: is told of events, for metrics.
    """

    app: Flask
    wsgi_application: "WSGIApplication"
    threads: ThreadPool
    placement: Placement
    spare_threads: ThreadPool
    always_answer: frozenset[str]
    request_timeout: float | None
    duplicate_header_limit: int | None
    observer: ServerObserver = NOBODY
