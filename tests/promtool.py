"""Reads the metrics and labels in a PromQL expression; runs promtool."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .uv import run

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="not installed: promtool, of the package prometheus"
)

STRING = r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
SELECTOR = re.compile(r"\b([a-zA-Z_:][\w:]*)\b\s*(?!\s*\()(?:\{([^}]*)\})?")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


class Named(NamedTuple):
    """A metric that an expression names, and the labels that it selects or groups by."""

    metric: str
    labels: frozenset[str]


def named(expression: str) -> Iterator[Named]:
    """Every metric of an expression.

    The labels of `by (...)` count for each metric: every metric of the expression must have them.
    """
    strings: list[str] = []

    def keep(found: re.Match[str]) -> str:
        strings.append(found[0])
        return '""'

    bare = re.sub(STRING, keep, expression)
    grouping = {
        label.strip() for labels in GROUPING.findall(bare) for label in labels.split(",")
    } - {""}
    bare = GROUPING.sub("", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    for metric, selected in SELECTOR.findall(bare):
        if metric in WORDS or re.fullmatch(r"\d.*", metric):
            continue
        labels = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selected)
        yield Named(metric, frozenset({*labels, *grouping}))


def promtool(*arguments: str | Path, cwd: Path) -> str:
    """The output of promtool; fails the test when it found a fault."""
    return run("promtool", *arguments, cwd=cwd)
