"""The OpenAPI document is correct: tools that only have the document can use the service.

Each tool runs as a program in a separate environment.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from .baking import OLDEST, ROOT, bake
from .libraries import locked
from .serving import free_port, running, serve
from .uv import on_python, run

CHROMIUM = shutil.which("chromium")

# Uses the client that openapi-python-client generated in the same folder.
CALLER = """
import sys
from price_client import AuthenticatedClient, Client
from price_client.api.prices import prices
from price_client.api.quotes import quote
from price_client.models import Line, Prices, Quote, QuoteRequest

token = sys.argv[2]
client = AuthenticatedClient(sys.argv[1], token, raise_on_unexpected_status=True)
lines = [Line(symbol="AAPL", quantity=2), Line(symbol="MSFT", quantity=1)]

quoted = quote.sync(client=client, body=QuoteRequest(lines=lines))
assert isinstance(quoted, Quote), quoted
assert [line.symbol for line in quoted.lines] == ["AAPL", "MSFT"], quoted

refused = quote.sync_detailed(client=client, body=QuoteRequest(lines=[]))
assert refused.status_code == 422
assert [fault.pointer for fault in refused.parsed.errors] == ["#/lines"], refused

unknown = quote.sync_detailed(
    client=AuthenticatedClient(sys.argv[1], "forged"), body=QuoteRequest(lines=lines)
)
assert (unknown.status_code, unknown.parsed.status) == (401, 401), unknown

found = prices.sync(client=Client(sys.argv[1]), symbol=["AAPL", "MSFT"])
assert isinstance(found, Prices), found
assert found.prices["AAPL"] == quoted.lines[0].price, found
"""

# Opens `/docs`, and sends the example of `POST /quotes` from the page.
READER = """
import sys
from playwright.sync_api import sync_playwright

url, token, chromium, picture = sys.argv[1:]
flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
said, asked = [], []
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, args=flags)
    page = browser.new_page(viewport={"width": 1100, "height": 1700})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{url}/docs")
    page.get_by_role("button", name="Authorize").click()
    page.locator(".auth-container input").fill(token)
    page.locator(".auth-btn-wrapper .authorize").click()
    page.locator(".auth-btn-wrapper .btn-done").click()
    page.locator("#operations-quotes-quote .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    with page.expect_response("**/quotes") as response:
        page.get_by_role("button", name="Execute").click()
    assert response.value.status == 200, response.value
    page.locator(".live-responses-table").get_by_text("total").first.wait_for()
    page.screenshot(path=picture)
    browser.close()
assert said == [], said  # a policy that is broken is told there
assert {*asked} and all(each.startswith((url, "data:")) for each in asked), asked
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A default bake."""
    return bake(tmp_path_factory.mktemp("openapi"))


@pytest.fixture(scope="module")
def url(project: Path) -> Iterator[str]:
    """The URL of the running default bake, with its stub."""
    port = free_port()
    settings = {"PORT": str(port), "STUB_DELAY_MS": "1", "QUOTES_LIMIT": "1000000/minute"}
    env = os.environ | on_python(OLDEST) | settings
    run("uv", "sync", "--locked", cwd=project, env=env)
    with running("uv", "run", "price-service", cwd=project, env=env, port=port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def token(project: Path, url: str) -> str:
    """A token for quotes, from the command in the default bake's README."""
    assert url
    flask = ("uv", "run", "flask", "--app", "price_service.app")
    return run(*flask, "token", "--scope", "quotes:write", cwd=project).strip()


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of the tools' programs."""
    env = locked(OLDEST, "openapi")
    return Path(env["UV_PROJECT_ENVIRONMENT"], "bin" if os.name == "posix" else "Scripts")


def test_the_committed_document_of_a_bake_is_openapi_3_1(project: Path) -> None:
    document = json.loads((project / "openapi.json").read_text(encoding="utf-8"))

    assert document["openapi"].startswith("3.1.")
    assert {*document["paths"]} == {"/prices", "/quotes"}
    validate(document)


@pytest.mark.heavy
def test_requests_generated_from_the_document_find_no_fault_in_a_service(
    url: str, token: str, programs: Path, tmp_path: Path
) -> None:
    schemathesis(programs, url, tmp_path, "--header", f"Authorization: Bearer {token}")


@pytest.mark.heavy
def test_requests_generated_from_the_document_find_no_fault_in_any_kind_of_view(
    programs: Path, tmp_path: Path
) -> None:
    with serve("tests.typed_views.served:asgi", "--no-access-log") as server:
        schemathesis(programs, server.url, tmp_path, "--header", "Authorization: Bearer t")


def schemathesis(programs: Path, url: str, folder: Path, *more: str) -> None:
    """Run every check of Schemathesis against the service at a URL."""
    checks = ("--checks", "all", "--max-examples", "30", "--generation-deterministic")
    run(
        programs / "schemathesis",
        "run",
        f"{url}/openapi.json",
        "--no-color",
        *checks,
        *more,
        cwd=folder,
    )


@pytest.mark.heavy
def test_a_client_generated_from_the_document_calls_the_service(
    project: Path, url: str, token: str, programs: Path, tmp_path: Path
) -> None:
    document = ("--path", project / "openapi.json", "--output-path", tmp_path / "price_client")
    config = tmp_path / "config.yml"
    config.write_text("post_hooks: []\n", encoding="utf-8")  # they would format the client
    make = ("generate", *document, "--config", config, "--meta", "none", "--fail-on-warning")

    run(programs / "openapi-python-client", *make, cwd=tmp_path)
    (tmp_path / "caller.py").write_text(CALLER, encoding="utf-8")
    run(programs / "python", "caller.py", url, token, cwd=tmp_path)


@pytest.mark.heavy
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, a package of Debian")
def test_a_browser_sends_a_request_from_the_page(
    url: str, token: str, programs: Path, tmp_path: Path
) -> None:
    picture = ROOT / ".cache" / "docs.png"

    run(programs / "python", "-c", READER, url, token, str(CHROMIUM), picture, cwd=tmp_path)

    assert picture.stat().st_size > 10_000
