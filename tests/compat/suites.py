"""Gets the test suites of Flask and asgiref, and runs them through the bridge."""

import contextlib
import json
import os
import subprocess
import tarfile
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import libraries
from tests.baking import OLDEST, ROOT

SDISTS = ROOT / ".cache" / "sdists"

# What is run of each; of asgiref's, what is about WSGI.
TESTS = {"flask": "tests", "asgiref": "tests/test_wsgi.py"}


class IndexUnreachableError(Exception):
    """The package index gave no source distribution."""


def sources(package: str) -> Path:
    """The sources of the version that we lock, tests included, fetched once.

    Raises:
        IndexUnreachableError: they are not there yet, and the package index does not give them.
    """
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    locked = next(entry for entry in lock["package"] if entry["name"] == package)
    folder = SDISTS / f"{package}-{locked['version']}"
    if not folder.exists():
        download(f"{package}=={locked['version']} --hash={locked['sdist']['hash']}")
    return folder


def download(requirement: str) -> None:
    """Unpacks a source distribution into `SDISTS`; uv cannot fetch one, so pip does."""
    pip = ("uv", "run", "--no-project", "--with", "pip", "--", "python", "-m", "pip")
    options = ("--no-deps", "--no-binary", ":all:", "--require-hashes")
    SDISTS.mkdir(parents=True, exist_ok=True)
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
            unpacked.rename(SDISTS / unpacked.name)


def outcomes(package: str, way: str) -> dict[str, str]:
    """How every test of a package ends when its requests go this `way` (`through_asgi.WAYS`)."""
    folder = sources(package)
    # Flask's tests look for what `.env` files need.
    uv = ("uv", "run", "--project", str(ROOT), "--no-sync", "--with", "python-dotenv")
    pytest = (*uv, "--", "pytest")
    plugin = ("-p", "through_asgi", "--through", way, "-p", "no:anyio", "-p", "no:cacheprovider")
    env = libraries.locked(OLDEST)
    with TemporaryDirectory() as report:
        file = Path(report, "outcomes.json")
        done = subprocess.run(
            (*pytest, *plugin, "--outcomes", str(file), TESTS[package]),
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


def passed(noted: dict[str, str]) -> int:
    """How many tests passed."""
    return list(noted.values()).count("passed")


def differing(noted: dict[str, str], native: dict[str, str]) -> set[str]:
    """The tests that end otherwise than natively."""
    return {test for test in noted | native if noted.get(test) != native.get(test)}
