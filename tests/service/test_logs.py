"""Log lines of every status, of cut-off responses, and of other packages."""

import logging
import warnings
from collections.abc import AsyncIterator

import httpx
import pytest
from flask import Flask

from price_service import logs
from price_service.parts import parts
from price_service.settings import Settings

from ..conftest import Lines, LiveClient
from ..serving import wait_until

logger = logging.getLogger("tests")

ACCESS = logs.access.name
ERRORS = {500, 501, 502, 503, 504, 599}


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 429, 499, *ERRORS])
def test_a_5xx_response_is_logged_as_an_error(app: Flask, lines: Lines, status: int) -> None:
    app.add_url_rule("/answer", view_func=lambda: ("", status))

    app.test_client().get("/answer")

    [line] = lines(ACCESS)
    assert (line["status"], line["level"]) == (status, "ERROR" if status in ERRORS else "INFO")


def test_the_access_line_of_a_broken_stream_says_cut_off(
    app: Flask, live_client: LiveClient, lines: Lines
) -> None:
    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "a"
        raise ConnectionError

    with pytest.raises(httpx.RemoteProtocolError):
        live_client.get("/stream")

    wait_until(lambda: lines(ACCESS))
    [line] = lines(ACCESS)
    assert (line["status"], line["bytes"], line["cut_off"]) == (200, 1, True)
    assert line["message"].startswith("GET /stream 200 cut off after ")


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_health_check_is_logged_if_it_fails_or_at_level_debug(
    app: Flask, settings: Settings, lines: Lines, path: str
) -> None:
    app.test_client().get(path)
    assert lines(ACCESS) == []

    app.test_client().post(path)
    parts(app).readiness.draining()
    app.test_client().get("/readyz")
    assert [line["status"] for line in lines(ACCESS)] == [405, 503]

    verbose = {"log_format": "json", "log_level": "DEBUG"}
    logs.configure(settings.model_copy(update=verbose))
    app.test_client().get("/livez")
    assert lines(ACCESS)[-1]["level"] == "DEBUG"


def test_a_python_warning_is_one_log_line(lines: Lines) -> None:
    warnings.showwarning(UserWarning("old"), UserWarning, "module.py", 7)

    [line] = lines("py.warnings")
    assert line["message"] == "UserWarning: old (module.py:7)"


def test_the_handlers_of_uvicorns_command_are_replaced(settings: Settings, lines: Lines) -> None:
    for name in ("uvicorn", "uvicorn.access"):
        logging.getLogger(name).addHandler(logging.StreamHandler())

    logs.configure(settings.model_copy(update={"log_format": "json"}))
    logging.getLogger("uvicorn.error").info("Started")

    assert [line["message"] for line in lines("uvicorn.error")] == ["Started"]
    assert not logging.getLogger("uvicorn.access").hasHandlers()


@pytest.mark.usefixtures("unchanged_logging")
def test_the_log_level_is_a_setting(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(settings.model_copy(update={"log_level": "WARNING"}))

    logger.info("quiet")
    logger.warning("loud")

    written = capsys.readouterr().err
    assert "quiet" not in written
    assert "loud" in written


def test_a_forged_line_stays_inside_its_record(lines: Lines) -> None:
    logger.info("one\n%s", '{"logger": "tests", "message": "two"}')

    assert len(lines("tests")) == 1


def test_fields_of_a_record_are_members_of_its_line(lines: Lines) -> None:
    logger.info("said", extra={"upstream": "prices"})

    [line] = lines("tests")
    assert line["upstream"] == "prices"
