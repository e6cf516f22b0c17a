"""The service as a process: its start, its refusals to start, and its stop."""

import signal
import socket
from contextlib import closing
from importlib.metadata import entry_points

import pytest
from flask_asgi import STARTUP_FAILURE

from {{ cookiecutter.package_name }} import missing_package
from {{ cookiecutter.package_name }}.serve import main

from .serving import PACKAGE, run, serve, wait_until


def test_the_console_script_is_the_service() -> None:
    [script] = entry_points(group="console_scripts", name="{{ cookiecutter.project_slug }}")

    assert script.load() is main


@pytest.mark.parametrize("target", [PACKAGE, f"{PACKAGE}.asgi:asgi"], ids=["service", "uvicorn"])
def test_the_shutdown_delay_keeps_serving_while_readyz_returns_503(target: str) -> None:
    # The port on the command line overrides this one.
    env = {"SHUTDOWN_DELAY_SECONDS": "60", "PORT": "1"}
    with serve(target, env=env) as server, closing(server.connect()) as kept:
        assert server.get("/readyz")[0] == 200
        kept.request("GET", "/livez")
        assert kept.getresponse().read()

        server.process.terminate()

        wait_until(lambda: server.get("/readyz")[0] == 503)
        kept.request("GET", "/livez")
        response = kept.getresponse()
        assert (response.status, response.getheader("Connection")) == (200, "close")
        wait_until(lambda: "GET /readyz 503" in server.log)  # a thread writes it
        assert "HTTP/1.1" not in server.log  # uvicorn's access log
        server.kill()


def test_ctrl_c_exits_with_0() -> None:
    with serve() as server:
        server.process.send_signal(signal.SIGINT)

        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log


WRONG = {"PORT": "70000", "LOG_LEVEL": "s3cret"}


def test_wrong_settings_stop_uvicorn_with_a_sentence_each() -> None:
    ended = run("-m", "uvicorn", f"{PACKAGE}.asgi:asgi", env=WRONG)

    assert ended.returncode == STARTUP_FAILURE
    assert [line.split()[0] for line in ended.stderr.splitlines()] == list(WRONG)
    assert "s3cret" not in ended.stderr


@pytest.mark.usefixtures("clean_environment")
def test_wrong_settings_stop_the_command_with_a_sentence_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in WRONG.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as ended:
        main([])

    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert [line.split()[0] for line in said.splitlines()] == list(WRONG)
    assert "s3cret" not in said


@pytest.mark.usefixtures("clean_environment")
def test_a_wrong_flag_is_refused_like_its_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--workers", "none"])

    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("WEB_CONCURRENCY should be a valid integer")


def test_a_missing_package_is_named_with_its_remedy() -> None:
    sentence = missing_package(ModuleNotFoundError("No module", name="orders.client"))

    assert sentence.startswith(f"{PACKAGE} needs the module 'orders', which is not installed")


def test_a_missing_module_of_the_service_keeps_its_traceback() -> None:
    error = ModuleNotFoundError("No module", name=f"{PACKAGE}.vews")

    with pytest.raises(ModuleNotFoundError) as raised:
        missing_package(error)

    assert raised.value is error


def test_a_taken_port_stops_the_start_with_a_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run("-m", PACKAGE, "--port", str(taken.getsockname()[1]))

    assert ended.returncode not in {0, -signal.SIGTERM}
    assert "address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr
