"""Synchronous databases under async views: pools, sessions per thread, sessions per request."""

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peewee
import pytest
from flask import Flask, request
from flask_asgi import request_scope
from flask_login import LoginManager, UserMixin, current_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, Integer, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker
from sqlalchemy.pool import QueuePool

from tests.serving import wait_until

from .live import PATIENCE, live

pytestmark = pytest.mark.heavy

CLIENTS = 5
POOL = 15  # connections: the default of SQLAlchemy's pool, 5 and 10 more


# Hooks that wait for a connection of the pool


def test_requests_that_wait_for_a_connection_do_not_block_the_loop(
    tmp_path: Path,
) -> None:
    """The user's loader takes a connection; the view has it while it awaits; teardown frees it."""
    clients = 2 * POOL
    gate = asyncio.Event()
    arrived: list[str] = []
    inside: list[str] = []
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/users.db"
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_timeout": PATIENCE}
    db = SQLAlchemy(app)

    class User(UserMixin, db.Model):  # type: ignore[name-defined] # made at run time
        id: Mapped[int] = mapped_column(Integer, primary_key=True)

    with app.app_context():
        db.create_all()
        db.session.add(User(id=7))
        db.session.commit()
        pool = db.engine.pool
    assert isinstance(pool, QueuePool)
    assert pool.size() + pool._max_overflow == POOL  # noqa: SLF001 - it has no other name

    @LoginManager(app).request_loader
    def load(_request: object) -> User | None:
        arrived.append(request.path)
        return db.session.get(User, 7)

    @app.before_request
    def guard() -> tuple[str, int] | None:
        if request.path == "/livez" or current_user.is_authenticated:
            return None
        return "who?", 401

    @app.get("/")
    async def view() -> str:
        inside.append(request.path)
        await gate.wait()
        return f"user {current_user.id}"

    @app.get("/livez")
    async def livez() -> str:
        return "alive"

    with live(app) as server:
        requests = server.begin(clients)
        try:
            wait_until(lambda: len(arrived) == clients, PATIENCE)
            assert server.get("/livez").text == "alive"
            assert len(inside) == POOL
        finally:
            pool._timeout = 0  # noqa: SLF001 - so that a test that fails soon ends
            server.open(gate)
        pool._timeout = PATIENCE  # noqa: SLF001 - for those that still wait
        texts = [request.result().text for request in requests]

    assert texts == ["user 7"] * clients
    assert pool.checkedout() == 0


# SQLAlchemy's session, as in Flask's documentation


class Base(DeclarativeBase):
    """Tables."""


