"""Sends the log of a process to stderr."""

import logging

from ._access import logged_ids
from ._log_sources import log_everything
from ._stderr_writer import StderrWriter

_NAME = __name__


def log_to_stderr(level: str, formatter: logging.Formatter) -> None:
    """Send every log record of the process to stderr, each with the ids of its request.

    It affects the process, so a program calls it at its start, and not where it makes an
    application. It replaces its own earlier set-up and that of uvicorn's command; see
    `log_everything`.

    Args:
        level: the lowest level that is logged, such as ``INFO``.
        formatter: writes the lines; `logged_ids` are attributes of each record.
    """
    handler = StderrWriter()  # a thread writes, so that stderr never stops the event loop
    handler.set_name(_NAME)
    handler.setFormatter(formatter)
    handler.addFilter(_add_ids)
    root = logging.getLogger()
    for former in [each for each in root.handlers if each.get_name() == _NAME]:
        root.removeHandler(former)
        former.close()
    root.addHandler(handler)
    root.setLevel(level)
    log_everything()


def _add_ids(record: logging.LogRecord) -> bool:
    vars(record).update(logged_ids())
    return True
