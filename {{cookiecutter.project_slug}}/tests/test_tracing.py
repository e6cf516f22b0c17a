"""The traces that a collector receives; without a destination there are no traces."""

import json

import pytest

from {{ cookiecutter.package_name }}.app import create_app
from {{ cookiecutter.package_name }}.settings import Settings

from .serving import PACKAGE, run, serve

PARENT = "0af7651916cd43dd8448eb211c80319c"

SOMEWHERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
NOWHERE = [
    {},
    {"OTEL_TRACES_EXPORTER": "none", **SOMEWHERE},
    {"OTEL_SDK_DISABLED": "true", **SOMEWHERE},
]
PROGRAM = f"""
import sys
from os import environ
from unittest.mock import patch
from {PACKAGE}.asgi import create_app, settings

def start(env):
    with patch.dict(environ, env):
        create_app(settings)

for env in {NOWHERE}:
    start(env)
print([name for name in sys.modules if name.startswith("opentelemetry")])
sys.modules["opentelemetry"] = None  # as if it were not installed
start({SOMEWHERE})
"""


def test_opentelemetry_is_imported_only_if_needed_and_its_lack_is_logged() -> None:
    done = run("-c", PROGRAM)

    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    [line] = done.stderr.splitlines()
    assert "no traces: install the extra otel, which brings 'opentelemetry" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "pigeon"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "pigeon"),
        ("OTEL_PYTHON_EXCLUDED_URLS", "a("),
    ],
)
def test_an_unusable_variable_is_one_log_line_without_traces(
    settings: Settings,
    name: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("opentelemetry.sdk")
    for variable in [*SOMEWHERE.items(), (name, value)]:
        monkeypatch.setenv(*variable)

    client = create_app(settings).test_client()

    assert client.get("/livez").status_code == 200
    [line] = caplog.messages
    assert line.startswith(f"no traces: {name}: ")


def test_a_stop_sends_the_last_spans_to_the_collector() -> None:
    with pytest.importorskip(f"{__package__}.otlp_receiver").collecting() as collector:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_SERVICE_NAME": "a-name",
            "OTEL_PYTHON_EXCLUDED_URLS": "/readyz",
            "OTEL_BSP_SCHEDULE_DELAY": "60000",  # so only the flush at the stop sends them
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
        spans = collector.spans

    assert [span["name"] for span in spans] == ["GET /livez", "GET"]
    for span in spans:
        assert (span["service"], span["trace"]) == ("a-name", PARENT)
        assert "s3cret" not in json.dumps(span)
    # A successful health check has no line.
    logged = {line["span_id"]: line["trace_id"] for line in lines if line.get("path")}
    assert logged == {spans[1]["id"]: PARENT}
