"""Authentication of a request, through the same flows that httpx's own client runs."""

from collections.abc import Awaitable, Callable, Generator

import httpx

from ._options import Auth

Exchange = Callable[[httpx.Request], Awaitable[httpx.Response]]


class _FunctionAuth(httpx.Auth):
    """Calls a function that completes the request."""

    def __init__(self, function: Callable[[httpx.Request], httpx.Request]) -> None:
        self._function = function

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        yield self._function(request)


def as_auth(auth: Auth | None) -> httpx.Auth | None:
    """Return the `httpx.Auth` for the `auth` of a call.

    Raises `TypeError` for a value that is no `auth`, and for an `httpx.Auth` with a synchronous
    flow only: httpx would skip that flow, and send the request without credentials.
    """
    if auth is None:
        return None
    if isinstance(auth, tuple):
        user, password = auth
        return httpx.BasicAuth(user, password)
    if not isinstance(auth, httpx.Auth):
        if callable(auth):
            return _FunctionAuth(auth)
        message = f"auth must be a user and password, a function or an httpx.Auth, not {type(auth)}"
        raise TypeError(message)
    if _overrides(auth, "sync_auth_flow") and not (
        _overrides(auth, "async_auth_flow") or _overrides(auth, "auth_flow")
    ):
        message = f"{type(auth).__name__} has only sync_auth_flow: it needs async_auth_flow"
        raise TypeError(message)
    return auth


def _overrides(auth: httpx.Auth, method: str) -> bool:
    return getattr(type(auth), method) is not getattr(httpx.Auth, method)


async def authenticated(
    exchange: Exchange, request: httpx.Request, auth: httpx.Auth
) -> httpx.Response:
    """Return the last response of the flow that `auth` begins with `request`.

    The flow changes its request, so it gets a copy: a retry sends the original again.
    """
    flow = auth.async_auth_flow(_copy(request))
    try:
        sent = await anext(flow)
        while True:
            sent.extensions.setdefault("timeout", request.extensions["timeout"])
            response = await exchange(sent)
            try:
                sent = await flow.asend(response)
            except StopAsyncIteration:
                return response
            except BaseException:
                await response.aclose()
                raise
            await response.aclose()
    finally:
        await flow.aclose()


def _copy(request: httpx.Request) -> httpx.Request:
    copy = httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        stream=request.stream,
        extensions=request.extensions,
    )
    if isinstance(request.stream, httpx.ByteStream):
        copy.read()  # a flow may use its content
    return copy
