"""What an orchestrator asks: is this process alive, and does it want traffic?"""

from flask import Blueprint, Response, current_app, jsonify

from ..problems import problem
from ..readiness import Readiness, State

bp = Blueprint("health", __name__)

# Both views are async although they wait for nothing: so they run on the event loop, and answer
# when every worker thread is busy.


@bp.get("/livez")
async def livez() -> Response:
    """Answer 200 as long as the event loop turns; an upstream's trouble is no reason to restart."""
    return _uncached(jsonify(status="alive"))


@bp.get("/readyz")
async def readyz() -> Response:
    """Answer 200 when requests are welcome, and 503 while the process starts or drains."""
    readiness: Readiness = current_app.extensions["readiness"]
    if readiness.state is State.READY:
        return _uncached(jsonify(status=State.READY.value))
    detail = f"The service is {readiness.state.value}."
    return _uncached(problem(503, detail))


def _uncached(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
