"""A further upstream takes the three steps that `clients/__init__.py` of a bake shows."""

import json
import os
import re
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from .baking import OLDEST, bake
from .checks import knowing_types
from .serving import free_port, get, running
from .uv import on_python, run

CALL = """
import asyncio
from price_service.clients import Clients
from price_service.settings import load_settings

orders = Clients(load_settings()).orders
print(asyncio.run(orders.upstream.get("/orders")).text)
"""


# Prints the errors of each environment that it reads.
SETTINGS = """
import json, os, sys
from unittest.mock import patch
from upstreams import SettingsError
from price_service.settings import load_settings

said = []
for environment in json.loads(sys.argv[1]):
    with patch.dict(os.environ, environment):
        try:
            load_settings()
        except SettingsError as error:
            said.append(str(error).splitlines())
print(json.dumps(said))
"""

# Wrong environments, and the beginning of the error message.
WRONG: list[tuple[dict[str, str], str]] = [
    ({"ORDERS__TIMEOUT_SECONDS": "0"}, "ORDERS__TIMEOUT_SECONDS should be greater than 0 ("),
    ({"ORDERS_BASE_URL": "x"}, "ORDERS_BASE_URL is not a setting of this service; did you mean"),
    ({"ORDERS": "{}"}, "ORDERS must be set by its parts, such as ORDERS__BASE_URL."),
    (
        {"ENVIRONMENT": "production", "PRICES__BASE_URL": "https://prices.example"},
        "ORDERS__BASE_URL must be set when ENVIRONMENT is production (",
    ),
]


class Orders(BaseHTTPRequestHandler):
    """An upstream that answers with the requested path."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_: object) -> None:
        """Do not log requests."""


@contextmanager
def orders() -> Iterator[str]:
    """Serves `Orders`; its URL."""
    with HTTPServer(("127.0.0.1", 0), Orders) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def insert(path: Path, after: str, line: str) -> None:
    """Inserts a line below the line `after`."""
    text = path.read_text(encoding="utf-8")
    assert text.count(f"\n{after}\n") == 1, after
    path.write_text(text.replace(f"\n{after}\n", f"\n{after}\n{line}\n"), encoding="utf-8")


def import_the_first(settings: Path) -> None:
    """Imports `UpstreamSettings`: a service without an upstream lacks the import."""
    text = settings.read_text(encoding="utf-8")
    former, imported = "ServiceSettings\n", "ServiceSettings, UpstreamSettings\n"
    assert text.count(former) + text.count(imported) == 1
    settings.write_text(text.replace(f", {former}", f", {imported}"), encoding="utf-8")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(True, id="with the example", marks=pytest.mark.heavy),
        pytest.param(False, id="without it"),
    ],
)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed bake with a further upstream, added by the steps in its documentation."""
    project = bake(tmp_path_factory.mktemp("second"), include_example=request.param)
    package = project / "src/price_service"
    clients = package / "clients/__init__.py"
    steps = clients.read_text(encoding="utf-8").partition('"""\n\n')[0]
    [setting] = re.findall(r"`(orders: \S+ = \S+)`", steps)
    [attribute] = re.findall(r"`(self\.orders = \S+)`", steps)
    [module] = re.findall(r"^    from .*?(?=^\S)", steps, re.MULTILINE | re.DOTALL)
    [(name, method)] = re.findall(r"class (\w+):\n( +def .*)\n", module)

    insert(
        package / "settings.py", f"    # Upstreams are a line each: `{setting}`.", f"    {setting}"
    )
    import_the_first(package / "settings.py")
    module = textwrap.dedent(module.replace(method, f'        """Orders."""\n\n{method}'))
    (package / "clients/orders.py").write_text(
        f'"""The order service."""\n\n{module.rstrip()}\n', encoding="utf-8"
    )
    insert(clients, "from ..settings import Settings", f"from .orders import {name}")
    insert(
        clients,
        '        """Make every client; the lifespan opens their upstreams."""',
        f"        {attribute}",
    )
    run("uv", "sync", "--locked", cwd=project, env=on_python(OLDEST))
    return project


def variables(**settings: str) -> dict[str, str]:
    """The environment of a service with these settings."""
    return {**os.environ, "PORT": str(free_port()), **settings}


def test_the_linter_and_the_type_checker_find_no_fault(project: Path) -> None:
    run("uv", "run", "--no-sync", "ruff", "check", cwd=project)
    run("uv", "run", "--no-sync", "ruff", "format", "--check", cwd=project)
    with knowing_types() as known:
        run("uv", "run", "--no-sync", "mypy", *known, "src/price_service", cwd=project)


@pytest.mark.heavy
def test_the_service_lists_the_upstream_with_or_without_a_url(project: Path) -> None:
    env = variables()
    port = int(env["PORT"])

    with running("uv", "run", "--no-sync", "price-service", cwd=project, env=env, port=port):
        assert get(port, "/readyz").json()["upstreams"]["orders"] == "closed"


def test_a_call_reaches_the_url_of_the_upstream(project: Path) -> None:
    with orders() as url:
        env = variables(ORDERS__BASE_URL=url)
        printed = run("uv", "run", "--no-sync", "python", "-c", CALL, cwd=project, env=env)

    assert printed == "/v1/orders\n"


@pytest.mark.heavy
def test_the_settings_of_the_upstream_are_checked_at_the_start(project: Path) -> None:
    environments = json.dumps([environment for environment, _ in WRONG])
    command = ("uv", "run", "--no-sync", "python", "-c", SETTINGS, environments)

    said = json.loads(run(*command, cwd=project, env=variables()))

    for (_, sentence), sentences in zip(WRONG, said, strict=True):
        assert [each for each in sentences if each.startswith(sentence)]


def test_the_example_file_includes_the_upstream(project: Path) -> None:
    command = ("uv", "run", "--no-sync", "python", "-m", "price_service.settings")
    before = (project / ".env.example").read_text(encoding="utf-8").split("\n\n")

    after = run(*command, cwd=project).split("\n\n")

    added = [paragraph.splitlines()[-1] for paragraph in after if paragraph not in before]
    assert added[0] == "# ORDERS__BASE_URL="
    assert {name.partition("__")[0] for name in added} == {"# ORDERS"}
    assert [paragraph for paragraph in after if paragraph in before] == before
