"""Pydantic and Flask under typed views: validation, and the OpenAPI document."""

import inspect
from typing import Annotated

from flask import Flask
from pydantic import BaseModel, Field
from typed_views import Body, InvalidRequest, Query, describe, typed

app = Flask(__name__)


class Item(BaseModel):
    name: Annotated[str, Field(min_length=1)]
    count: int = 1


@app.post("/<int:shop>")
@typed(status=201)
async def place(
    shop: int, items: Annotated[list[Item], Body()], tag: Annotated[list[str], Query()]
) -> dict[str, int]:
    return {"count": shop + sum(item.count for item in items), "tags": len(tag)}


@app.errorhandler(InvalidRequest)
def invalid(error: InvalidRequest) -> tuple[list[str], int]:
    return [each.get("pointer", "") or each.get("parameter", "") for each in error.errors], 422


def test_a_valid_request_is_typed_and_an_invalid_request_has_faults() -> None:
    client = app.test_client()

    assert inspect.iscoroutinefunction(app.view_functions["place"])
    response = client.post("/1?tag=a&tag=b", json=[{"name": "a"}, {"name": "b", "count": 2}])
    assert (response.status_code, response.get_json()) == (201, {"count": 4, "tags": 2})
    response = client.post("/1", json=[{"name": ""}, {"name": "b", "count": "2"}])
    assert (response.status_code, response.get_json()) == (422, ["tag", "#/0/name", "#/1/count"])
    assert client.post("/1?tag=a", data="[").status_code == 415


def test_the_document_has_the_types_of_the_view() -> None:
    document = describe(app, title="Shop", version="1")

    assert document["components"]["schemas"]["Item"]["required"] == ["name"]
    parameters = document["paths"]["/{shop}"]["post"]["parameters"]
    assert {each["name"]: each["required"] for each in parameters} == {"shop": True, "tag": True}
