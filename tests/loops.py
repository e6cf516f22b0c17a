"""Fixtures of tests with an event loop, which each library's `conftest.py` imports."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run async tests on asyncio, without asyncio's debug mode.

    Its checks make every task several times as slow, and tests have a time limit.
    """
    return "asyncio", {"debug": False}


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fail every test in which a call blocks an event loop of this process."""
    with blockbuster_ctx() as guard:
        yield guard
