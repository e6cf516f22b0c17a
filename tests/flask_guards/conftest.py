"""An issuer of tokens, and applications whose views are guarded."""

from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from .issuer import Issuer

# Imported here and not at their first use: on an event loop, `blockbuster` would refuse the files
# that they read while they are imported.
for name in ("redis.asyncio", "opentelemetry.context"):
    with suppress(ModuleNotFoundError):
        import_module(name)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run async tests on asyncio, without the checks of Python's development mode."""
    return "asyncio", {"debug": False}


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fail every test in which a call blocks an event loop of this process."""
    with blockbuster_ctx() as guard:
        yield guard


@pytest.fixture
def issuer() -> Issuer:
    """Return an issuer with one key."""
    return Issuer()
