"""The document describes the inputs and responses of the views, and is reproducible."""

import json
from typing import Annotated, Any

import pytest
from flask import Flask
from openapi_spec_validator import validate
from pydantic import create_model
from typed_views import Body, Problem, Query, describe, document_text, typed

from . import shop


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    """The document of the shop."""
    return shop.document(app)


def responses(document: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    """The responses of an operation, by their status."""
    found = document["paths"][path][method]["responses"]
    shared = document["components"]["responses"]
    return {
        status: shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        for status, each in found.items()
    }


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_the_document_is_valid_without_any_view() -> None:
    document = describe(Flask(__name__), title="Empty", version="1")

    validate(document)
    assert document["paths"] == {}


def test_the_document_has_exactly_the_typed_views(document: dict[str, Any]) -> None:
    operations = {
        (path, method): each["operationId"]
        for path, methods in document["paths"].items()
        for method, each in methods.items()
    }

    assert operations == {
        ("/items/{sku}", "get"): "item",
        ("/login", "post"): "login",
        ("/shops/{shop}/orders", "post"): "place_order",
        ("/things", "get"): "things",
        ("/things/{thing}", "get"): "get_thing",
        ("/things/{thing}", "put"): "put_thing",
        ("/things/{thing}", "delete"): "delete_thing",
    }


def test_an_operation_describes_its_inputs_and_responses(document: dict[str, Any]) -> None:
    operation = document["paths"]["/shops/{shop}/orders"]["post"]

    assert operation["tags"] == ["shop"]
    assert operation["summary"] == "Place an order."
    assert operation["description"] == "The receipt has no price of a dry run."
    assert operation["security"] == [{"bearer": ["orders:write"]}]
    assert [(each["in"], each["name"], each["required"]) for each in operation["parameters"]] == [
        ("path", "shop", True),
        ("query", "dry_run", False),
        ("header", "x-tenant", False),
    ]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Order"}
    statuses = {int(status) for status in operation["responses"]}
    assert statuses == {201, 400, 401, 403, 404, 413, 415, 422, 429, 500}
    answers = responses(document, "/shops/{shop}/orders", "post")
    assert "Retry-After" in answers["429"]["headers"]
    assert "WWW-Authenticate" in answers["401"]["headers"]


def test_a_parameter_has_its_type_and_default_and_no_null(document: dict[str, Any]) -> None:
    parameters = {each["name"]: each for each in document["paths"]["/things"]["get"]["parameters"]}

    assert parameters["limit"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 50,
        "default": 10,
    }
    assert parameters["limit"]["description"] == "How many at most."
    assert parameters["page-token"]["schema"] == {"type": "string", "maxLength": 9}
    assert parameters["tag"]["schema"]["type"] == "array"


def test_an_operation_lists_all_its_problems(document: dict[str, Any]) -> None:
    kinds = {
        (status, example["value"]["type"])
        for status, response in responses(document, "/items/{sku}", "get").items()
        if int(status) >= 400
        for example in response["content"]["application/problem+json"]["examples"].values()
    }

    assert kinds == {
        ("404", "about:blank"),
        ("404", "urn:problem-type:no-thing"),
        ("422", "urn:problem-type:invalid-request"),
        ("500", "about:blank"),
    }


def test_a_view_without_inputs_has_no_client_errors(app: Flask) -> None:
    @app.get("/nothing")
    @typed()
    def nothing() -> int:
        return 1

    assert [*shop.document(app)["paths"]["/nothing"]["get"]["responses"]] == ["200", "500"]


def test_the_order_of_registration_changes_nothing() -> None:
    def text(*, turned: bool) -> str:
        app = Flask(__name__)

        @typed()
        def one(order: Annotated[shop.Order, Body()]) -> shop.Receipt:
            raise NotImplementedError(order)

        @typed()
        async def two(filters: Annotated[shop.Filters, Query()]) -> shop.Order:
            raise NotImplementedError(filters)

        if turned:
            app.add_url_rule("/two", view_func=two, methods=["POST"])
        app.add_url_rule("/one", view_func=one, methods=["POST"])
        if not turned:
            app.add_url_rule("/two", view_func=two, methods=["POST"])
        return document_text(describe(app, title="x", version="1"))

    assert text(turned=False) == text(turned=True)


def test_the_text_is_the_document_as_json(document: dict[str, Any]) -> None:
    text = document_text(document)

    assert json.loads(text) == document
    assert text.endswith("}\n")


def test_models_with_the_same_name_get_different_schemas() -> None:
    app = Flask(__name__)
    for number in range(2):
        fields: dict[str, Any] = {f"a{number}": int}
        model = create_model("Same", **fields)

        def view(body: object) -> None:
            del body

        view.__name__ = f"view{number}"
        view.__annotations__ = {"body": Annotated[model, Body()], "return": None}
        app.add_url_rule(f"/{number}", view_func=typed()(view), methods=["POST"])

    document = describe(app, title="x", version="1")
    validate(document)
    schemas = [
        document["paths"][f"/{number}"]["post"]["requestBody"]["content"]["application/json"][
            "schema"
        ]
        for number in range(2)
    ]
    assert schemas[0] != schemas[1]


def test_two_views_with_the_same_id_are_an_error(app: Flask) -> None:
    def view() -> int:
        return 1

    for number in range(2):
        app.add_url_rule(f"/{number}", f"view{number}", typed()(view))
    with pytest.raises(ValueError, match="view1 has the operation id of view0"):
        shop.document(app)


def test_an_id_can_be_given(app: Flask) -> None:
    @app.get("/named")
    @typed(operation_id="theName")
    def named() -> int:
        return 1

    assert shop.document(app)["paths"]["/named"]["get"]["operationId"] == "theName"


@pytest.mark.parametrize("rule", ["/<int:other>", "/", "/<int:number>/<other>"])
def test_variables_of_the_url_that_the_view_does_not_declare_are_an_error(
    app: Flask, rule: str
) -> None:
    @typed()
    def view(number: int) -> int:
        return number

    app.add_url_rule(rule, view_func=view)
    with pytest.raises(ValueError, match="differ in the parameters"):
        shop.document(app)


def test_an_unknown_security_scheme_is_an_error(app: Flask) -> None:
    with pytest.raises(ValueError, match="names the security scheme bearer"):
        describe(app, title="x", version="1")


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/<a>", "/{a}"),
        ("/<int(min=1, max=5):a>", "/{a}"),
        ('/<any("x", "y.js"):a>/z', "/{a}/z"),
        ("/<path:a>", "/{a}"),
        ("/v1/<string(length=2):a>.json", "/v1/{a}.json"),
    ],
)
def test_a_rule_becomes_a_path(rule: str, path: str) -> None:
    app = Flask(__name__)

    @app.get(rule)
    @typed()
    def view(a: str) -> str:
        return a

    document = describe(app, title="x", version="1")
    assert [*document["paths"]] == [path]
    validate(document)


