"""Sends warnings, uncaught exceptions and uvicorn's lines to the log, in its format."""

import logging
import sys
import threading
import warnings
from types import TracebackType
from typing import TextIO

logger = logging.getLogger(__name__)

# uvicorn's messages after a failed start or stop. `FlaskToAsgi` has logged the cause.
_SAID_ALREADY = (
    *("startup failed: ", "shutdown failed: "),
    *("Application startup failed. Exiting.", "Application shutdown failed. Exiting."),
)


def log_everything() -> None:
    """Send these through the root logger, each once, and in its format.

    - uvicorn's lines, without those about a failed start that `FlaskToAsgi` has logged, and
      without its access log.
    - Warnings, to the logger ``py.warnings``.
    - Exceptions that end the process or a thread, or that Python cannot raise. A hook that other
      code has set, such as a test runner or an error tracker, stays. asyncio logs its own errors.

    It affects the whole process, and can be called again.
    """
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        # uvicorn skips the work for its access log when no handler would get it.
        logging.getLogger(name).propagate = name != "uvicorn.access"
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    warnings.showwarning = _log_warning
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _log_exception
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_end_of_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _log_unraisable


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_SAID_ALREADY)


def _log_warning(  # noqa: PLR0913, PLR0917 - as `warnings.showwarning`
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,  # noqa: ARG001
) -> None:
    text = f"{category.__name__}: {message} ({filename}:{lineno})"
    if file is None:
        logging.getLogger("py.warnings").warning("%s", text)
    else:
        file.write(f"{text}\n")


def _log_exception(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    message = "%s ends the process: %s"
    logger.critical(message, kind.__name__, error, exc_info=(kind, error, traceback))


def _log_end_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):  # as Python's own hook does
        return
    name = args.thread.name if args.thread else "unknown"
    info = (args.exc_type, args.exc_value, args.exc_traceback)
    message = "%s ends the thread %r: %s"
    logger.error(message, args.exc_type.__name__, name, args.exc_value, exc_info=info)


def _log_unraisable(args: "sys.UnraisableHookArgs") -> None:
    error = args.exc_value
    info = None if error is None else (args.exc_type, error, args.exc_traceback)
    message = "%s: %r: %s"
    what = args.err_msg or "Exception ignored in"
    logger.error(message, what, args.object, error or args.exc_type.__name__, exc_info=info)
