"""A plain Flask application: the one that all ways of serving Flask serve."""

from flask import Flask

from . import upstream_calls, work

app = Flask(__name__)


@app.get("/noop")
async def noop() -> dict[str, bool]:
    """Does nothing, on the event loop where there is one."""
    return {"ok": True}


@app.get("/sync")
def sync() -> dict[str, bool]:
    """Does nothing, in a thread."""
    return {"ok": True}


@app.get("/wait")
async def wait() -> dict[str, bool]:
    """Waits for three things at once."""
    return await work.wait()


@app.get("/calls")
async def calls() -> dict[str, list[int]]:
    """Calls an upstream three times at once."""
    return await upstream_calls.three_calls()


@app.get("/hold/<float:seconds>")
async def hold(seconds: float) -> dict[str, int]:
    """Keeps the request in flight."""
    return await work.hold(seconds)
