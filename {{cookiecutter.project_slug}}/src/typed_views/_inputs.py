"""The inputs of a view: declared by its annotations, which are read once; read from requests."""

import inspect
import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from flask import request
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from ._errors import LONGEST_PLACE, MOST_FAULTS, Fault, InvalidRequest, Location, faults, pointer
from ._markers import Body, Form, Header, Marker, Query

Place = Literal["path", "query", "header", "form"]

PLACES: dict[type[Marker], Place] = {Query: "query", Header: "header", Form: "form"}
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")

_MANY = (list, set, frozenset, tuple)


@dataclass(frozen=True)
class JsonBody:
    """The body of a request as JSON, which becomes one argument.

    It is validated strictly: `"1"` is not an integer, and `1.0` is. Texts are accepted for dates,
    UUIDs and so on.
    """

    argument: str
    adapter: TypeAdapter[Any]

    def read(self, _path: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the argument and its value.

        Raises:
            BadRequest: the body is not JSON.
            InvalidRequest: it is not of the declared type.
            UnsupportedMediaType: its content type is not JSON.
        """
        # Parsed by the application's JSON provider, which may be stricter than pydantic's parser.
        # Only pydantic converts texts to dates.
        data = request.get_json()
        try:
            value = self._validate(request.get_data().removeprefix(BOM_UTF8), data)
        except ValidationError as error:
            found = error.errors(include_url=False)[0] if error.error_count() == 1 else None
            if found is not None and found["type"] == "json_invalid":
                reason = found.get("ctx", {}).get("error", "")
                message = f"The body is not valid JSON: {reason}."
                raise BadRequest(message) from None
            raise InvalidRequest(faults(error, _in_body(data))) from None
        yield self.argument, value

    def _validate(self, text: bytes, data: object) -> object:
        try:
            return self.adapter.validate_json(text, strict=True)
        except ValidationError as error:
            if not _has_whole_float(error):
                raise
        return self.adapter.validate_json(json.dumps(_with_whole_numbers(data)), strict=True)


@dataclass(frozen=True)
class Fields:
    """The named values from one place of a request: for a model, or for an argument each."""

    place: Place
    model: type[BaseModel]
    argument: str | None  # the argument that gets the whole model

    @cached_property
    def keys(self) -> dict[str, str]:
        """The model's keys for its fields, by the names of the fields in the request."""
        found = {}
        for field, info in self.model.model_fields.items():
            key = info.validation_alias or field
            if not isinstance(key, str):
                message = f"{self.model.__name__}.{field}: an alias must be one name"
                raise TypeError(message)
            found[key.replace("_", "-") if self.place == "header" and key == field else key] = key
        return found

    @cached_property
    def many(self) -> frozenset[str]:
        """The names that may occur more than once."""
        fields = self.model.model_fields.values()
        return frozenset(
            name
            for name, field in zip(self.keys, fields, strict=True)
            if _is_many(field.annotation)
        )

    def read(self, path: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the arguments and their values.

        Raises:
            InvalidRequest: a value is not of the declared type.
            UnsupportedMediaType: the content type is not that of a form.
        """
        values = self._values(path)
        try:
            value = self.model.model_validate(values)
        except ValidationError as error:
            raise InvalidRequest(faults(error, self._locate(values))) from None
        if self.argument is not None:
            yield self.argument, value
        else:
            for field in self.model.model_fields:
                yield field.removeprefix(_MADE), getattr(value, field)

    def _values(self, path: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.place == "path":
            return path
        if self.place == "header":
            return self._headers()
        if self.place == "query":
            return self._flat(request.args)
        if request.mimetype not in FORM_TYPES:
            message = f"The Content-Type of the request must be one of {', '.join(FORM_TYPES)}."
            raise UnsupportedMediaType(message)
        return self._flat(request.form)

    def _headers(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, key in self.keys.items():
            if (value := request.headers.get(name)) is not None:
                # RFC 9110 section 5.6.1
                split = [each.strip() for each in value.split(",")] if name in self.many else value
                found[key] = split
        return found

    def _flat(self, given: MultiDict[str, str]) -> dict[str, Any]:
        """Return lists where several values are declared.

        Raises:
            InvalidRequest: a name occurs more often than declared, so it is not clear which of its
                values counts.
        """
        found: dict[str, Any] = {}
        repeated: list[Fault] = []
        for name, values in given.lists():
            found[name] = values if name in self.many else values[0]
            if len(values) > 1 and name in self.keys and name not in self.many:
                fault = {"detail": f"Given {len(values)} times; accepted: once"}
                repeated.append(cast("Fault", self._locate(given)((name,), True) | fault))  # noqa: FBT003
        if repeated:
            raise InvalidRequest(repeated)
        return found

    def _locate(self, values: Mapping[str, Any]) -> Callable[[Location, bool], dict[str, str]]:
        if self.place == "form":
            return _in_body(values)
        member = "header" if self.place == "header" else "parameter"
        names = {key: name for name, key in self.keys.items()}

        def locate(location: Location, _missing: bool) -> dict[str, str]:  # noqa: FBT001 - positional
            key = str(location[0]) if location else self.place
            return {member: names.get(key, key)[:LONGEST_PLACE]}

        return locate


@dataclass(frozen=True)
class Inputs:
    """All inputs that a view takes from a request."""

    fields: tuple[Fields, ...]
    body: JsonBody | None

    @cached_property
    def sources(self) -> tuple[Fields | JsonBody, ...]:
        """The parts of each request that are read."""
        return self.fields if self.body is None else (*self.fields, self.body)

    def arguments(self, path: Mapping[str, Any]) -> dict[str, Any]:
        """Return the view's arguments for the current request; `path` has the variable parts.

        Raises:
            HTTPException: the request is not as declared. The error lists all its faults.
        """
        arguments: dict[str, Any] = {}
        found: list[Fault] = []
        for source in self.sources:
            try:
                arguments.update(source.read(path))
            except InvalidRequest as error:
                found += error.errors
        if found:
            raise InvalidRequest(found)
        return arguments


# The prefix for fields that are made from parameters: the name `copy` is a method of a model.
_MADE = "argument_"


def inputs(view: Callable[..., object]) -> Inputs:
    """Return the inputs that a view declares.

    Raises:
        TypeError: a parameter has no type, or its declaration is not allowed.
    """
    hints = get_type_hints(view, include_extras=True)
    body: JsonBody | None = None
    singles: dict[Place, dict[str, Any]] = {}
    fields: list[Fields] = []
    for name, parameter in _parameters(view).items():
        if name not in hints:
            _refuse(view, f"the parameter {name} has no type")
        hint, marker = hints[name], _marker(hints[name])
        place = PLACES.get(marker, "path") if marker is not None else "path"
        has_default = parameter.default is not parameter.empty
        if marker is Body:
            if body is not None or has_default:
                _refuse(view, f"the body {name} is the second one, or has a default")
            body = JsonBody(name, TypeAdapter(hint))
        elif place != "path" and (model := _model(hint)) is not None:
            if has_default:
                _refuse(view, f"the model {name} has a default; its fields may have some")
            fields.append(Fields(place, model, name))
        else:
            default = parameter.default if has_default else ...
            alias = _alias(place, name, FieldInfo.from_annotation(hint))
            singles.setdefault(place, {})[_MADE + name] = hint, Field(default, alias=alias)
    for place, made in singles.items():
        fields.append(Fields(place, create_model(f"{view.__name__}.{place}", **made), None))
    places = [each.place for each in fields] + ["form"] * (body is not None)
    for place in {*places}:
        if places.count(place) > 1:
            _refuse(view, f"either one model or single parameters for the {place}, and one body")
    return Inputs(tuple(fields), body)


def _parameters(view: Callable[..., object]) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(view).parameters)
    parameters.pop("self", None)  # a `MethodView`'s method has it
    for name, parameter in parameters.items():
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            _refuse(view, f"the parameter {name} cannot be given by its name")
    return parameters


def _refuse(view: Callable[..., object], fault: str) -> None:
    message = f"{view.__module__}.{view.__qualname__}: {fault}"
    raise TypeError(message)


def _marker(hint: object) -> type[Marker] | None:
    for each in getattr(hint, "__metadata__", ()):
        kind = each if isinstance(each, type) else type(each)
        if issubclass(kind, Marker):
            return kind
    return None


def _model(hint: object) -> type[BaseModel] | None:
    plain = get_args(hint)[0]
    return plain if isinstance(plain, type) and issubclass(plain, BaseModel) else None


def _alias(place: Place, name: str, info: FieldInfo) -> str:
    if isinstance(info.alias, str):
        return info.alias
    return name.replace("_", "-") if place == "header" else name


def _is_many(annotation: object) -> bool:
    origin = get_origin(annotation) or annotation
    if origin is Union or getattr(origin, "__name__", "") == "UnionType":
        return any(map(_is_many, get_args(annotation)))
    return isinstance(origin, type) and issubclass(origin, _MANY)


def _has_whole_float(error: ValidationError) -> bool:
    """Tell whether pydantic refuses an integer such as `3.0`, which JSON Schema's type allows.

    (JSON Schema Validation 2020-12, section 6.1.1)
    """
    if error.error_count() > MOST_FAULTS:
        return False
    found = error.errors(include_url=False, include_context=False)
    given = (each["input"] for each in found if each["type"] == "int_type")
    return any(isinstance(each, float) and each.is_integer() for each in given)


def _with_whole_numbers(data: object) -> object:
    if isinstance(data, dict):
        return {name: _with_whole_numbers(each) for name, each in data.items()}
    if isinstance(data, list):
        return [_with_whole_numbers(each) for each in data]
    return int(data) if isinstance(data, float) and data.is_integer() else data


def _in_body(data: object) -> Callable[[Location, bool], dict[str, str]]:
    return lambda location, missing: {"pointer": pointer(location, data, missing=missing)}
