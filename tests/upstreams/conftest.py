"""Fixtures of the tests of `upstreams`, which run against the sources without a bake."""

import os
import re

import pytest
from upstreams import lift_deadline

from tests.loops import anyio_backend, blockbuster
from tests.properties import load_profile

__all__ = ["anyio_backend", "blockbuster"]  # fixtures

load_profile()

# Variables of the developer's environment that change where and how clients connect.
_NOT_FOR_TESTS = re.compile(
    r"(https?|all|ftp|no)_proxy|SSL_CERT_(FILE|DIR)|SSLKEYLOGFILE|OPENSSL_CONF", re.IGNORECASE
)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's proxies and certificates, and an earlier test's request."""
    for name in filter(_NOT_FOR_TESTS.fullmatch, [*os.environ]):
        monkeypatch.delenv(name)
    lift_deadline()
