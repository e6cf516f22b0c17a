"""The inputs of a view from a request, and the refused requests."""

import datetime as dt
import json
from typing import Annotated, Any
from urllib.parse import unquote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from typed_views import Body, Form, Header, Query, typed
from werkzeug.test import TestResponse

from . import shop

ORDERS = "/shops/7/orders"
TEA = {"sku": "TEA", "quantity": 2}


def errors(response: TestResponse) -> list[dict[str, str]]:
    """Check that a response is the problem of invalid requests; return its faults."""
    body: dict[str, Any] = json.loads(response.data)
    assert response.status_code == body["status"] == 422
    assert response.content_type == "application/problem+json"
    assert body["type"] == "urn:problem-type:invalid-request"
    return list(body["errors"])


def test_a_view_gets_values_of_path_query_header_and_body(client: FlaskClient) -> None:
    body = {"items": [TEA | {"due": "2026-11-30"}], "payment": {"kind": "invoice"}}

    response = client.post(f"{ORDERS}?dry_run=yes", json=body, headers={"X-Tenant": "me"})

    assert response.status_code == 201
    receipt = shop.Receipt.model_validate_json(response.data)
    assert receipt.id == 7
    assert receipt.total == 0
    assert receipt.order.items[0].due == dt.date(2026, 11, 30)
    assert response.headers["X-Tenant"] == "me"


def test_a_model_can_hold_a_whole_query(client: FlaskClient) -> None:
    response = client.get("/things?tag=A&tag=B&tag=C&limit=2&page-token=x&unknown=1")

    assert response.get_json() == ["A", "B"]


def test_a_model_can_hold_a_whole_form(client: FlaskClient) -> None:
    fields = {"name": "Ann", "age": "7", "roles": ["admin", "user"]}

    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        response = client.post("/login", data=fields, content_type=content_type)
        assert response.get_json() == {"Ann": 7}


def test_a_form_can_have_single_fields_and_headers_a_model() -> None:
    app = Flask(__name__)

    class Caller(BaseModel):
        x_tenant: str
        accept_language: list[str] = []
        trace: Annotated[str, Field(alias="X-Trace")] = ""

    @app.post("/")
    @typed()
    def view(
        name: Annotated[str, Form()],
        caller: Annotated[Caller, Header()],
        copy: Annotated[int, Query()],
    ) -> list[str]:
        return [name, caller.x_tenant, *caller.accept_language, caller.trace, str(copy)]

    headers = {"X-Tenant": "t", "Accept-Language": "de, en", "x-trace": "1"}
    response = app.test_client().post("/?copy=3", data={"name": "n"}, headers=headers)

    assert response.get_json() == ["n", "t", "de", "en", "1", "3"]


def test_a_marker_may_be_the_class_itself() -> None:
    app = Flask(__name__)

    @app.get("/")
    @typed()
    def view(number: Annotated[int, Query]) -> int:
        return number

    assert app.test_client().get("/?number=3").get_json() == 3


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({}, "#/items", "Field required"),
        ([], "#", "Input should be an object"),
        ({"items": []}, "#/items", "List should have at least 1 item"),
        ({"items": [TEA, {"quantity": 1}]}, "#/items/1/sku", "Field required"),
        ({"items": [TEA | {"quantity": "2"}]}, "#/items/0/quantity", "Input should be a valid int"),
        (
            {"items": [TEA | {"quantity": True}]},
            "#/items/0/quantity",
            "Input should be a valid int",
        ),
        (
            {"items": [TEA | {"a/b~c d\u00e9": 1}]},
            "#/items/0/a~1b~0c%20d%C3%A9",
            "Extra inputs are",
        ),
        ({"items": [TEA | {"due": 20261130}]}, "#/items/0/due", "Input should be a valid date"),
        ({"items": {}}, "#/items", "Input should be a valid array"),
    ],
)
def test_a_fault_of_the_body_has_a_json_pointer(
    client: FlaskClient, body: object, pointer: str, detail: str
) -> None:
    (fault,) = errors(client.post(ORDERS, json=body))

    assert fault["pointer"] == pointer
    assert fault["detail"].startswith(detail)


@pytest.mark.parametrize("number", ["2.0", "2e0", "20E-1"])
def test_a_number_without_a_fraction_is_an_integer(client: FlaskClient, number: str) -> None:
    data = '{"items": [{"sku": "TEA", "quantity": ' + number + "}]}"

    response = client.post(ORDERS, data=data, content_type="application/json")

    assert response.status_code == 201
    assert response.get_json()["order"]["items"][0]["quantity"] == 2
    for other in ("2.5", "-1.0", '"2.0"', "1e300"):
        bad = data.replace(number, other)
        faults = errors(client.post(ORDERS, data=bad, content_type="application/json"))
        assert [fault["pointer"] for fault in faults] == ["#/items/0/quantity"]


