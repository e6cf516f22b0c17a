"""The response of a view: its return annotation is read once, and its body serialised by it."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from flask import Response, current_app, make_response
from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError
from werkzeug.sansio.response import Response as AnyResponse


@dataclass(frozen=True)
class Output:
    """The response of a view: its status, and the type of its body if it has one."""

    status: int
    adapter: TypeAdapter[Any] | None

    def response(self, returned: object) -> Response:
        """Return the response for the value that the view returned.

        A view may return a response object, which is sent unchanged. As in Flask, a tuple is a body
        with a status, with headers, or with both.

        Raises:
            TypeError: the body is not of the declared type.
        """
        if isinstance(returned, AnyResponse):
            return make_response(returned)
        body, *rest = returned if type(returned) is tuple else (returned,)
        response = self._of(body)
        return make_response((response, *rest)) if rest else response

    def _of(self, body: object) -> Response:
        if self.adapter is None:
            response = current_app.response_class(status=self.status)
            del response.headers["Content-Type"]
            return response
        try:
            text = self.adapter.dump_json(body, by_alias=True, warnings="error")
        except PydanticSerializationError:
            # pydantic's message has the value, which may be a secret, and would be logged.
            message = f"the view returned a {type(body).__name__} that is not as it declares"
            raise TypeError(message) from None
        return current_app.response_class(text, self.status, mimetype="application/json")


def output(view: Callable[..., object], status: int | None) -> Output:
    """Return the response that a view declares. No body is 204 unless a `status` is given.

    Raises:
        TypeError: the view has no return annotation, or its tuples have several types of bodies.
    """
    hints = get_type_hints(view, include_extras=True)
    if "return" not in hints:
        message = f"{view.__module__}.{view.__qualname__}: the returned type is not declared"
        raise TypeError(message)
    bodies = dict.fromkeys(map(_body, filter(_is_no_response, _members(hints["return"]))))
    if not bodies or bodies.keys() == {NoneType}:
        has_body = not bodies and status is None
        return Output(status or (HTTPStatus.OK if has_body else HTTPStatus.NO_CONTENT), None)
    union: Any = Union[tuple(bodies)]  # noqa: UP007 - made at run time
    return Output(status or HTTPStatus.OK, TypeAdapter(union))


def _members(hint: Any) -> tuple[Any, ...]:  # noqa: ANN401 - any annotation
    return get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)


def _is_no_response(hint: object) -> bool:
    return not (isinstance(hint, type) and issubclass(hint, AnyResponse))


def _body(hint: Any) -> Any:  # noqa: ANN401 - any annotation
    """Return the type of the body in a return annotation: the first item of a tuple."""
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return get_args(plain)[0] if get_origin(plain) is tuple else hint
