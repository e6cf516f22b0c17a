"""Fixtures of the tests of `upstreams`, which run against the sources without a bake."""

import os
import re
from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from upstreams import lift_deadline

# Variables of the developer's that change where and how clients connect.
_NOT_FOR_TESTS = re.compile(
    r"(https?|all|ftp|no)_proxy|SSL_CERT_(FILE|DIR)|SSLKEYLOGFILE|OPENSSL_CONF", re.IGNORECASE
)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run async tests on asyncio; Python's development mode does not slow its tasks down."""
    return "asyncio", {"debug": False}


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fail every test in which a call blocks the event loop."""
    with blockbuster_ctx() as guard:
        yield guard


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's proxies and certificates, and an earlier test's request."""
    for name in filter(_NOT_FOR_TESTS.fullmatch, [*os.environ]):
        monkeypatch.delenv(name)
    lift_deadline()
