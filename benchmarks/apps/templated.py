"""A service of `fastapi-template`, with the views of `whole.py`, started by its own code.

It runs in the environment of `benchmarks/fastapi_template`. It reads the variables that the other
services read, and sets those of fastapi-template. It does not reload.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

os.environ |= {
    "BENCH_TEMPLATE_PORT": os.environ["PORT"],
    "BENCH_TEMPLATE_RELOAD": "False",
    "BENCH_TEMPLATE_PROMETHEUS_DIR": str(Path(gettempdir(), f"metrics-{os.environ['PORT']}")),
    "BENCH_UPSTREAM": os.environ["PRICES__BASE_URL"],
    "BENCH_CONNECTIONS": os.environ["PRICES__MAX_CONNECTIONS"],
}

from bench_template.web import application
from fastapi import FastAPI

from .views import opened, router


def get_app() -> FastAPI:
    """The generated application, with these views and the client that they need."""
    app: FastAPI = application.get_app()
    app.include_router(router)
    generated: Any = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(), generated(app):
            yield

    app.router.lifespan_context = lifespan
    return app


if __name__ == "__main__":
    import uvicorn
    from bench_template import __main__ as generated

    run = uvicorn.run
    uvicorn.run = lambda _, **options: run(f"{__spec__.name}:get_app", **options)
    generated.main()
