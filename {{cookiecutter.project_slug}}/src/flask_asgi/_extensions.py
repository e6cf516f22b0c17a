"""Adapts extensions whose functions an async view calls directly, without a hook."""

from typing import Any

from flask import Flask

from ._marks import in_thread, is_for_loop

# Flask-Login calls these where a view looks at `current_user`.
_LOADERS = ("_user_callback", "_request_callback")


def send_loaders_to_threads(app: Flask) -> None:
    """Run Flask-Login's user loaders in a thread. It may be called more than once."""
    manager: Any = getattr(app, "login_manager", None)
    for name in _LOADERS:
        loader = getattr(manager, name, None)
        if loader is not None and not is_for_loop(loader) and not hasattr(loader, _SENT):
            sent = in_thread(loader)
            setattr(sent, _SENT, True)
            setattr(manager, name, sent)


_SENT = "__flask_asgi_in_thread__"
