"""Flask served over ASGI in the published ways."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from a2wsgi import WSGIMiddleware
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from asgiref.wsgi import WsgiToAsgi, WsgiToAsgiInstance

from .flask_app import app
from .work import THREADS

# The way of Flask's documentation.
wsgi_to_asgi = WsgiToAsgi(app)  # type: ignore[no-untyped-call] # asgiref's

a2wsgi = WSGIMiddleware(app, workers=THREADS)  # type: ignore[arg-type] # a2wsgi's own idea of WSGI


async def in_own_context(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 (ASGI)
    """Serves each request in a separate thread, with asgiref's ThreadSensitiveContext."""
    async with ThreadSensitiveContext():
        await wsgi_to_asgi(scope, receive, send)


class _InPool(WsgiToAsgiInstance):
    run_wsgi_app = sync_to_async(
        vars(WsgiToAsgiInstance)["run_wsgi_app"].func,
        thread_sensitive=False,
        executor=ThreadPoolExecutor(THREADS),
    )


async def in_pool(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 (ASGI)
    """Serves requests in a pool of threads: asgiref's code with other decorator arguments."""
    await _InPool(app)(scope, receive, send)  # type: ignore[no-untyped-call] # asgiref's
