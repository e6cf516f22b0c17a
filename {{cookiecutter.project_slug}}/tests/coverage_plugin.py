"""Keeps the measurement of coverage from hanging on Python 3.11.

Inside a pending call (`Py_AddPendingCall`), Python 3.11 hangs at a traced call once another pending
call is added. greenlet adds a pending call for each thread that ends, to free the thread's own
greenlet, and then coverage's weak dictionary of greenlets calls Python code. So this plugin keeps
these greenlets alive. Python 3.12 and later are not affected.

coverage loads this into every process that it measures: see `pyproject.toml`.
"""

import sys
import threading
from types import FrameType

from greenlet import getcurrent, greenlet

_kept: list[greenlet] = []


def coverage_init(_registry: object, _options: object) -> None:
    """Keep the greenlet of every thread that is started from now on."""
    if sys.version_info < (3, 12):
        threading.setprofile(_keep_greenlet)


def _keep_greenlet(_frame: FrameType, _event: str, _argument: object) -> None:
    # Two references, because greenlet searches all objects for the holder of a single reference.
    _kept.extend([getcurrent()] * 2)
    sys.setprofile(None)  # once in each thread
