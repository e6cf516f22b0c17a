"""The log of a process on its stderr."""

from collections.abc import Iterator

import pytest

from .forking import Forking, forking

SETUP = """
import logging
from flask import Flask
from flask_asgi import JsonFormatter, TextFormatter, add_logged_ids, log_to_stderr, watch_requests
TEXT = TextFormatter("%(levelname)s %(message)s")
"""


@pytest.fixture(scope="module")
def python() -> Iterator[Forking]:
    """Return a runner of code after `SETUP`."""
    with forking(SETUP) as python:
        yield python


def written(python: Forking, code: str) -> list[str]:
    """Return the lines that the code writes to stderr."""
    done = python.run(code)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def test_records_from_the_level_on_are_lines(python: Forking) -> None:
    code = "log_to_stderr('WARNING', TEXT)\nlogging.info('low'); logging.warning('high')"

    assert written(python, code) == ["WARNING high"]


def test_a_second_call_replaces_the_first(python: Forking) -> None:
    code = (
        "log_to_stderr('WARNING', JsonFormatter())\n"
        "log_to_stderr('INFO', TEXT)\n"
        "logging.info('once')"
    )

    assert written(python, code) == ["INFO once"]


def test_the_handlers_of_others_stay(python: Forking) -> None:
    code = (
        "logging.basicConfig(format='other %(message)s')\n"
        "log_to_stderr('INFO', TEXT)\n"
        "logging.info('twice'); logging.getLogger().handlers[1].flush()"
    )

    assert sorted(written(python, code)) == ["INFO twice", "other twice"]


def test_a_line_has_the_ids_of_its_request(python: Forking) -> None:
    code = (
        "log_to_stderr('INFO', TextFormatter('%(request_id)s %(message)s'))\n"
        "app = Flask('tested')\n"
        "watch_requests(app, lambda ended: None)\n"
        "@app.get('/')\n"
        "def view():\n"
        "    logging.info('inside')\n"
        "    return ''\n"
        "app.test_client().get('/', headers={'X-Request-ID': 'its-id'})"
    )

    [line] = written(python, code)
    assert "its-id" in line
    assert "inside" in line
