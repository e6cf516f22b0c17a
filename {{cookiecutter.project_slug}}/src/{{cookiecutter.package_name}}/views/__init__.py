"""The views, a module for each subject. Add a new module here."""

from flask import Flask

# jinja: if cookiecutter.include_example
from ..parts import parts
from .blocking import bp as blocking_bp
from .health import bp as health_bp
from .home import bp as home_bp
from .prices import bp as prices_bp
from .quotes import bp as quotes_bp


# jinja: else
from .health import bp as health_bp


# jinja: endif
def init_app(app: Flask) -> None:
    """Register every blueprint."""
    app.register_blueprint(health_bp)
    # jinja: if cookiecutter.include_example
    app.register_blueprint(prices_bp)
    app.register_blueprint(quotes_bp)
    app.register_blueprint(blocking_bp)
    if parts(app).settings.environment == "development":
        app.register_blueprint(home_bp)
    # jinja: endif
