"""Marks for functions, and the two bridges between synchronous and asynchronous code."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from flask import Flask
from flask.views import MethodView, View
from flask_asgi import FlaskToAsgi, async_to_sync, in_thread, on_loop
from flask_asgi._greenlets import is_on_loop
from flask_asgi._marks import is_for_loop, module_of
from flask_asgi._views import hidden_async_function, is_async_view

from .asgi_client import ask, http_scope

pytestmark = pytest.mark.anyio


def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do what most extensions do: wrap without awaiting."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def asking_flask(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do what Flask's documentation recommends to extensions."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        app: Any = kwargs.pop("app", None)
        return app.ensure_sync(function)(*args, **kwargs)

    return wrapper


async def coroutine() -> str:
    """Wait."""
    await asyncio.sleep(0)
    return "waited"


async def generator() -> AsyncIterator[str]:
    """Yield."""
    yield "part"


def function() -> str:
    """Wait for nothing."""
    return "function"


class Callables:
    """A class whose instances can be called."""

    def __call__(self) -> None:
        """Do nothing."""

    def method(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (coroutine, True),
        (generator, True),
        (functools.partial(coroutine), True),
        (function, False),
        (functools.partial(function), False),
        (Callables(), False),
        (Callables().method, False),
        (wrapping(coroutine), False),
    ],
)
def test_only_async_functions_are_for_the_loop_unmarked(code: object, *, expected: bool) -> None:
    assert is_for_loop(code) is expected


def test_a_mark_applies_only_to_the_marked_object() -> None:
    class Marked(Callables):
        pass

    class Child(Marked):
        pass

    @on_loop
    def marked() -> None:
        pass

    one = Callables()
    assert on_loop(Marked) is Marked
    on_loop(one)
    bound = Child().method

    assert is_for_loop(marked)
    assert is_for_loop(Marked())
    assert is_for_loop(one)
    assert not is_for_loop(Callables())
    assert not is_for_loop(Child())
    assert not is_for_loop(bound)
    assert not is_for_loop(wrapping(marked))  # `functools.wraps` copied its attributes


def test_a_bound_method_is_marked_for_every_instance() -> None:
    class Hooks:
        def before(self) -> None:
            pass

    on_loop(Hooks().before)

    assert is_for_loop(Hooks().before)


def test_an_object_without_attributes_cannot_be_marked() -> None:
    with pytest.raises(AttributeError):
        on_loop(len)


@pytest.mark.parametrize("code", [function, functools.partial(function), Callables(), Callables])
def test_the_module_of_code_is_its_source_module(code: object) -> None:
    assert module_of(code) == __name__


# Views


class Both(MethodView):
    """A method of each kind."""

    async def get(self) -> str:
        """Answer on the loop."""
        return f"{is_on_loop()}"

    def post(self) -> str:
        """Answer in a thread."""
        return f"{is_on_loop()}"


class Once(Both):
    """One instance for all requests."""

    init_every_request = False


class Decorated(Both):
    """A view whose decorator hides that it is async."""

    decorators = (wrapping,)  # type: ignore[assignment]


class Dispatching(View):
    """A view that dispatches by itself."""

    async def dispatch_request(self) -> str:  # type: ignore[override]
        """Answer on the loop."""
        return f"{is_on_loop()}"


class Overriding(Both):
    """A view whose dispatch may block."""

    def dispatch_request(self, **kwargs: Any) -> Any:
        """Do something first."""
        return super().dispatch_request(**kwargs)


@pytest.mark.parametrize(
    ("view", "method", "expected"),
    [
        (Both, "GET", True),
        (Both, "HEAD", True),
        (Both, "POST", False),
        (Both, "PUT", False),
        (Once, "GET", True),
        (Once, "POST", False),
        (Dispatching, "GET", True),
        (Decorated, "GET", False),
        (Overriding, "GET", False),
    ],
)
async def test_an_async_method_of_a_class_runs_on_the_loop(
    app: Flask, view: type[View], method: str, *, expected: bool
) -> None:
    function = view.as_view("view")
    app.add_url_rule("/", view_func=function, methods=["GET", "POST"])

    assert is_async_view(function, method) is expected

    bridge = FlaskToAsgi(app)
    if method in {"GET", "POST"}:
        # An async method of a view in a thread is awaited on the loop too.
        on_loop = expected or method == "GET"
        answer = await ask(bridge, http_scope(method=method))
        assert answer == (200, str(on_loop).encode())
        assert (bridge.engine.threads._threads == 0) is expected  # noqa: SLF001 - none was needed


@pytest.mark.parametrize("view", [Decorated, Overriding])
def test_a_hidden_async_method_of_a_class_is_found(view: type[Both]) -> None:
    assert hidden_async_function(view.as_view("view"), "GET") is Both.get
    assert hidden_async_function(view.as_view("view"), "POST") is None


def without_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do what careless decorators do."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def using_a_coroutine() -> Callable[[], str]:
    """Make a view that is not async, and runs a coroutine that it can see."""

    async def inner() -> str:
        return "inner"

    return lambda: asyncio.run(inner())


@pytest.mark.parametrize(
    "view",
    [
        wrapping(coroutine),
        wrapping(wrapping(coroutine)),
        without_wraps(coroutine),
        without_wraps(wrapping(without_wraps(coroutine))),
        async_to_sync(coroutine),
    ],
)
def test_an_async_function_is_found_behind_decorators(view: Any) -> None:
    assert not is_async_view(view, "GET")
    assert hidden_async_function(view, "GET") is coroutine


@pytest.mark.parametrize(
    "view", [function, wrapping(function), without_wraps(function), using_a_coroutine(), len]
)
def test_no_async_function_is_found_in_a_sync_view(view: Any) -> None:
    assert hidden_async_function(view, "GET") is None


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("decorator", [wrapping, without_wraps])
async def test_a_decorator_that_breaks_coroutines_works_around_async_to_sync(
    app: Flask, decorator: Callable[..., Any], *, marked: bool
) -> None:
    async def where() -> str:
        await asyncio.sleep(0)
        return f"{is_on_loop()}"

    view = decorator(async_to_sync(where))
    app.add_url_rule("/", "view", on_loop(view) if marked else view)
    bridge = FlaskToAsgi(app)

    assert await ask(bridge, http_scope()) == (200, b"True")
    assert (bridge.engine.threads._threads == 0) is marked  # noqa: SLF001 - none was needed


async def test_ensure_sync_of_a_marked_view_runs_on_the_loop(app: Flask) -> None:
    view = on_loop(asking_flask(coroutine))
    app.add_url_rule("/", "view", view, defaults={"app": app})
    bridge = FlaskToAsgi(app)

    assert await ask(bridge, http_scope()) == (200, b"waited")
    assert bridge.engine.threads._threads == 0  # noqa: SLF001 - none was needed


def test_async_to_sync_waits_under_wsgi_too(app: Flask) -> None:
    app.add_url_rule("/", "view", wrapping(async_to_sync(coroutine)))

    assert app.test_client().get("/").text == "waited"


def test_async_to_sync_returns_an_async_generator_unchanged() -> None:
    assert async_to_sync(generator) is generator


# in_thread


async def test_in_thread_does_not_block_the_loop_and_keeps_the_context(app: Flask) -> None:
    barrier = threading.Barrier(10)

    @in_thread
    def meet(number: int, *, word: str) -> tuple[int, str, bool, str]:
        from flask import request  # noqa: PLC0415 - in the thread

        barrier.wait(20)
        return number, word, is_on_loop(), request.path

    @app.get("/<int:number>")
    async def view(number: int) -> list[object]:
        return list(meet(number, word="said"))

    bridge = FlaskToAsgi(app)
    answers = await asyncio.gather(*(ask(bridge, http_scope(f"/{each}")) for each in range(10)))

    assert [(200, f'[{n},"said",false,"/{n}"]\n'.encode()) for n in range(10)] == answers


async def test_in_thread_raises_the_functions_error(app: Flask) -> None:
    @in_thread
    def fail() -> None:
        message = "reason"
        raise LookupError(message)

    @app.get("/")
    async def view() -> str:
        with pytest.raises(LookupError, match="reason"):
            fail()
        return "raised"

    assert await ask(app, http_scope()) == (200, b"raised")


def test_in_thread_calls_directly_outside_the_loop(app: Flask) -> None:
    where = in_thread(threading.get_ident)

    assert where() == threading.get_ident()
    app.add_url_rule("/", "view", lambda: str(where() == threading.get_ident()))
    assert app.test_client().get("/").text == "True"
