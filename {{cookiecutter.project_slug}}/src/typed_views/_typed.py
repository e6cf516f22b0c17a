"""The decorator that makes a view's arguments and its response, both by its annotations."""

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, cast, overload

from flask import Response

from ._inputs import Inputs, inputs
from ._outputs import Output, output
from ._problem import Problem

DECLARED = "__typed_views_declaration__"


@dataclass(frozen=True)
class Declaration:
    """The declaration of a view, for the document."""

    view: Callable[..., object]
    inputs: Inputs
    output: Output
    problems: tuple[Problem, ...]
    security: Mapping[str, Sequence[str]]
    operation_id: str | None


class Decorator:
    """The decorator that `typed` returns."""

    def __init__(self, status: int | None, **declared: Any) -> None:  # noqa: ANN401 - as below
        self._status = status
        self._declared = declared

    @overload
    def __call__(  # type: ignore[overload-overlap] # a coroutine is an object too
        self, view: Callable[..., Coroutine[Any, Any, object]]
    ) -> Callable[..., Coroutine[Any, Any, Response]]: ...
    @overload
    def __call__(self, view: Callable[..., object]) -> Callable[..., Response]: ...
    def __call__(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """Return the view that Flask calls: a coroutine function if it was one."""
        taken, given = inputs(view), output(view, self._status)
        call: Callable[..., Any]

        if iscoroutinefunction(view):

            @functools.wraps(view)
            async def call(*args: Any, **path: Any) -> Response:  # noqa: ANN401 - Flask's
                return given.response(await view(*args, **taken.arguments(path)))
        else:

            @functools.wraps(view)
            def call(*args: Any, **path: Any) -> Response:  # noqa: ANN401 - Flask's
                return given.response(view(*args, **taken.arguments(path)))

        setattr(call, DECLARED, Declaration(view, taken, given, **self._declared))
        return call


def typed(
    *,
    status: int | None = None,
    problems: Iterable[Problem] = (),
    security: Mapping[str, Sequence[str]] | None = None,
    operation_id: str | None = None,
) -> Decorator:
    """Return a decorator for a view whose annotations declare its inputs and its response.

    Use it directly above the function, or the method of a `MethodView`. An ``async def`` view stays
    async, and any other view runs where it did before. The types are read once, when it is
    decorated.

    Args:
        status: of the response; by default 200, and 204 without a body.
        problems: the view's other responses. An invalid request, and missing credentials if there
            is `security`, need not be listed.
        security: the schemes that the caller must satisfy, each with its scopes, for the document.
            The decorator does not check them.
        operation_id: the name of the operation for generated clients; by default the function's
            name.

    Raises:
        TypeError: by the decorator, when a parameter or the returned type has no declaration, or
            one that is not allowed.
    """
    return Decorator(
        status, problems=tuple(problems), security=security or {}, operation_id=operation_id
    )


def declaration(view: object) -> Declaration | None:
    """Return the declaration of a view; None if it is not typed."""
    return cast("Declaration | None", getattr(view, DECLARED, None))
