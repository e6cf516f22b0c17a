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

from .baking import bake
from .checks import knowing_types
from .serving import free_port, get, running
from .uv import run

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
def extended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bake with a further upstream, added by the steps in its documentation."""
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
    return project


def variables(project: Path, **settings: str) -> dict[str, str]:
    """The environment of a service with these settings, which runs from its sources."""
    paths = {"PYTHONPATH": str(project / "src"), "PORT": str(free_port())}
    return {**os.environ, **paths, **settings}


def test_the_linter_and_the_type_checker_find_no_fault(extended: Path, tools: Path) -> None:
    run(tools / "ruff", "check", cwd=extended)
    run(tools / "ruff", "format", "--check", cwd=extended)
    with knowing_types() as known:
        run(tools / "mypy", *known, "src/price_service", cwd=extended)


@pytest.mark.heavy
def test_the_service_lists_the_upstream_with_or_without_a_url(extended: Path, tools: Path) -> None:
    env = variables(extended)
    port = int(env["PORT"])
    command = (tools / "python", "-m", "price_service")

    with running(*command, cwd=extended, env=env, port=port):
        assert get(port, "/readyz").json()["upstreams"]["orders"] == "closed"


def test_a_call_reaches_the_url_of_the_upstream(extended: Path, tools: Path) -> None:
    with orders() as url:
        env = variables(extended, ORDERS__BASE_URL=url)
        printed = run(tools / "python", "-c", CALL, cwd=extended, env=env)

    assert printed == "/v1/orders\n"


def test_the_settings_of_the_upstream_are_checked_at_the_start(extended: Path, tools: Path) -> None:
    environments = json.dumps([environment for environment, _ in WRONG])
    command = (tools / "python", "-c", SETTINGS, environments)

    said = json.loads(run(*command, cwd=extended, env=variables(extended)))

    for (_, sentence), sentences in zip(WRONG, said, strict=True):
        assert [each for each in sentences if each.startswith(sentence)]


def test_the_example_file_includes_the_upstream(extended: Path, tools: Path) -> None:
    command = (tools / "python", "-m", "price_service.settings")
    before = (extended / ".env.example").read_text(encoding="utf-8").split("\n\n")

    after = run(*command, cwd=extended, env=variables(extended)).split("\n\n")

    added = [paragraph.splitlines()[-1] for paragraph in after if paragraph not in before]
    assert added[0] == "# ORDERS__BASE_URL="
    assert {name.partition("__")[0] for name in added} == {"# ORDERS"}
    assert [paragraph for paragraph in after if paragraph in before] == before
