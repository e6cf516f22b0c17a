"""Marks for the part of a request from which a view takes a parameter.

They are used in the parameter's annotation, for example ``order: Annotated[Order, Body()]``. A
parameter without a mark is a variable part of the URL.
"""


class Marker:
    """The base of all marks."""


class Body(Marker):
    """The whole body, as JSON, of any type that pydantic supports."""


class Form(Marker):
    """A field of an HTML form, or all fields as a pydantic model."""


class Header(Marker):
    """A header, or several as a pydantic model; an underscore in the name is a dash in HTTP."""


class Query(Marker):
    """A parameter of the query, or all of them as a pydantic model."""
