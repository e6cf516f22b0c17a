"""The shop with its pages, and with a check of credentials, for a server: `served:asgi`."""

from flask import abort, request
from flask_asgi import FlaskToAsgi, on_loop
from typed_views import document_pages
from werkzeug.datastructures import WWWAuthenticate

from . import shop

app = shop.create_app()
app.register_blueprint(document_pages(lambda: shop.document(app)))


@app.before_request
@on_loop
def check_credentials() -> None:
    """Refuse an order without a token."""
    has_token = request.headers.get("Authorization") == "Bearer t"
    if request.endpoint == "shop.place_order" and not has_token:
        abort(401, www_authenticate=WWWAuthenticate("bearer"))


asgi = FlaskToAsgi(app)
