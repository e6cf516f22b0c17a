"""The distributions of `make dist` work, alone and in place of the library folders in a service."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import dist

from .baking import OLDEST, PYTHONS, ROOT, bake
from .uv import on_python, run

GROUPS: dict[str, list[Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))[
    "dependency-groups"
]


@cache
def locked() -> dict[str, dict[str, Any]]:
    """The locked packages, by name."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    return {each["name"]: each for each in packages}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The distributions of all libraries."""
    return dist.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(params=dist.LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    """The name of a library's distribution."""
    return str(request.param)


def package(library: str) -> str:
    """The name by which a library is imported."""
    return dist.sources(library).name


def version(library: str) -> str:
    """The version in a library's `__version__`."""
    text = (dist.sources(library) / "__init__.py").read_text(encoding="utf-8")
    found = re.search('^__version__ = "(.+)"$', text, re.MULTILINE)
    assert found
    return found[1]


def wheel_of(library: str, built: list[Path]) -> Path:
    """Its wheel among the distributions."""
    name = f"{package(library)}-{version(library)}-py3-none-any.whl"
    return next(path for path in built if path.name == name)


def sdist_of(library: str, built: list[Path]) -> Path:
    """Its sdist among the distributions."""
    name = f"{package(library)}-{version(library)}.tar.gz"
    return next(path for path in built if path.name == name)


def wheel_contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel, by path."""
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def metadata(library: str, built: list[Path]) -> Message:
    """The metadata of a library's wheel."""
    files = wheel_contents(wheel_of(library, built))
    return message_from_bytes(files[f"{package(library)}-{version(library)}.dist-info/METADATA"])


def modules(library: str) -> dict[str, bytes]:
    """The files of a library that are installed, by their installed paths."""
    folder = dist.sources(library)
    return {
        path.relative_to(folder.parent).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in dist.AT_THE_TOP and "__pycache__" not in path.parts
    }


def test_there_is_a_wheel_and_an_sdist_of_each_library(built: list[Path]) -> None:
    assert dist.LIBRARIES == ("flask-asgi", "flask-guards", "typed-views", "upstreams")
    expected = {sdist_of(name, built) for name in dist.LIBRARIES}
    expected |= {wheel_of(name, built) for name in dist.LIBRARIES}

    assert expected == {*built}


def test_a_wheel_holds_the_package_and_nothing_else(library: str, built: list[Path]) -> None:
    files = wheel_contents(wheel_of(library, built))
    info = f"{package(library)}-{version(library)}.dist-info"

    assert modules(library) == {
        name: data for name, data in files.items() if not name.startswith(info)
    }
    assert {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "licenses/LICENSE")} == {
        name for name in files if name.startswith(info)
    }
    assert b"\nTag: py3-none-any\n" in files[f"{info}/WHEEL"]
    assert f"{package(library)}/py.typed" in files


def test_an_sdist_is_the_sources_of_the_wheel(library: str, built: list[Path]) -> None:
    top = f"{package(library)}-{version(library)}"
    with tarfile.open(sdist_of(library, built)) as opened:
        names = {member.name for member in opened if member.isfile()}

    at_the_top = {f"{top}/{name}" for name in (*dist.AT_THE_TOP, "PKG-INFO", "pyproject.toml")}
    assert at_the_top | {f"{top}/src/{name}" for name in modules(library)} == names


def test_the_metadata_describes_the_library(library: str, built: list[Path]) -> None:
    says = metadata(library, built)
    readme = (dist.sources(library) / "README.md").read_text(encoding="utf-8")
    classifiers = says.get_all("Classifier", [])

    assert library == says["Name"]
    assert version(library) == says["Version"]
    assert says["Summary"]
    assert says["Description-Content-Type"] == "text/markdown"
    assert says.get_payload() == readme
    assert says["Requires-Python"] == f">={OLDEST}"
    assert {"Typing :: Typed", "Framework :: AsyncIO"} <= {*classifiers}
    for python in PYTHONS:
        assert f"Programming Language :: Python :: {python}" in classifiers
    assert len(says.get_all("Project-URL", [])) == 3


def test_a_distribution_carries_the_licence_of_its_library(library: str, built: list[Path]) -> None:
    says = metadata(library, built)
    files = wheel_contents(wheel_of(library, built))
    info = f"{package(library)}-{version(library)}.dist-info"

    assert (says["License-Expression"], says.get_all("License-File")) == ("MIT-0", ["LICENSE"])
    licence = (dist.sources(library) / "LICENSE").read_bytes()
    assert licence.startswith(b"MIT No Attribution\n")
    assert licence == files[f"{info}/licenses/LICENSE"]


# Modules whose distribution has another name. Several distributions share `opentelemetry`.
NAMED = {
    "jwt": "pyjwt",
    "opentelemetry": "opentelemetry-api",
    "opentelemetry.sdk": "opentelemetry-sdk",
}


