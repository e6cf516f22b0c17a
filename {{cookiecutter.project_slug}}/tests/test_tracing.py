"""Traces, as a collector in another process gets them; and that there are none unless asked for."""

import json
from typing import Any

import pytest

from {{ cookiecutter.package_name }}.app import create_app
from {{ cookiecutter.package_name }}.settings import Settings

from .serving import PACKAGE, run, serve

CREATE_APP = f"from {PACKAGE}.asgi import asgi; "
PARENT = "0af7651916cd43dd8448eb211c80319c"


def imported(program: str, **env: str) -> str:
    """Return what of OpenTelemetry a program has imported when it ends, and its log."""
    show = "import sys; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = run("-c", program + show, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() + done.stderr


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    ],
)
def test_nothing_is_imported_unless_traces_are_to_go_somewhere(env: dict[str, str]) -> None:
    assert imported(CREATE_APP, **env) == "[]"


def test_traces_without_the_extra_are_a_line_in_the_log() -> None:
    without = "import sys; sys.modules['opentelemetry'] = None; "

    log = imported(without + CREATE_APP, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")

    assert "no traces: install the extra otel, which brings 'opentelemetry" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "pigeon"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "pigeon"),
        ("OTEL_PYTHON_EXCLUDED_URLS", "a("),
    ],
)
def test_a_variable_that_cannot_be_used_is_one_line_and_no_traces(
    settings: Settings,
    name: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("opentelemetry.sdk")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(name, value)

    client = create_app(settings).test_client()

    assert client.get("/livez").status_code == 200
    [line] = caplog.messages
    assert line.startswith(f"no traces: {name}: ")


def test_a_collector_gets_the_spans_of_a_service_that_has_stopped() -> None:
    pytest.importorskip("opentelemetry.sdk")
    with serve("tests.otlp_receiver") as collector:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_SERVICE_NAME": "a-name",
            "OTEL_PYTHON_EXCLUDED_URLS": "/readyz",
            "OTEL_BSP_SCHEDULE_DELAY": "60000",  # so only the stop sends them
            "LOG_FORMAT": "json",
        }
        with serve(env=env) as service:
            connection = service.connect()
            headers = {"traceparent": f"00-{PARENT}-b7ad6b7169203331-01"}
            for path in ("/livez?token=s3cret", "/readyz", "/nowhere"):
                connection.request("GET", path, headers=headers)
                connection.getresponse().read()
            connection.close()
            service.process.terminate()
            assert service.process.wait(20) == 0
            lines = [json.loads(line) for line in service.log.splitlines()]
        spans: list[dict[str, Any]] = json.loads(collector.get("/spans")[1])

    assert [span["name"] for span in spans] == ["GET /livez", "GET"]
    for span in spans:
        assert (span["service"], span["trace"]) == ("a-name", PARENT)
        assert "s3cret" not in json.dumps(span)
    # The health check that is fine has no line.
    logged = {line["span_id"]: line["trace_id"] for line in lines if line.get("path")}
    assert logged == {spans[1]["id"]: PARENT}