class Row(Base):
    """The number of a request whose row was committed."""

    __tablename__ = "row"
    number: Mapped[int] = mapped_column(Integer, primary_key=True)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database with an empty table."""
    engine = create_engine(f"sqlite:///{tmp_path}/rows.db", connect_args={"timeout": PATIENCE})
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def documented(engine: Engine, scopefunc: Callable[[], Any] | None) -> Flask:
    """The pattern of Flask's documentation ("Declarative"); odd requests roll their row back.

    All requests add their rows before any request continues, and they end one after another.
    """
    app = Flask(__name__)
    db_session = scoped_session(sessionmaker(engine, autoflush=False), scopefunc=scopefunc)

    @app.teardown_appcontext
    def shutdown_session(_error: BaseException | None = None) -> None:
        db_session.remove()

    def add(number: int) -> None:
        db_session.add(Row(number=number))

    def end(number: int) -> str:
        if number % 2:
            db_session.rollback()
        else:
            db_session.commit()
        return "ended"

    @app.get("/sync/<int:number>")
    def sync(number: int) -> str:
        add(number)
        return end(number)

    gates = app.extensions["gates"] = [asyncio.Event() for _ in range(10)]
    added = app.extensions["added"] = []

    @app.get("/async/<int:number>")
    async def asynchronous(number: int) -> str:
        add(number)
        added.append(number)
        await gates[number].wait()
        return end(number)

    return app


def committed(engine: Engine) -> list[int]:
    """The rows in the database."""
    with engine.connect() as connection:
        return [*connection.scalars(select(Row.number).order_by(Row.number))]


@pytest.mark.parametrize("scopefunc", [None, request_scope], ids=["by-thread", "by-request"])
def test_sync_views_have_separate_sessions(
    engine: Engine, scopefunc: Callable[[], Any] | None
) -> None:
    with live(documented(engine, scopefunc)) as server:
        requests = [server.begin(1, f"/sync/{number}")[0] for number in range(10)]
        assert [request.result().text for request in requests] == ["ended"] * 10

    assert committed(engine) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(
    "scopefunc",
    [
        pytest.param(
            None,
            id="by-thread",
            marks=pytest.mark.xfail(
                strict=True,
                reason="the views on the loop share its thread: see docs/extensions.md",
            ),
        ),
        pytest.param(request_scope, id="by-request"),
    ],
)
def test_async_views_have_separate_sessions(
    engine: Engine, scopefunc: Callable[[], Any] | None
) -> None:
    app = documented(engine, scopefunc)
    with live(app) as server:
        requests = [server.begin(1, f"/async/{number}")[0] for number in range(10)]
        wait_until(lambda: len(app.extensions["added"]) == 10, PATIENCE)
        for number, request_ in enumerate(requests):
            server.open(app.extensions["gates"][number])
            assert request_.result().text == "ended"

    assert committed(engine) == [0, 2, 4, 6, 8]


def test_teardown_removes_a_session_by_request(engine: Engine) -> None:
    """Teardown sees the same registry as the view, on the loop and in a thread."""
    registries: list[dict[Any, Any]] = []
    app = Flask(__name__)
    db_session = scoped_session(sessionmaker(engine), scopefunc=request_scope)

    @app.teardown_appcontext
    def shutdown_session(_error: BaseException | None = None) -> None:
        registries.append(dict(db_session.registry.registry))
        db_session.remove()

    @app.get("/")
    async def view() -> str:
        await asyncio.sleep(0)
        return str(db_session.scalar(select(1)))

    with live(app) as server:
        assert server.get("/").text == "1"

    (seen,) = registries
    assert len(seen) == 1
    assert not db_session.registry.registry
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


# peewee's hooks, as in its documentation


class ByRequest:
    """The state of a connection, kept for each request context instead of each thread."""

    _states: contextvars.ContextVar[peewee._ConnectionState] = contextvars.ContextVar("states")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._state(), name, value)

    def _state(self) -> "peewee._ConnectionState":
        if (state := self._states.get(None)) is None:
            state = peewee._ConnectionState()  # noqa: SLF001 - what peewee keeps by thread
            self._states.set(state)
        return state


def database(file: Path, state: ByRequest | None) -> peewee.SqliteDatabase:
    """A database; without a `state`, peewee keeps its state for each thread."""
    db = peewee.SqliteDatabase(str(file), check_same_thread=False)
    if state is not None:
        vars(db)["_state"] = state  # peewee has no option for it
    return db


def peewee_app(db: peewee.SqliteDatabase) -> Flask:
    """An application whose hooks connect and close, as in peewee's documentation.

    Each request stays in the async view until all requests are in the view or have failed.
    """
    app = Flask(__name__)
    inside: list[bool] = []
    all_inside = asyncio.Event()

    @app.before_request
    def connect() -> None:
        db.connect()

    @app.teardown_request
    def close(_error: BaseException | None) -> None:
        if not db.is_closed():
            db.close()

    async def arrive() -> None:
        inside.append(True)
        if len(inside) == CLIENTS:
            all_inside.set()

    @app.get("/sync")
    def sync() -> str:
        return query(db)

    @app.get("/async")
    async def asynchronous() -> str:
        await arrive()
        await all_inside.wait()
        return query(db)

    @app.errorhandler(peewee.OperationalError)
    async def answer(error: peewee.OperationalError) -> str:
        await arrive()  # the other requests must not wait for this request
        return str(error)

    return app


def query(db: peewee.SqliteDatabase) -> str:
    """The answer to a query, and whether the connection was there before."""
    is_closed = db.is_closed()
    return f"{db.execute_sql('select 1').fetchone()[0]} {is_closed=}"


def test_connections_by_thread_work_for_sync_views(tmp_path: Path) -> None:
    with live(peewee_app(database(tmp_path / "db", None))) as server:
        for _ in range(3):  # to reuse the threads
            assert server.at_once(CLIENTS, "/sync") == {"200 1 is_closed=False": CLIENTS}


def test_connections_by_request_work_for_async_views(tmp_path: Path) -> None:
    with live(peewee_app(database(tmp_path / "db", ByRequest()))) as server:
        for _ in range(3):
            assert server.at_once(CLIENTS, "/async") == {"200 1 is_closed=False": CLIENTS}


@pytest.mark.xfail(
    strict=True, reason="hook and view do not share a thread: see docs/extensions.md"
)
def test_connections_by_thread_work_for_async_views(tmp_path: Path) -> None:
    with live(peewee_app(database(tmp_path / "db", None))) as server:
        assert server.at_once(CLIENTS, "/async") == {"200 1 is_closed=False": CLIENTS}