def distribution(module: str) -> str:
    """The name of a module's distribution."""
    named = [name for start, name in NAMED.items() if f"{module}.".startswith(f"{start}.")]
    return named[-1] if named else module.partition(".")[0]


def imported(library: str) -> set[str]:
    """The third-party packages that a library imports, by the names of their distributions."""
    names: set[str] = set()
    for name, source in modules(library).items():
        if name.endswith(".py"):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names.add(node.module or "")
    first = {distribution(name) for name in names}
    return {canonicalize_name(name) for name in first - sys.stdlib_module_names - {"_typeshed"}}


def brought_by(requirement: Requirement) -> set[str]:
    """The package of a requirement, with the dependencies of the package and of its extras."""
    known = locked()[requirement.name]
    optional = known.get("optional-dependencies", {})
    needed = [known.get("dependencies", [])]
    needed += [optional.get(extra, []) for extra in requirement.extras]
    return {requirement.name} | {each["name"] for group in needed for each in group}


def test_a_library_declares_every_import_as_a_dependency(library: str, built: list[Path]) -> None:
    """A dependency may bring the import, as Flask brings Werkzeug."""
    requirements = metadata(library, built).get_all("Requires-Dist", [])
    brought = {name for text in requirements for name in brought_by(Requirement(text))}

    assert imported(library) <= brought
    # limits imports redis by its name, and its own extra allows no redis from 8 on.
    assert {Requirement(text).name for text in requirements} - {"redis"} <= imported(library)


def test_every_lower_bound_is_tested(library: str, built: list[Path], project: Path) -> None:
    """Both the libraries' tests and a service's run with `--resolution lowest-direct`."""
    service = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = service["optional-dependencies"].values()
    tested = [GROUPS["libraries"], sum(optional, service["dependencies"])]

    for each in metadata(library, built).get_all("Requires-Dist", []):
        requirement = each.partition(";")[0].replace(" ", "")
        assert all(requirement in group for group in tested), requirement


@pytest.mark.heavy
def test_two_builds_are_the_same_bytes(
    built: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in built]

    again = dist.build(tmp_path)

    assert [path.name for path in built] == [path.name for path in again]
    assert digests == [hashlib.sha256(path.read_bytes()).hexdigest() for path in again]


@pytest.mark.heavy
def test_source_date_epoch_dates_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")  # 14 November 2023

    for path in dist.build(tmp_path):
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                dates = {each.date_time[:3] for each in wheel.infolist()}
            assert dates == {(2023, 11, 14)}
        else:
            with tarfile.open(path) as sdist:
                assert {each.mtime for each in sdist} == {1700000000}


@pytest.mark.heavy
def test_the_packaging_tools_find_no_fault(built: list[Path]) -> None:
    dist.check(built)


