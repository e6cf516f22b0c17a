"""Tells which views are asynchronous: ``async def`` functions, and classes with such methods."""

from inspect import CO_VARARGS, CO_VARKEYWORDS, isasyncgenfunction, iscoroutinefunction, unwrap
from types import CodeType, FunctionType
from typing import Any

from flask.views import MethodView, View

from ._marks import is_for_loop

# The code of the functions that `View.as_view` returns, without decorators.
_AS_VIEW = {
    constant
    for constant in View.as_view.__func__.__code__.co_consts  # type: ignore[attr-defined]
    if isinstance(constant, CodeType) and constant.co_name == "view"
}


def is_async_view(view: Any, method: str) -> bool:  # noqa: ANN401 - whatever is registered
    """Tell whether ``view`` is async for this method of HTTP, or marked with `on_loop`."""
    if is_for_loop(view):
        return True
    if getattr(view, "__code__", None) not in _AS_VIEW:
        return False
    dispatch = view.view_class.dispatch_request
    if dispatch is not MethodView.dispatch_request:
        return is_for_loop(dispatch)
    return is_for_loop(_method_of(view.view_class, method))


def hidden_async_function(view: Any, method: str) -> Any:  # noqa: ANN401 - as above
    """Return the ``async def`` function that the synchronous ``view`` wraps; None without one.

    It is found through `functools.wraps`, or in the closure of a wrapper that takes any arguments.
    A function with other arguments is no wrapper: it is a view that uses its closure.
    """
    if (view_class := getattr(view, "view_class", None)) is not None:
        is_method_view = issubclass(view_class, MethodView)
        view = _method_of(view_class, method) if is_method_view else view_class.dispatch_request
    return _hidden(view, depth=5)


def _hidden(view: Any, depth: int) -> Any:  # noqa: ANN401 - as above
    inner = unwrap(view, stop=_is_async)
    if _is_async(inner):
        return inner
    flags = inner.__code__.co_flags if isinstance(inner, FunctionType) else 0
    if not (flags & CO_VARARGS and flags & CO_VARKEYWORDS):
        return None
    for cell in inner.__closure__ or ():
        try:
            held = cell.cell_contents
        except ValueError:  # an empty cell
            continue
        if _is_async(held):
            return held
        if callable(held) and depth and (found := _hidden(held, depth - 1)) is not None:
            return found
    return None


def _is_async(function: object) -> bool:
    return iscoroutinefunction(function) or isasyncgenfunction(function)


def _method_of(view_class: type[View], method: str) -> Any:  # noqa: ANN401 - a function or None
    name = method.lower()
    handler = getattr(view_class, name, None)
    return getattr(view_class, "get", None) if handler is None and name == "head" else handler
