"""Caches with keys that clients choose are bounded, in number and in size."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask_asgi import _memo as module
from flask_asgi._memo import Memo


def test_what_is_kept_is_found() -> None:
    memo: Memo[str, int] = Memo(most=2, longest=3)

    assert memo.keep("abc", 1) == 1
    assert memo == {"abc": 1}


def test_it_is_emptied_when_it_is_full() -> None:
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


def test_nothing_else_remembers_by_what_clients_choose() -> None:
    # A cache of functools is bounded in number, not in size: 1,024 paths of 60 KB are 60 MB. That
    # of the upstream's URLs is asked for short ones alone (`tests/upstreams/test_urls.py`), those
    # of settings for their names, and that of the transport for times that the code sets. Those of
    # metrics are as few as the series: a method is of a set, and a route is a rule's
    # (`test_server_metrics.py`). That of pages has no arguments, and those of rate limits and of
    # JSON have those of the code and the settings.
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
