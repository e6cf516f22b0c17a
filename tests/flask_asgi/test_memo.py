"""Caches with keys that clients choose are bounded, in number and in size."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask_asgi import _memo as module
from flask_asgi._memo import Memo


def test_a_kept_value_is_found() -> None:
    memo: Memo[str, int] = Memo(most=2, longest=3)

    assert memo.keep("abc", 1) == 1
    assert memo == {"abc": 1}


def test_a_full_memo_is_emptied() -> None:
    memo: Memo[int, int] = Memo(most=2, longest=3)
    for number in range(5):
        memo.keep(number, number)

    assert len(memo) <= 2


@pytest.mark.parametrize("key", ["abcd", b"abcd", ("ab", "cd"), ("a", None, ("b", "cd"))])
def test_a_long_key_is_not_kept(key: object) -> None:
    memo: Memo[object, int] = Memo(most=2, longest=3)

    assert memo.keep(key, 1) == 1
    assert not memo


def caches(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.alias) and node.name in {"cache", "lru_cache"}:
            yield f"{source.name}: {node.name}"
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {
            "functools.cache",
            "functools.lru_cache",
        }:
            yield f"{source.name}: {ast.unparse(node)}"


def test_no_other_cache_has_keys_that_clients_choose() -> None:
    # A cache of functools is bounded in number, not in size: 1,024 paths of 60 KB are 60 MB. So
    # clients must not choose the keys of these caches:
    # - pages: no key
    # - rate limits, JSON: values of the code and the settings
    # - metrics: as few as the series, since methods are a fixed set and routes are rules
    #   (`test_server_metrics.py`)
    # - slips, variables: names of settings
    # - transport: times that the code sets
    # - URLs: short URLs only (`tests/upstreams/test_urls.py`)
    package = Path(module.__file__).parents[1]
    found = [each for source in package.rglob("*.py") for each in caches(source)]

    assert sorted(found) == [
        "_pages.py: functools.cache",
        "_rate_limits.py: cache",
        "_server_metrics.py: cache",
        "_slips.py: cache",
        "_strict_json.py: lru_cache",
        "_transport.py: lru_cache",
        "_upstream_metrics.py: cache",
        "_urls.py: lru_cache",
        "_variables.py: cache",
    ]
