"""The settings of the server: their defaults, what they refuse, and the server that they start."""

import inspect
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from flask_asgi import STARTUP_FAILURE, FlaskToAsgi, HttpProtocol, ServerSettings
from pydantic import Field, ValidationError

from tests.serving import environment


def test_the_defaults_are_those_of_the_engine() -> None:
    engine = inspect.signature(FlaskToAsgi).parameters
    settings = ServerSettings()

    assert settings.worker_threads == engine["threads"].default
    assert settings.max_waiting == engine["max_waiting"].default
    assert settings.max_in_flight == engine["max_in_flight"].default


def test_every_setting_has_a_description() -> None:
    fields = ServerSettings.model_fields

    assert [name for name, field in fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "0.0.0.0"),  # noqa: S104 - not listened on
        ("host", "::"),
        ("host", "fe80::1%eth0"),
        ("host", "a_b.example"),
        ("port", "0"),
        ("port", "65535"),
        ("metrics_host", "localhost"),
        ("shutdown_delay_seconds", "0"),
        ("request_timeout_seconds", "604800"),
        ("forwarded_allow_ips", "*"),
        ("deadline_allow_ips", "10.0.0.0/8, ::1"),
    ],
)
def test_a_right_value_is_taken(name: str, value: str) -> None:
    assert str(getattr(ServerSettings.model_validate({name: value}), name)).startswith(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("host", text) for text in ("", " ", "-a", "a b", "a..b", "a/b", "a" * 64, "1.2.3.4:80")),
        *(("port", number) for number in ("-1", "65536", "http", "1.5")),
        *(("web_concurrency", number) for number in ("0", "-1", "1.5", str(2**31))),
        ("worker_threads", "0"),
        ("max_content_length", "0"),
        *(("request_timeout_seconds", number) for number in ("0", "-1", "nan", "inf", "604801")),
        *(("shutdown_delay_seconds", number) for number in ("-1", "nan", "inf", "604801")),
        *(("forwarded_allow_ips", text) for text in ("proxy", "10.0.0.1/8", ",")),
        *(("deadline_allow_ips", text) for text in ("proxy", "10.0.0.1/8", ",")),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError) as error:
        ServerSettings.model_validate({name: value})

    [mistake] = error.value.errors()
    assert mistake["loc"] == (name,)


def test_metrics_are_never_on_the_public_port() -> None:
    with pytest.raises(ValidationError, match="must not be that of PORT"):
        ServerSettings(port=9000, metrics_port=9000)

    assert ServerSettings(port=0, metrics_port=0).metrics_port == 0  # each has its own free port


def test_a_program_replaces_a_field_and_keeps_the_checks_of_others() -> None:
    class Own(ServerSettings):
        port: int = Field(default=9000, ge=1024, description="the TCP port")

    assert Own().port == 9000
    with pytest.raises(ValidationError, match="must not be that of PORT"):
        Own(metrics_port=9000)
    with pytest.raises(ValidationError, match="1024"):
        Own(port=80)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[uvicorn.Config]:
    """Return the configurations of the servers that would be started."""
    configs: list[uvicorn.Config] = []
    monkeypatch.setattr("flask_asgi._server_settings.run", configs.append)
    return configs


def test_every_setting_reaches_the_server(started: list[uvicorn.Config]) -> None:
    given: dict[str, Any] = {
        "host": "::1",
        "port": 9000,
        "web_concurrency": 3,
        "shutdown_grace_seconds": 4.2,
        "keep_alive_seconds": 6,
        "forwarded_allow_ips": "10.0.0.1",
    }
    ServerSettings(**given).serve("service.asgi:asgi")

    [config] = started
    assert (config.app, config.host, config.port) == ("service.asgi:asgi", "::1", 9000)
    assert (config.workers, config.should_reload) == (3, False)
    assert (config.timeout_graceful_shutdown, config.timeout_keep_alive) == (5, 6)
    assert config.forwarded_allow_ips == "10.0.0.1"
    assert (config.lifespan, config.ws, config.http) == ("on", "none", HttpProtocol)
    assert [config.access_log, config.log_config, config.server_header] == [False, None, False]


def test_a_reload_has_one_worker_and_a_short_stop(
    started: list[uvicorn.Config], tmp_path: Path
) -> None:
    ServerSettings(web_concurrency=3).serve("service.asgi:asgi", reload_dir=tmp_path)

    [config] = started
    assert config.should_reload
    assert config.workers == 1
    assert config.timeout_graceful_shutdown == 1
    assert config.reload_dirs == [tmp_path]


def test_a_taken_port_of_the_metrics_is_one_sentence(
    started: list[uvicorn.Config], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as end:
            ServerSettings(metrics_port=port).serve("service.asgi:asgi")

    assert end.value.code == STARTUP_FAILURE
    assert started == []
    text = f"METRICS_PORT: cannot serve on 127.0.0.1, port {port}: Address already in use.\n"
    assert capsys.readouterr().err == text


def test_the_library_imports_pydantic_at_its_first_use() -> None:
    code = "import sys, flask_asgi; print('pydantic' in sys.modules, flask_asgi.ServerSettings)"
    command = (sys.executable, "-c", code)
    ran = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)

    assert ran.stdout.startswith("False <class")
