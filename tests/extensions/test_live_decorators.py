"""Which decorators leave an async view on the loop, which send it to a thread, which break it.

`decorators.toml` has the answers, docs/extensions.md shows them, and `decorated.py` makes the
applications.
"""

import gc
import tomllib
from pathlib import Path
from typing import Any

import flask_asgi
import pytest

from tests.baking import ROOT

from . import decorated
from .decorated import ANSWER, MADE, Watched
from .live import live

ROWS: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("decorators.toml").read_text(encoding="utf-8")
)
DOCUMENT = ROOT / "docs" / "extensions.md"
IN_WORDS = {"loop": "on the loop", "thread": "in a thread", "broken": "broken natively too"}

# What is to make a demoted view run on the loop, put outermost; and what is to let a decorator that
# breaks coroutines have the view, put innermost. TODO-NAMES
OUTERMOST: Any = getattr(flask_asgi, "async_view", None)
INNERMOST: Any = getattr(flask_asgi, "sync_view", None)

PATH = "/sizes?size=7"


def rows(runs: str) -> list[str]:
    """The names of those that run there."""
    return [name for name, row in ROWS.items() if row["runs"] == runs]


def cases() -> list[Any]:
    """The names; those that today's engine does otherwise are expected to fail."""
    wrong = pytest.mark.xfail(strict=True, reason="issue 13: silent demotion")
    return [
        pytest.param(name, marks=[wrong] if "today" in row else [])
        for name, row in ROWS.items()
        if row["runs"] != "broken"
    ]


def natively(app: Watched) -> int:
    """The status that Flask alone answers with."""
    return app.test_client().get(PATH, headers=app.headers).status_code


def test_every_application_has_a_row() -> None:
    assert [*ROWS] == [*MADE]


@pytest.mark.heavy
@pytest.mark.parametrize("name", cases())
def test_a_view_runs_where_the_table_says(name: str) -> None:
    native, app = MADE[name](), MADE[name]()
    with live(app) as server:
        response = server.get(PATH, headers=app.headers)

    assert natively(native) == 200
    assert response.json() == ANSWER
    assert app.places == [ROWS[name]["runs"]]


@pytest.mark.heavy
@pytest.mark.parametrize("name", rows("broken"))
def test_a_broken_view_is_never_awaited_under_any_server(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    native, app = MADE[name](), MADE[name]()
    # A record of the log would keep the view's coroutine beyond this test.
    monkeypatch.setattr(app.logger, "disabled", True)

    def under_any_server() -> list[int]:
        with live(app) as server:
            statuses = [natively(native), server.get(PATH, headers=app.headers).status_code]
        gc.collect()
        return statuses

    with pytest.warns(RuntimeWarning, match="never awaited") as warned:
        statuses = under_any_server()

    assert statuses == [500, 500]
    assert len(warned) == 2


@pytest.mark.heavy
@pytest.mark.parametrize("name", rows("broken"))
def test_what_breaks_an_async_view_is_right_for_a_sync_one(name: str) -> None:
    assert natively(MADE[name](decorated.sync_view)) == 200


@pytest.mark.heavy
@pytest.mark.skipif(OUTERMOST is None, reason="flask_asgi has no such marker yet")
@pytest.mark.parametrize("name", rows("thread"))
def test_a_marker_outermost_sends_a_view_to_the_loop(name: str) -> None:
    native, app = MADE[name](outer=OUTERMOST), MADE[name](outer=OUTERMOST)
    with live(app) as server:
        response = server.get(PATH, headers=app.headers)

    assert natively(native) == 200
    assert response.json() == ANSWER
    assert app.places == ["loop"]


@pytest.mark.heavy
@pytest.mark.skipif(INNERMOST is None, reason="flask_asgi has no such helper yet")
@pytest.mark.parametrize("name", rows("broken"))
def test_a_helper_innermost_lets_a_decorator_work(name: str) -> None:
    view = INNERMOST and INNERMOST(decorated.view)
    native, app = MADE[name](view), MADE[name](view)
    with live(app) as server:
        response = server.get(PATH, headers=app.headers)

    assert natively(native) == 200
    assert response.json() == ANSWER


@pytest.mark.parametrize("name", ROWS)
def test_the_document_has_the_row(name: str) -> None:
    row = ROWS[name]

    assert f"| {row['code']} | {IN_WORDS[row['runs']]} |" in DOCUMENT.read_text(encoding="utf-8")