# A fault for each tool: markup that does not render, and cached bytecode.
FAULTS = {
    "METADATA": (b"text/markdown\n\n", b"text/x-rst\n\n.. broken::\n\n*"),
    "RECORD": (b"/py.typed,", b"/__init__.pyc,"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_packaging_tools_find_a_fault(name: str, built: list[Path], tmp_path: Path) -> None:
    good = wheel_of("upstreams", built)
    bad = tmp_path / good.name
    with zipfile.ZipFile(bad, "w") as opened:
        for path, data in wheel_contents(good).items():
            assert not path.endswith(name) or FAULTS[name][0] in data
            opened.writestr(path, data.replace(*FAULTS[name]) if path.endswith(name) else data)

    with pytest.raises(subprocess.CalledProcessError):
        dist.check([bad])


# The line of a service's pyproject.toml with the library folders, and its replacement.
FOLDERS = (
    'module-name = ["price_service", "flask_asgi", "flask_guards", "typed_views", "upstreams"]'
)
NO_FOLDERS = 'module-name = "price_service"'


@pytest.mark.heavy
def test_a_service_can_take_the_libraries_from_their_wheels(
    built: list[Path], tmp_path: Path
) -> None:
    """The steps are those of docs/decisions/vendored-libraries.md, without any other change."""
    project = bake(tmp_path)
    env = on_python(OLDEST)
    wheels = [str(wheel_of(name, built)) for name in dist.LIBRARIES]
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    assert text.count(FOLDERS) == 1

    for name in dist.LIBRARIES:
        shutil.rmtree(project / "src" / package(name))
    pyproject.write_text(text.replace(FOLDERS, NO_FOLDERS), encoding="utf-8")
    run("uv", "add", "--no-sync", *wheels, cwd=project, env=env)
    run("uv", "sync", "--locked", cwd=project, env=env)

    listed = ", ".join(map(package, dist.LIBRARIES))
    where = f"import {listed}; print(*(each.__file__ for each in ({listed})))"
    found = run("uv", "run", "--no-sync", "python", "-c", where, cwd=project, env=env)
    assert found.count("site-packages") == 4
    run("uv", "run", "--no-sync", "ruff", "check", cwd=project, env=env)
    run("uv", "run", "--no-sync", "mypy", cwd=project, env=env)
    run("uv", "run", "--no-sync", "pytest", cwd=project, env=env)
    run("uv", "build", "--wheel", cwd=project, env=env)
    names = wheel_contents(next((project / "dist").glob("*.whl")))
    assert {name.partition("/")[0] for name in names if name.endswith(".py")} == {"price_service"}


# A program for each library, without the template.
ALONE = {
    "flask-asgi": """
import asyncio
from flask import Flask
from flask_asgi import FlaskToAsgi

app = Flask(__name__)
sent = []

@app.get("/")
async def index():
    await asyncio.sleep(0)
    return "over ASGI"

async def receive():
    return {"type": "http.request", "body": b"", "more_body": False}

async def send(message):
    sent.append(message)

scope = {
    "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
    "scheme": "http", "path": "/", "raw_path": b"/", "query_string": b"", "root_path": "",
    "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
}
asyncio.run(FlaskToAsgi(app)(scope, receive, send))
assert sent[0]["status"] == 200, sent
assert b"".join(message.get("body", b"") for message in sent) == b"over ASGI", sent
""",
    "flask-guards": """
import asyncio
from flask import Flask
from flask_guards import (
    LOCAL_ISSUER, IssuerKeys, LocalIssuer, RateLimits, TokenVerifier,
    caller, init_bearer, init_rate_limits, rate_limit, requires,
)

app = Flask(__name__)
issuer = LocalIssuer("shop")
keys = IssuerKeys(issuer.fetch)
init_bearer(app, TokenVerifier(keys, issuer=LOCAL_ISSUER, audience="shop"))
init_rate_limits(app, RateLimits())

@app.get("/")
@requires("read")
@rate_limit("1/minute")
async def index():
    await asyncio.sleep(0)
    return caller().subject

get = app.test_client().get
assert get("/").status_code == 401
token = {"Authorization": "Bearer " + issuer.token("me", scopes=["read"])}
assert get("/", headers=token).text == "me"
assert get("/", headers=token).status_code == 429
""",
    "typed-views": """
from typing import Annotated
from flask import Flask
from pydantic import BaseModel
from typed_views import Body, describe, typed

app = Flask(__name__)

class Order(BaseModel):
    sku: str

@app.post("/<int:shop>")
@typed(status=201)
async def place(shop: int, order: Annotated[Order, Body()]) -> Order:
    return order

response = app.test_client().post("/1", json={"sku": "TEA"})
assert (response.status_code, response.get_json()) == (201, {"sku": "TEA"}), response.data
assert app.test_client().post("/1", json={}).status_code == 422
assert describe(app, title="Shop", version="1")["paths"]["/{shop}"]["post"]
""",
    "upstreams": """
import asyncio
from upstreams import Upstream, fan_out

async def answer(reader, writer):
    path = (await reader.readuntil(b"\\r\\n\\r\\n")).split()[1].decode()
    body = f'{{"path": "{path}"}}'
    writer.write(f"HTTP/1.1 200 OK\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}".encode())
    await writer.drain()
    writer.close()

async def path(name):
    return (await upstream.get(name)).json()["path"]

async def main():
    global upstream
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = "http://127.0.0.1:%s" % server.sockets[0].getsockname()[1]
    upstream = Upstream("here", address, timeout=5, max_connections=2)
    async with server, upstream.open():
        result = await fan_out(path, ["/a", "/b"], deadline=5, max_concurrency=2)
    assert [call.value for call in result.calls] == ["/a", "/b"], result

asyncio.run(main())
""",
}


@pytest.mark.heavy
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("resolution", ["highest", "lowest-direct"])
def test_a_wheel_works_alone(
    library: str, python: str, resolution: str, built: list[Path], tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    run("uv", "venv", "--quiet", venv, cwd=tmp_path, env=on_python(python))
    into = ("--python", venv, "--resolution", resolution)
    run("uv", "pip", "install", *into, wheel_of(library, built), cwd=tmp_path)
    others = {
        "flask-asgi": ("flask_guards", "typed_views", "upstreams", "pydantic"),
        "flask-guards": ("flask_asgi", "typed_views", "upstreams", "pydantic"),
        "typed-views": ("flask_asgi", "upstreams"),
        "upstreams": ("flask", "pydantic"),
    }[library]

    unknown = f"import importlib.util; assert not any(map(importlib.util.find_spec, {others}))"
    interpreter = venv / ("bin" if os.name == "posix" else "Scripts") / "python"
    run(interpreter, "-I", "-c", f"{ALONE[library]}\n{unknown}", cwd=tmp_path)
