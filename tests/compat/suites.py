"""Fetches the tests of Flask, asgiref and extensions, and runs them through the bridge."""

import contextlib
import json
import os
import subprocess
import tarfile
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests import libraries
from tests.baking import OLDEST, ROOT

SDISTS = ROOT / ".cache" / "sdists"


@dataclass(frozen=True)
class Suite:
    """The tests of a package whose version and source distribution `uv.lock` locks.

    Args:
        package: its name in `uv.lock`.
        tests: the files and folders that are run.
        options: further options of pytest. Only plugins that are named here are loaded.
        without: fixtures of servers that are missing, Redis for example. Tests that use them are
            left out.
        group: the group of `pyproject.toml` that the tests need.
    """

    package: str
    tests: tuple[str, ...] = ("tests",)
    options: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    group: str = "libraries"


FLASK = Suite("flask")
ASGIREF = Suite("asgiref", tests=("tests/test_wsgi.py",))  # its tests about WSGI


class IndexUnreachableError(Exception):
    """The package index gave no source distribution."""


@cache
def lock() -> dict[str, dict[str, Any]]:
    """The locked packages, by name."""
    content = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    return {package["name"]: package for package in content["package"]}


def sources(package: str) -> Path:
    """The sources of the locked version, including tests, fetched once.

    Raises:
        IndexUnreachableError: they are not fetched yet, and the package index does not answer.
    """
    locked = lock()[package]
    folder = SDISTS / f"{package}-{locked['version']}"
    if not folder.exists():
        download(f"{package}=={locked['version']} --hash={locked['sdist']['hash']}", folder)
    return folder


def download(requirement: str, to: Path) -> None:
    """Unpacks a source distribution; uv cannot fetch one, so pip does."""
    pip = ("uv", "run", "--no-project", "--with", "pip", "--", "python", "-m", "pip")
    options = ("--no-deps", "--no-binary", ":all:", "--require-hashes")
    SDISTS.mkdir(parents=True, exist_ok=True)
    # pytest also looks for its settings in the parent folders, and must not find those of this
    # repository.
    (SDISTS / "pytest.ini").touch()
    with TemporaryDirectory(dir=SDISTS) as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(requirement, encoding="utf-8")
        done = subprocess.run(
            (*pip, "download", *options, "--dest", folder, "--requirement", str(requirements)),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            assert "DO NOT MATCH THE HASHES" not in done.stdout, done.stdout
            raise IndexUnreachableError(done.stdout)
        (archive,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        unpacked = archive.with_name(archive.name.removesuffix(".tar.gz"))
        with contextlib.suppress(OSError):  # another test process was first
            unpacked.rename(to)


def outcomes(suite: Suite, way: str) -> dict[str, str]:
    """The outcome of every test of a suite, with requests through `way` (`through_asgi.WAYS`)."""
    folder = sources(suite.package)
    # Flask's tests need python-dotenv for `.env` files.
    uv = ("uv", "run", "--project", str(ROOT), "--no-sync", "--with", "python-dotenv")
    pytest = (*uv, "--", "python", "-m", "pytest", "--rootdir", ".", "--override-ini", "addopts=")
    plugin = ("-p", "through_asgi", "--through", way, "-p", "no:cacheprovider")
    without = [option for fixture in suite.without for option in ("--without", fixture)]
    env = environment(suite.group)
    with TemporaryDirectory() as report:
        file = Path(report, "outcomes.json")
        done = subprocess.run(
            (*pytest, *plugin, "--outcomes", str(file), *suite.options, *without, *suite.tests),
            cwd=folder,
            env={**os.environ, **env, **libraries.sources(Path(__file__).parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert file.exists(), done.stdout
        noted: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    assert noted, done.stdout
    return noted


@cache
def environment(group: str) -> dict[str, str]:
    """The variables of a process with the locked packages of a group of `pyproject.toml`."""
    return libraries.locked(OLDEST, group) | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def passed(noted: dict[str, str]) -> int:
    """The number of passed tests."""
    return list(noted.values()).count("passed")


def differing(noted: dict[str, str], native: dict[str, str]) -> set[str]:
    """The tests whose outcome differs from the native outcome."""
    return {test for test in noted | native if noted.get(test) != native.get(test)}