def test_problems_with_the_same_status_are_one_response() -> None:
    app = Flask(__name__)
    problems = [Problem(502, "One.", "urn:x:one"), Problem(502, "Two.", "urn:x:two", shop.Login)]

    @app.get("/")
    @typed(problems=problems)
    def view() -> int:
        return 1

    document = describe(app, title="x", version="1")
    response = responses(document, "/", "get")["502"]
    assert response["description"] == "One. Two."
    assert {*response["content"]["application/problem+json"]["examples"]} == {"one", "two"}
    assert "Login" in document["components"]["schemas"]
    validate(document)


def test_a_shared_response_is_defined_once(document: dict[str, Any]) -> None:
    shared = document["components"]["responses"]
    referred = [
        response["$ref"]
        for path in document["paths"].values()
        for operation in path.values()
        for response in operation["responses"].values()
        if "$ref" in response
    ]

    assert len(referred) > len({*referred}) == len(shared)
    assert [*shared] == sorted(shared)


def test_different_responses_with_the_same_status_get_different_names() -> None:
    app = Flask(__name__)
    for number in range(3):

        def view() -> int:
            return 1

        problem = Problem(404, "One." if number < 2 else "Another.")
        decorated = typed(problems=[problem], operation_id=f"id{number}")(view)
        app.add_url_rule(f"/{number}", f"view{number}", decorated)

    document = describe(app, title="x", version="1")
    described = [responses(document, f"/{number}", "get")["404"] for number in range(3)]

    assert [each["description"] for each in described] == ["One.", "One.", "Another."]
    assert [*document["components"]["responses"]] == ["NotFound", "NotFound2"]
