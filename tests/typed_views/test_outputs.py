"""The response of a view: the status, the body and its type."""

import traceback
from collections.abc import Callable
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from pydantic import BaseModel, Field
from typed_views import typed


class Person(BaseModel):
    """The public fields of a person."""

    name: Annotated[str, Field(alias="full-name")]


class Member(Person):
    """A person with private fields."""

    password: str


ANN = Person(**{"full-name": "Ann"})


def person() -> Person:
    """Return a model."""
    return ANN


def with_headers() -> tuple[Person, dict[str, str]]:
    """Return a model with headers."""
    return ANN, {"X-A": "b"}


def with_status() -> tuple[Person, int] | Person:
    """Return a model with a status."""
    return ANN, 202


def with_both() -> tuple[Person, int, dict[str, str]]:
    """Return a model with both."""
    return ANN, 202, {"X-A": "b"}


def own_response() -> Person | Response:
    """Return a response."""
    return Response("own", 418)


def own_response_alone() -> Response:
    """Return a response, without any other declaration."""
    return Response("own", 418)


def nothing() -> None:
    """Return nothing."""


def numbers() -> dict[str, list[Decimal]]:
    """Return plain types."""
    return {"a": [Decimal("1.50")]}


def subclass() -> Person:
    """Return more than is declared."""
    return Member(**{"full-name": "Ann", "password": "s3cret"})


def answer(view: Callable[..., object], status: int | None = None) -> Any:  # noqa: ANN401 - of a test
    """The response of an application with only this view."""
    app = Flask(__name__)
    app.testing = True
    app.add_url_rule("/", view_func=typed(status=status)(view))
    return app.test_client().get("/")


@pytest.mark.parametrize(
    ("view", "status", "text"),
    [
        (person, 200, '{"full-name":"Ann"}'),
        (with_headers, 200, '{"full-name":"Ann"}'),
        (with_status, 202, '{"full-name":"Ann"}'),
        (with_both, 202, '{"full-name":"Ann"}'),
        (own_response, 418, "own"),
        (own_response_alone, 418, "own"),
        (nothing, 204, ""),
        (numbers, 200, '{"a":["1.50"]}'),
        (subclass, 200, '{"full-name":"Ann"}'),
    ],
)
def test_the_response_matches_the_declaration_of_the_view(
    view: Callable[..., object], status: int, text: str
) -> None:
    response = answer(view)

    assert (response.status_code, response.text) == (status, text)
    if text.startswith("{"):
        assert response.content_type == "application/json"
    assert (response.headers.get("X-A") == "b") is (view in (with_headers, with_both))


def test_a_status_is_declared_once_for_all_responses() -> None:
    assert answer(person, HTTPStatus.CREATED).status_code == 201
    assert answer(nothing, HTTPStatus.ACCEPTED).status_code == 202


def test_a_response_without_a_body_has_no_content_type() -> None:
    assert "Content-Type" not in answer(nothing).headers


def test_a_body_of_an_undeclared_type_is_an_error_of_the_service() -> None:
    def view() -> Person:
        return {"full-name": "s3cret"}  # type: ignore[return-value] # the bug

    with pytest.raises(TypeError, match="returned a dict that is not as it declares") as error:
        answer(view)
    assert "s3cret" not in "".join(traceback.format_exception(error.value))


def test_a_view_can_return_its_own_response(client: FlaskClient) -> None:
    response = client.get("/items/GONE")

    assert response.status_code == 404
    assert response.get_json()["type"] == "urn:problem-type:no-thing"
