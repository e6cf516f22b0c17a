"""An upstream that invents prices, so that a fresh checkout and the tests need no network."""

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Literal

import httpx

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# How a request fails: the status of its reply, or no reply at all.
Failure = int | Literal["hang"]


class StubPrices:
    """An ASGI application that answers `GET /prices/{symbol}`.

    Every reply waits for `delay`: a number of seconds, or a function to call and await for each
    request, such as a barrier's `wait`. A symbol in `failing` gets that status, or no reply at all.
    """

    def __init__(
        self,
        *,
        delay: float | Callable[[], Awaitable[object]] = 0.0,
        failing: Mapping[str, Failure] | None = None,
    ) -> None:
        self._delay = delay
        self._failing = failing or {}

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return a transport that calls this application without a socket."""
        return httpx.ASGITransport(app=self)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the three arguments of ASGI
        """Answer one request."""
        if scope["type"] != "http":
            message = f"no support for {scope['type']}"  # as in ASGI's "Lifespan Protocol"
            raise NotImplementedError(message)
        await self._wait()
        status, body = await self._answer(scope["method"], scope["path"])
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body.encode()})

    async def _wait(self) -> None:
        if callable(self._delay):
            await self._delay()
        else:
            await asyncio.sleep(self._delay)

    async def _answer(self, method: str, path: str) -> tuple[int, str]:
        _, prices, symbol = path.partition("/prices/")
        if method != "GET" or not prices or not symbol:
            return HTTPStatus.NOT_FOUND, "{}"
        failure = self._failing.get(symbol)
        if failure == "hang":
            await asyncio.Event().wait()
        if failure is not None:
            return int(failure), "{}"
        # json.dumps does not accept a decimal, and a float would round it.
        name, price = json.dumps(symbol), invented_price(symbol)
        return HTTPStatus.OK, '{"symbol": ' + name + f', "price": {price}' + "}"


def invented_price(symbol: str) -> Decimal:
    """Return a price between 10.00 and 999.99, always the same one for a symbol."""
    return Decimal(1000 + zlib.crc32(symbol.encode()) % 99_000).scaleb(-2)


# For `uvicorn <package>.clients.stub:asgi`: an upstream on a socket.
asgi = StubPrices(delay=0.05)
