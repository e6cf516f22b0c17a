"""Work that blocks, done in an async view and in a sync one.

Blocking work on the event loop stops every other request, so an async view hands it to a thread
with `asyncio.to_thread`. Write such an async view if the request also awaits something: an upstream
or several threads at once. If the request only does blocking work, write a plain sync view: it runs
in a worker thread as a whole, and is shorter.
"""

import asyncio
from hashlib import pbkdf2_hmac

from flask import Blueprint, Response, abort, jsonify, request

bp = Blueprint("blocking", __name__)

MAX_BYTES = 1024
ITERATIONS = 20_000  # about 10 ms of a processor; hashlib releases the GIL meanwhile


def fingerprint(text: bytes) -> str:
    """Return a deliberately slow digest of `text`, in hex; blocks its thread."""
    return pbkdf2_hmac("sha256", text, b"fingerprint", ITERATIONS).hex()


@bp.get("/fingerprint/async")
async def fingerprint_async() -> Response:
    """Answer with the fingerprint of `?text=`; the loop serves others meanwhile."""
    text = _text()
    return jsonify(fingerprint=await asyncio.to_thread(fingerprint, text))


@bp.get("/fingerprint/sync")
def fingerprint_sync() -> Response:
    """Answer with the fingerprint of `?text=`; this view has a worker thread to itself."""
    return jsonify(fingerprint=fingerprint(_text()))


def _text() -> bytes:
    text = request.args.get("text", "").encode()
    if not 1 <= len(text) <= MAX_BYTES:
        abort(400, f"text: {len(text)} bytes; accepted: 1 to {MAX_BYTES} bytes of UTF-8")
    return text
