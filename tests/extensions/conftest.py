"""Skips the import of all extensions in a run without the heavy tests."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the modules in which every test is heavy."""
    left_out = config.getoption("markexpr") == "not heavy"
    return True if left_out and collection_path.name.startswith("test_live_") else None
