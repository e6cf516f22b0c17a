"""Blocking work: neither view blocks the event loop."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.views import blocking

from .conftest import LiveClient

PATHS = ["/fingerprint/async", "/fingerprint/sync"]


@pytest.mark.parametrize("path", PATHS)
def test_two_requests_block_at_once_without_blocking_the_loop(
    live_client: LiveClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    both = threading.Barrier(2, timeout=20)

    def meet(text: bytes) -> str:
        both.wait()  # on the event loop this is an error, and in a single thread a timeout
        return text.decode()

    def ask(text: str) -> object:
        return live_client.get(path, params={"text": text}).json()

    monkeypatch.setattr(blocking, "fingerprint", meet)
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(ask, ("one", "two"))) == [
            {"fingerprint": "one"},
            {"fingerprint": "two"},
        ]


def test_both_views_give_the_same_fingerprint(client: FlaskClient) -> None:
    first, second = [client.get(path, query_string={"text": "h\u00e9"}).text for path in PATHS]
    other = client.get(PATHS[0], query_string={"text": "he"}).text

    assert re.fullmatch(r'{"fingerprint":"[0-9a-f]{64}"}\n', first)
    assert first == second != other


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("text", "size"), [("", 0), ("a" * 1025, 1025), ("\u00e9" * 513, 1026)])
def test_an_empty_or_too_long_input_is_refused(
    client: FlaskClient, path: str, text: str, size: int
) -> None:
    response = client.get(path, query_string={"text": text})

    assert response.status_code == 400
    assert f"text: {size} bytes; accepted: 1 to 1024 bytes of UTF-8" in response.text
