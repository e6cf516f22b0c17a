"""Puts a check before a view."""

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, TypeVar, cast

from flask import current_app

P = ParamSpec("P")
T = TypeVar("T")


def checked(view: Callable[P, T], check: Callable[[], Awaitable[None]]) -> Callable[P, T]:
    """Return `view` behind `check`, which raises to refuse a request.

    An `async def` view stays one. Another view runs in its thread, and so does its check.
    """
    if iscoroutinefunction(view):

        @wraps(view)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - as `view`
            await check()
            return await view(*args, **kwargs)

    else:

        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - as `view`
            current_app.ensure_sync(check)()
            return view(*args, **kwargs)

    return cast("Callable[P, T]", guarded)
