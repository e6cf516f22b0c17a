"""The two tables: the outcomes of the extensions' own tests, and the places of async views."""

import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

SUITES: dict[str, dict[str, Any]] = tomllib.loads(
    (FOLDER / "suites.toml").read_text(encoding="utf-8")
)
DECORATORS: dict[str, dict[str, str]] = tomllib.loads(
    (FOLDER / "decorators.toml").read_text(encoding="utf-8")
)

WAYS = ("nothing", "bridge", "bridge-async")  # the native run first


def listed(package: str, way: str) -> set[str]:
    """The listed tests of an extension whose outcome differs in this way."""
    return {
        test
        for entry in SUITES[package].get("differs", [])
        if way in entry["ways"]
        for test in entry["tests"]
    }
