"""Health checks for an orchestrator: is this process alive, and ready for traffic?"""

from flask import Blueprint, Response, jsonify
from flask_asgi import State, problem

from ..parts import parts

bp = Blueprint("health", __name__)

ALIVE = '{"status":"alive"}\n'

# Both views are async although they wait for nothing. So they run on the event loop, and answer
# even if every worker thread is busy.


@bp.get("/livez")
async def livez() -> Response:
    """Answer 200 as long as the event loop runs; a failing upstream is no reason to restart."""
    return _uncached(Response(ALIVE, mimetype="application/json"))


@bp.get("/readyz")
async def readyz() -> Response:
    """Answer 200 when the process is ready, and 503 while it starts or drains.

    `upstreams` are the circuit breakers by name. An open one costs readiness only where the
    upstream is required, and only until it may be tried again: without requests it never would be.
    """
    readiness, upstreams = parts().readiness, parts().clients.upstreams
    breakers = {upstream.name: upstream.breaker.state for upstream in upstreams}
    if readiness.state is not State.READY:
        detail = f"The service is {readiness.state.value}."
        return _uncached(problem(503, detail, upstreams=breakers))
    for upstream in upstreams:
        if upstream.required and breakers[upstream.name] == "open":
            detail = f"The upstream {upstream.name} fails."
            return _uncached(problem(503, detail, upstreams=breakers))
    return _uncached(jsonify(status=State.READY.value, upstreams=breakers))


def _uncached(response: Response) -> Response:
    response.headers.set("Cache-Control", "no-store")
    return response
