"""Which answers are errors in the access log: every status, and a client that left."""

import pytest
from flask import Flask

from price_service import logs

from ..conftest import Lines

ERRORS = {500, 501, 502, 503, 504, 599}


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 429, 499, *ERRORS])
def test_an_answer_that_the_service_is_to_blame_for_is_an_error(
    app: Flask, lines: Lines, status: int
) -> None:
    app.add_url_rule("/answer", view_func=lambda: ("", status))

    app.test_client().get("/answer")

    [line] = lines(logs.access.name)
    assert (line["status"], line["level"]) == (status, "ERROR" if status in ERRORS else "INFO")
