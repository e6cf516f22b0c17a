"""Typed views for Flask: parameters and responses from pydantic types, and an OpenAPI document.

The names in `__all__` are the public API; modules that begin with an underscore can change at any
time.
"""

from ._document import describe
from ._errors import INVALID_REQUEST, Fault, InvalidRequest
from ._markers import Body, Form, Header, Query
from ._pages import document_pages, document_text
from ._problem import Problem
from ._typed import typed

__all__ = [
    "INVALID_REQUEST",
    "Body",
    "Fault",
    "Form",
    "Header",
    "InvalidRequest",
    "Problem",
    "Query",
    "describe",
    "document_pages",
    "document_text",
    "typed",
]
__version__ = "0.1.0"
