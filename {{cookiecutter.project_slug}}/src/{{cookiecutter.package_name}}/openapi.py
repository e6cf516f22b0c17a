"""The contract with the callers: an OpenAPI document of all typed views, and pages that show it.

`openapi.json` is its committed copy, so that a review shows a change that breaks callers. Examples:
a path, an operation or a response's member is removed or has another type; a parameter or a body's
member is new and required, or accepts fewer values.
"""

import sys
from typing import Any

from flask import Flask
from typed_views import Problem, describe, document_pages, document_text

from . import guards
from .parts import parts

TITLE = "{{ cookiecutter.project_slug }}"
VERSION = "1.0.0"  # of the API: raise the first number with a change that breaks callers

# The problems that every operation can answer with; a view lists its further ones.
PROBLEMS = (
    Problem(500, "The service failed to answer this request."),
    Problem(503, "The service is overloaded or is stopping."),
    Problem(504, "The request took too long."),
)


def document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document of `app`."""
    return describe(
        app,
        title=TITLE,
        version=VERSION,
        problems=PROBLEMS,
        security_schemes=guards.SECURITY_SCHEMES,
    )


def init_app(app: Flask) -> None:
    """Serve the document and its page if the settings allow it; add a command that prints it."""
    if parts(app).settings.api_docs:
        app.register_blueprint(document_pages(lambda: document(app)))

    @app.cli.command("openapi")
    def print_document() -> None:
        """Print the OpenAPI document."""
        sys.stdout.write(document_text(document(app)))
