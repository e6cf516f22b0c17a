"""Serves an OpenAPI document, and a page to read and try it, without loading from other hosts."""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, send_from_directory

# The page loads nothing from other hosts, sends nothing to them, and has no inline script or style.
# Swagger UI has its icons as `data:` URLs. (Content Security Policy Level 3)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css")

# Addresses are relative, so that a proxy may serve this below a path.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<title>API</title>
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Without `validatorUrl` it would send the document's address to another host.
_START = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
});
"""


def document_text(document: Mapping[str, Any]) -> str:
    """Return a document as text, as it is served and committed."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def document_pages(document: Callable[[], Mapping[str, Any]]) -> Blueprint:
    """Return a blueprint with `/openapi.json` and, as a page of Swagger UI, `/docs`.

    `document` is called once, at the first request, when all views are registered.

    Raises:
        ModuleNotFoundError: flask-swagger-ui is not installed, the extra `docs`.
    """
    import flask_swagger_ui  # noqa: PLC0415 - optional, and of use for these pages only

    folder = Path(flask_swagger_ui.__file__).parent / "dist"
    blueprint = Blueprint("typed_views", __name__)
    once = functools.cache(lambda: document_text(document()).encode())

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return current_app.response_class(once(), mimetype="application/json")

    @blueprint.get("/docs")
    async def docs() -> Response:
        response = current_app.response_class(_PAGE, mimetype="text/html")
        response.headers["Content-Security-Policy"] = POLICY
        return response

    @blueprint.get("/docs/start.js")
    async def start() -> Response:
        return current_app.response_class(_START, mimetype="text/javascript")

    @blueprint.get(f"/docs/<any({', '.join(map(repr, ASSETS))}):name>")
    def asset(name: str) -> Response:
        return send_from_directory(folder, name)

    return blueprint
