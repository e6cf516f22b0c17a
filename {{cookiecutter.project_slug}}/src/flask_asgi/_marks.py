"""Marks for functions: which of them may run on the event loop, and which wait for a thread.

A function that is not ``async def`` may block, so it runs in a worker thread unless it is marked.
"""

import functools
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any, ParamSpec, TypeVar, cast, overload

from flask import Flask, current_app, has_request_context, request

from ._environ import THREADS
from ._greenlets import is_on_loop
from ._threads import block_on_thread

P = ParamSpec("P")
T = TypeVar("T")

# Where an application keeps the names of the modules whose functions never block.
EXTENSION = "flask_asgi"

# Flask's own functions: they read and sign cookies, and prepare the context of a template.
_OF_FLASK = ("flask.sessions", "flask.templating", "flask.app")

_MARK = "__flask_asgi_on_loop__"


def on_loop(code: T) -> T:
    """Mark ``code`` as never blocking, so that it may run on the event loop; return it.

    It marks a hook, an error handler, a signal's receiver, WSGI middleware, or a session interface:
    a function, or a class with all its instances. For a view it is the outermost decorator, and
    declares that the decorators between it and the ``async def`` function never block.

    Raises:
        AttributeError: ``code`` takes no attributes, such as a function written in C.
    """
    marked: Any = getattr(code, "__func__", code)  # a bound method's function
    # The mark holds the function's id: `functools.wraps` copies it to wrappers, which may block.
    setattr(marked, _MARK, id(marked))
    return code


def in_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Return ``function`` so that it runs in a thread when it is called on the event loop.

    It is for synchronous code that blocks and that Flask or an extension calls within an async
    view, such as a loader of users. Only the request that calls it waits. If the request has a
    thread, the function runs in that thread.

    A task that a view starts cannot wait for a thread, so there the function blocks the loop.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if is_on_loop() and has_request_context() and THREADS in request.environ:
            bound = functools.partial(function, *args, **kwargs)
            return block_on_thread(request.environ[THREADS], bound)
        return function(*args, **kwargs)

    return call


@overload
def async_to_sync(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]: ...
@overload
def async_to_sync(function: Callable[P, AsyncIterator[T]]) -> Callable[P, AsyncIterator[T]]: ...
def async_to_sync(function: Callable[P, Any]) -> Callable[P, Any]:
    """Return a synchronous function that waits for the ``async def`` one, on the server's loop.

    Use it as the innermost decorator, if the others do not expect a coroutine. The request then
    runs in a worker thread, unless the outermost decorator is `on_loop`. Outside of a server the
    function waits as Flask does for an async view.
    """
    if isasyncgenfunction(function):  # calling it waits for nothing
        return function

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - what `function` returns
        return current_app.async_to_sync(cast("Any", function))(*args, **kwargs)

    return call


def may_block(app: Flask, code: object) -> bool:
    """Tell whether ``code``, which Flask calls for a request, must run in a thread."""
    modules: Collection[str] = app.extensions[EXTENSION]
    return not is_for_loop(code) and not _is_of({*modules, *_OF_FLASK}, module_of(code))


def is_for_loop(code: object) -> bool:
    """Tell whether ``code`` is ``async def``, or marked with `on_loop`."""
    if iscoroutinefunction(code) or isasyncgenfunction(code):
        return True
    function = getattr(code, "__func__", code)
    mark = getattr(function, _MARK, None)
    return mark is not None and mark in {id(function), id(type(function))}


def module_of(code: object) -> str:
    """Return the name of the module that ``code``, or the class of ``code``, is from."""
    if isinstance(code, functools.partial):
        code = code.func
    return str(getattr(code, "__module__", None) or type(code).__module__)


def _is_of(modules: Collection[str], module: str) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in modules)
