"""The OpenAPI 3.1 document of an application, from what its typed views declare."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Flask
from pydantic import TypeAdapter
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.routing import Rule

from ._inputs import FORM_TYPES
from ._problem import (
    FORBIDDEN,
    INVALID,
    NOT_FOUND,
    TOO_LARGE,
    UNAUTHORIZED,
    UNREADABLE,
    WRONG_TYPE,
    Problem,
    ProblemDetails,
)
from ._typed import Declaration, declaration

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaMode

_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")
_VARIABLE = re.compile(r"<(?:[^<>:]*(?:\([^<>]*\))?:)?([^<>:]+)>")
_REF = "#/components/schemas/"

Json = dict[str, Any]


class Operation(NamedTuple):
    """A typed view at a path and a method of HTTP."""

    path: str
    method: str
    endpoint: str
    declared: Declaration


def describe(  # noqa: PLR0913 - the parts of a document
    app: Flask,
    *,
    title: str,
    version: str,
    description: str = "",
    servers: Sequence[str] = ("/",),
    problems: Iterable[Problem] = (),
    security_schemes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Json:
    """Return the OpenAPI document of all typed views of an application.

    It is the same for the same views, whatever the order in which they were registered.

    Args:
        app: the application, with all its views registered.
        title: of the service.
        version: of its API.
        description: of the service, in Markdown.
        servers: URLs; a relative one starts at the document.
        problems: the problems that every operation can answer with.
        security_schemes: the schemes that views name, as OpenAPI's Security Scheme Objects.

    Raises:
        ValueError: two views have the same operation id, a view's parameters differ from those of
            its URL, or it names an unknown security scheme.
    """
    operations = sorted(_operations(app), key=lambda each: each[:3])
    schemas = _Schemas(operations, tuple(problems))
    paths: dict[str, Json] = {}
    ids: dict[str, str] = {}
    for operation in operations:
        described = _describe(operation, schemas, tuple(problems))
        known = ids.setdefault(described["operationId"], operation.endpoint)
        if known != operation.endpoint:
            _refuse(operation, f"has the operation id of {known}; give one of them another")
        if unknown := operation.declared.security.keys() - (security_schemes or {}).keys():
            _refuse(operation, f"names the security scheme {min(unknown)}, which is not there")
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    components: Json = {"responses": _shared(paths)}
    components["schemas"] = schemas.used_by([paths, components["responses"]])
    if security_schemes:
        components["securitySchemes"] = dict(security_schemes)
    info = {"title": title, "version": version}
    return {
        "openapi": "3.1.0",
        "info": info | ({"description": description} if description else {}),
        "servers": [{"url": url} for url in servers],
        "paths": paths,
        "components": components,
    }


def _refuse(operation: Operation, fault: str) -> None:
    message = f"{operation.endpoint} {fault}"
    raise ValueError(message)


def _operations(app: Flask) -> Iterator[Operation]:
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        view_class = getattr(view, "view_class", None)
        for method in (each for each in _METHODS if each in (rule.methods or ())):
            handler = getattr(view_class, method.lower(), None) if view_class else view
            if (declared := declaration(handler)) is not None:
                yield _operation(rule, method, declared)


def _operation(rule: Rule, method: str, declared: Declaration) -> Operation:
    path = _VARIABLE.sub(r"{\1}", rule.rule)
    operation = Operation(path, method, rule.endpoint, declared)
    taken = {key for each in declared.inputs.fields if each.place == "path" for key in each.keys}
    if taken != rule.arguments:
        wrong = ", ".join(sorted(taken ^ rule.arguments))
        _refuse(operation, f"and its URL {rule.rule} differ in the parameters {wrong}")
    return operation


class _Schemas:
    """The JSON schemas of all operations, generated at once so that no two have one name."""

    def __init__(self, operations: Sequence[Operation], problems: Sequence[Problem]) -> None:
        adapters: dict[tuple[int, JsonSchemaMode], TypeAdapter[Any]] = {}
        self._of_models: dict[type, TypeAdapter[Any]] = {}
        for model in (ProblemDetails, *_models(operations, problems)):
            self._of_models.setdefault(model, TypeAdapter(model))
        for adapter in self._of_models.values():
            adapters[id(adapter), "validation"] = adapter
        for operation in operations:
            declared = operation.declared
            if declared.inputs.body is not None:
                adapter = declared.inputs.body.adapter
                adapters[id(adapter), "validation"] = adapter
            if declared.output.adapter is not None:
                adapters[id(declared.output.adapter), "serialization"] = declared.output.adapter
        found, definitions = TypeAdapter.json_schemas(
            [(key, key[1], adapter) for key, adapter in adapters.items()],
            ref_template=_REF + "{model}",
        )
        self._schemas = {key: schema for (key, _), schema in found.items()}
        self._definitions: Json = definitions.get("$defs", {})

    def validated(self, adapter: TypeAdapter[Any]) -> Json:
        """Return the schema of values that the adapter validates."""
        return self._schemas[id(adapter), "validation"]

    def serialised(self, adapter: TypeAdapter[Any]) -> Json:
        """Return the schema of values that the adapter serialises."""
        return self._schemas[id(adapter), "serialization"]

    def of(self, model: type) -> Json:
        """Return the schema of a model, which is a reference."""
        return self.validated(self._of_models[model])

    def inline(self, model: type) -> Json:
        """Return the schema of a model itself."""
        schema = self.of(model)
        return self._definitions[name] if (name := _referred(schema)) is not None else schema

    def used_by(self, described: object) -> Json:
        """Return the definitions that `described` uses, by their names."""
        used: set[str] = set()
        todo = [*_references(described)]
        while todo:
            if (name := todo.pop()) not in used:
                used.add(name)
                todo += _references(self._definitions[name])
        return {name: self._definitions[name] for name in sorted(used)}


def _models(operations: Sequence[Operation], problems: Sequence[Problem]) -> Iterator[type]:
    for operation in operations:
        for problem in _problems(operation, problems):
            if problem.members is not None:
                yield problem.members
        yield from (fields.model for fields in operation.declared.inputs.fields)


def _referred(schema: Json) -> str | None:
    ref = schema.get("$ref")
    return ref.removeprefix(_REF) if isinstance(ref, str) and ref.startswith(_REF) else None


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if (name := _referred(schema)) is not None:
            yield name
        for each in schema.values():
            yield from _references(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _references(each)


def _describe(operation: Operation, schemas: _Schemas, problems: Sequence[Problem]) -> Json:
    declared = operation.declared
    summary, _, more = cleandoc(declared.view.__doc__ or "").partition("\n")
    described: Json = {"operationId": _operation_id(operation)}
    if blueprint := operation.endpoint.rpartition(".")[0]:
        described["tags"] = [blueprint]
    if summary:
        described["summary"] = summary
    if more.strip():
        described["description"] = more.strip()
    if parameters := [*_parameters(declared, schemas)]:
        described["parameters"] = parameters
    if (body := _request_body(declared, schemas)) is not None:
        described["requestBody"] = body
    described["responses"] = _responses(operation, schemas, problems)
    if declared.security:
        described["security"] = [{name: list(scopes)} for name, scopes in declared.security.items()]
    return described


def _operation_id(operation: Operation) -> str:
    if operation.declared.operation_id is not None:
        return operation.declared.operation_id
    name = getattr(operation.declared.view, "__name__", "")
    if name == operation.method.lower():  # a method of a `MethodView`
        return f"{name}_{operation.endpoint.rpartition('.')[2]}"
    return name


def _parameters(declared: Declaration, schemas: _Schemas) -> Iterator[Json]:
    for fields in declared.inputs.fields:
        if fields.place == "form":
            continue
        schema = schemas.inline(fields.model)
        required = schema.get("required", [])
        for name, key in fields.keys.items():
            of_field = _of_text(schema["properties"][key])
            parameter: Json = {"name": name, "in": fields.place, "required": key in required}
            if (text := of_field.pop("description", None)) is not None:
                parameter["description"] = text
            yield parameter | {"schema": of_field}


def _of_text(schema: Json) -> Json:
    """Return the schema of a field without null, which text cannot express."""
    plain = {name: each for name, each in schema.items() if name != "title"}
    if plain.get("default", ...) is None:
        del plain["default"]
    if "anyOf" in plain:
        options = [each for each in plain["anyOf"] if each != {"type": "null"}]
        plain = plain | {"anyOf": options}
        if len(options) == 1:
            del plain["anyOf"]
            plain |= options[0]
    return plain


def _request_body(declared: Declaration, schemas: _Schemas) -> Json | None:
    if (body := declared.inputs.body) is not None:
        schema = schemas.validated(body.adapter)
        return {"required": True, "content": {"application/json": {"schema": schema}}}
    for fields in declared.inputs.fields:
        if fields.place == "form":
            schema = schemas.of(fields.model) if fields.argument else schemas.inline(fields.model)
            content = {name: {"schema": schema} for name in FORM_TYPES}
            return {"required": True, "content": content}
    return None


def _problems(operation: Operation, everywhere: Sequence[Problem]) -> Iterator[Problem]:
    declared = operation.declared
    places: set[str] = {each.place for each in declared.inputs.fields}
    if declared.inputs.body is not None:
        yield UNREADABLE
    if "path" in places:
        yield NOT_FOUND
    if declared.inputs.body is not None or "form" in places:
        yield from (TOO_LARGE, WRONG_TYPE)
    if declared.inputs.sources:
        yield INVALID
    if declared.security:
        yield from (UNAUTHORIZED, FORBIDDEN)
    yield from declared.problems
    yield from everywhere


def _responses(operation: Operation, schemas: _Schemas, problems: Sequence[Problem]) -> Json:
    output = operation.declared.output
    success: Json = {"description": HTTP_STATUS_CODES.get(output.status, "")}
    if output.adapter is not None:
        schema = schemas.serialised(output.adapter)
        success["content"] = {"application/json": {"schema": schema}}
    by_status: dict[int, list[Problem]] = {}
    for problem in sorted(_problems(operation, problems), key=lambda each: each.status):
        by_status.setdefault(problem.status, []).append(problem)
    failures = {str(status): _failure(each, schemas) for status, each in by_status.items()}
    return {str(output.status): success} | failures


def _shared(paths: Json) -> Json:
    """Replace the responses for problems in all operations by references; return them by name.

    Most operations have most of these responses in common.
    """
    names: dict[str, str] = {}
    shared: Json = {}
    for path in paths.values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if "application/problem+json" in response.get("content", {}):
                    title = HTTP_STATUS_CODES.get(int(status), "").replace(" ", "")
                    known = sum(each.startswith(title) for each in shared)
                    name = names.setdefault(str(response), f"{title}{known + 1 if known else ''}")
                    shared[name] = response
                    operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}
    return dict(sorted(shared.items()))


def _failure(problems: Sequence[Problem], schemas: _Schemas) -> Json:
    """Return the response for all problems of one status."""
    options: list[Json] = []
    for problem in problems:
        schema = schemas.of(ProblemDetails)
        if problem.members is not None:
            members = schemas.of(problem.members)
            is_whole = issubclass(problem.members, ProblemDetails)
            schema = members if is_whole else {"allOf": [schema, members]}
        if schema not in options:
            options.append(schema)
    examples = {
        _example_name(problem): {
            "summary": problem.description,
            "value": {
                "type": problem.kind,
                "title": problem.title,
                "status": problem.status,
                "detail": problem.description,
                **problem.example,
            },
        }
        for problem in problems
    }
    headers = {name: text for problem in problems for name, text in problem.headers.items()}
    response: Json = {"description": " ".join(dict.fromkeys(each.description for each in problems))}
    if headers:
        response["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        }
    schema = options[0] if len(options) == 1 else {"anyOf": options}
    response["content"] = {"application/problem+json": {"schema": schema, "examples": examples}}
    return response


def _example_name(problem: Problem) -> str:
    name = problem.title if problem.kind == "about:blank" else problem.kind
    return re.sub(r"[^a-z0-9]+", "-", re.split(r"[/:#]", name.lower())[-1])