def test_a_pointer_omits_the_tag_of_a_union(client: FlaskClient) -> None:
    body = {"items": [TEA], "payment": {"kind": "card"}}

    faults = errors(client.post(ORDERS, json=body))

    assert {"#/payment/number", "#/payment/kind"} == {fault["pointer"] for fault in faults}


class Tree(BaseModel):
    """Data whose keys are not declared."""

    model_config = ConfigDict(extra="forbid")

    leaf: int
    more: "dict[str, Tree | int]" = {}


def resolve(data: Any, pointer: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the value at a JSON pointer (RFC 6901)."""
    for token in unquote(pointer[1:]).split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data


TREES = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers()),
    lambda inner: st.dictionaries(
        st.sampled_from(["leaf", "more", "a/b", "~", "%", "0", ""]), inner, max_size=4
    ),
)


@given(TREES)
def test_every_pointer_points_into_the_body(data: object) -> None:
    app = shop.create_app()

    @app.post("/")
    @typed()
    def view(tree: Annotated[Tree, Body()]) -> None:
        del tree

    response = app.test_client().post("/", json=data)

    for fault in errors(response) if response.status_code != 204 else []:
        pointer = fault["pointer"]
        if fault["detail"] == "Field required":
            pointer, _, missing = pointer.rpartition("/")
            assert missing not in resolve(data, pointer)
        resolve(data, pointer)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=x", [("limit", "Input should be a valid integer")]),
        ("limit=", [("limit", "Input should be a valid integer")]),
        ("limit=51", [("limit", "Input should be less than or equal to 50")]),
        ("limit=1&limit=2", [("limit", "Given 2 times; accepted: once")]),
        ("page-token=0123456789", [("page-token", "String should have at most 9")]),
        ("tag=A&tag=b", [("tag", "String should match")]),
        ("tag=a&limit=0", [("tag", "String"), ("limit", "Input should be greater")]),
    ],
)
def test_a_fault_of_the_query_names_the_parameter(
    client: FlaskClient, query: str, expected: list[tuple[str, str]]
) -> None:
    faults = errors(client.get(f"/things?{query}"))

    assert [name for name, _ in expected] == [fault["parameter"] for fault in faults]
    for (_, detail), fault in zip(expected, faults, strict=True):
        assert fault["detail"].startswith(detail)


def test_a_fault_of_the_path_and_of_a_header_names_it(client: FlaskClient) -> None:
    assert errors(client.get("/items/tea"))[0]["parameter"] == "sku"

    app = shop.create_app()

    @app.get("/header")
    @typed()
    async def view(x_count: Annotated[int, Header()]) -> int:
        return x_count

    client = app.test_client()
    assert errors(client.get("/header"))[0]["header"] == "x-count"
    assert errors(client.get("/header", headers={"X-Count": "x"}))[0]["header"] == "x-count"


def test_a_fault_of_a_form_has_a_pointer(client: FlaskClient) -> None:
    faults = errors(client.post("/login", data={"age": "x", "more": "1", "roles": "root"}))

    assert {"#/name", "#/age", "#/more", "#/roles/0"} == {fault["pointer"] for fault in faults}
    faults = errors(client.post("/login", data={"name": ["a", "b"]}))
    assert faults == [{"pointer": "#/name", "detail": "Given 2 times; accepted: once"}]


def test_one_response_reports_the_faults_of_all_places(client: FlaskClient) -> None:
    faults = errors(client.post(f"{ORDERS}?dry_run=maybe", json={}))

    assert [fault.get("parameter") or fault["pointer"] for fault in faults] == [
        "dry_run",
        "#/items",
    ]
    detail = client.post(f"{ORDERS}?dry_run=maybe", json={}).get_json()["detail"]
    assert detail == ("The request is invalid: dry_run: Input should be 'yes' or 'no' (1 more)")


@pytest.mark.parametrize(
    ("data", "content_type", "status", "detail"),
    [
        (b"{", "application/json", 400, "The body is not valid JSON: Expecting property name"),
        (b"", "application/json", 400, "The body is not valid JSON"),
        (
            b'{"items": NaN}',
            "application/json",
            400,
            "The body is not valid JSON: NaN is not a number",
        ),
        (
            b"[" * 3000 + b"]" * 3000,
            "application/json",
            400,
            "The body is not valid JSON: Nested more than 100",
        ),
        (b'"\\ud800"', "application/json", 400, "The body is not valid JSON: Half of a surrogate"),
        (b'"\xff"', "application/json", 400, "The body is not valid JSON: Not UTF-8 at byte 2"),
        (b"{}", "text/plain", 415, "The Content-Type of the request is not application/json."),
        (b"{}", None, 415, "The Content-Type of the request is not application/json."),
    ],
)
def test_a_body_without_valid_json_is_refused_before_validation(
    client: FlaskClient, data: bytes, content_type: str | None, status: int, detail: str
) -> None:
    response = client.post(ORDERS, data=data, content_type=content_type)

    assert response.status_code == status
    assert response.get_json(force=True)["detail"].startswith(detail)
    assert response.content_type == "application/problem+json"


def test_json_with_a_byte_order_mark_is_accepted(client: FlaskClient) -> None:
    data = b"\xef\xbb\xbf" + json.dumps({"items": [TEA]}).encode()

    response = client.post(ORDERS, data=data, content_type="application/json")

    assert response.status_code == 201


def test_a_body_of_another_type_than_a_form_gets_415(client: FlaskClient) -> None:
    response = client.post("/login", json={"name": "x"})

    assert response.status_code == 415
    assert "multipart/form-data" in response.get_json()["detail"]


def test_a_body_over_the_limit_gets_413(app: Flask, client: FlaskClient) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 10

    assert client.post(ORDERS, json={"items": [TEA]}).status_code == 413


def test_thousands_of_faults_are_counted_and_not_listed(client: FlaskClient) -> None:
    numbers = json.dumps(["x"] * 5000)
    thing = "/things/00000000-0000-0000-0000-000000000000"

    response = client.put(thing, data=numbers, content_type="application/json")

    assert errors(response) == [{"pointer": "#", "detail": "5000 faults"}]


def test_long_inputs_do_not_make_the_response_long(client: FlaskClient) -> None:
    long = "n" * 100_000

    for response in (
        client.post(ORDERS, json={"items": [TEA | {long: 1}] * 20, long: 1}),
        client.get(f"/things?limit={long}"),
        client.post("/login", data={long: "1"}),
    ):
        assert errors(response)
        assert len(response.data) < 10_000


@pytest.mark.parametrize(
    "body",
    [{"items": [{"sku": "s3cret", "quantity": 1}]}, {"s3cret": 1}, ["s3cret"]],
)
def test_no_value_of_a_request_is_logged(
    client: FlaskClient, body: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    errors(client.post(f"{ORDERS}?dry_run=s3cret", json=body))

    assert "s3cret" not in caplog.text


def declare(**annotations: Any) -> None:  # noqa: ANN401 - any types
    """Declare a view with these annotations."""
    names = ", ".join(f"{name}=default" if name.endswith("_d") else name for name in annotations)
    namespace: dict[str, Any] = {"default": 1}
    exec(f"def view({names}): ...", namespace)  # noqa: S102 - names from this module
    namespace["view"].__annotations__ = annotations | {"return": None}
    typed()(namespace["view"])


@pytest.mark.parametrize(
    ("annotations", "fault"),
    [
        ({"a": Annotated[int, Body()], "b": Annotated[int, Body()]}, "body"),
        ({"a_d": Annotated[int, Body()]}, "body"),
        ({"a": Annotated[int, Body()], "b": Annotated[int, Form()]}, "one body"),
        ({"a": Annotated[shop.Login, Query()], "b": Annotated[int, Query()]}, "for the query"),
        ({"a_d": Annotated[shop.Login, Query()]}, "default"),
    ],
)
def test_an_invalid_declaration_is_an_error_at_once(
    annotations: dict[str, Any], fault: str
) -> None:
    with pytest.raises(TypeError, match=f"view: .*{fault}"):
        declare(**annotations)


def test_a_parameter_without_a_type_is_an_error_at_once() -> None:
    def no_type(thing) -> None: ...  # type: ignore[no-untyped-def] # noqa: ANN001 - the mistake

    def no_return(thing: int): ...  # type: ignore[no-untyped-def] # noqa: ANN202 - the mistake

    def no_names(*things: int) -> None: ...

    for view, fault in ((no_type, "thing"), (no_return, "returned"), (no_names, "things")):
        with pytest.raises(TypeError, match=fault):
            typed()(view)


ITEMS = st.builds(
    shop.Item,
    sku=st.from_regex("[A-Z]{1,5}", fullmatch=True),
    quantity=st.integers(1, 100),
    due=st.none() | st.dates(),
)


@given(ITEMS)
def test_a_valid_item_round_trips(item: shop.Item) -> None:
    app = Flask(__name__)
    taken = []

    @app.post("/")
    @typed()
    def view(item: Annotated[shop.Item, Body()]) -> shop.Item:
        taken.append(item)
        return item

    data = TypeAdapter(shop.Item).dump_json(item)
    response = app.test_client().post("/", data=data, content_type="application/json")

    assert response.status_code == 200
    assert taken == [item]
    assert response.data == data
