"""Guarded views and their callers: on the event loop, in a thread, and outside of a server."""

import asyncio
import threading
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

import httpx
import pytest
from flask import Flask
from flask_asgi import init_problems
from flask_guards import caller, init_bearer, required_scopes, requires

from .issuer import Issuer

pytestmark = pytest.mark.anyio

CHALLENGE = 'Bearer error="{}", error_description="{}"'


@pytest.fixture
def app(issuer: Issuer) -> Flask:
    """Return an application with async and sync guarded views, and an open view."""
    app = Flask("guarded")
    init_bearer(app, issuer.verifier())

    @app.get("/async")
    @requires("quotes:read")
    async def on_loop() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"who": caller().subject, "thread": threading.get_ident()}

    @app.get("/sync")
    @requires("quotes:read")
    def in_thread() -> dict[str, Any]:
        return {"who": caller().subject, "thread": threading.get_ident()}

    @app.get("/both")
    @requires("quotes:read", "quotes:write")
    async def both() -> str:
        return "ok"

    @app.get("/anybody")
    @requires()
    async def anybody() -> str:
        return caller().subject

    @app.get("/open")
    async def unguarded() -> str:
        return caller().subject

    return app


Ask = Callable[..., Any]


@pytest.fixture(
    params=["async under ASGI", "sync under ASGI", "async under WSGI", "sync under WSGI"]
)
def ask(request: pytest.FixtureRequest, app: Flask, client: httpx.AsyncClient) -> Ask:
    """Return a function that calls a guarded view with the header `Authorization`."""
    kind, _, server = request.param.partition(" under ")

    async def ask(authorization: str | None) -> tuple[int, Any]:
        # Latin-1, as WSGI and ASGI servers read them.
        headers: Any = {} if authorization is None else {"Authorization": authorization}
        if server == "ASGI":
            encoded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
            answer = await client.get(f"/{kind}", headers=encoded)
            return answer.status_code, answer
        response = await asyncio.to_thread(
            lambda: app.test_client().get(f"/{kind}", headers=headers)
        )
        return response.status_code, response

    return ask


async def test_a_caller_with_the_scope_is_accepted(ask: Ask, issuer: Issuer) -> None:
    status, answer = await ask(f"Bearer {issuer.token(scope='quotes:read more')}")

    assert status == 200
    assert "someone" in str(answer.text)
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("authorization", [None, "", "Basic dTpw", "Token x", "Bearertoken"])
async def test_a_request_without_a_token_gets_401_without_an_error_code(
    ask: Ask, authorization: str | None
) -> None:
    status, answer = await ask(authorization)

    assert (status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_an_invalid_token_gets_401(ask: Ask, issuer: Issuer) -> None:
    status, answer = await ask(f"Bearer {issuer.token(exp=1)}")

    expected = CHALLENGE.format("invalid_token", "The token has expired.")
    assert (status, answer.headers["WWW-Authenticate"]) == (401, expected)


@pytest.mark.parametrize(
    "authorization", ["Bearer", "Bearer a b", "Bearer a,Bearer b", 'Bearer "a"', "Bearer é"]
)
async def test_a_malformed_bearer_header_gets_400(ask: Ask, authorization: str) -> None:
    status, answer = await ask(authorization)

    expected = "The Authorization header does not hold one bearer token."
    assert status == 400
    assert answer.headers["WWW-Authenticate"] == CHALLENGE.format("invalid_request", expected)


async def test_a_caller_without_the_scope_gets_403(ask: Ask, issuer: Issuer) -> None:
    status, answer = await ask(f"bearer {issuer.token(scope='quotes:write')}")

    expected = 'Bearer error="insufficient_scope", scope="quotes:read"'
    assert (status, answer.headers["WWW-Authenticate"]) == (403, expected)


async def test_every_required_scope_is_needed(client: httpx.AsyncClient, issuer: Issuer) -> None:
    for scopes, status in (("quotes:read quotes:write", 200), ("quotes:read", 403)):
        headers = {"Authorization": f"Bearer {issuer.token(scope=scopes)}"}
        assert (await client.get("/both", headers=headers)).status_code == status
    assert (await client.get("/anybody", headers=headers)).text == "someone"


async def test_unavailable_keys_give_503(ask: Ask, issuer: Issuer) -> None:
    issuer.failure = OSError()
    status, answer = await ask(f"Bearer {issuer.token()}")

    assert (status, answer.headers["Retry-After"]) == (503, "10")


async def test_guarded_async_views_run_on_the_loop_and_sync_views_in_threads(
    client: httpx.AsyncClient, issuer: Issuer
) -> None:
    headers = {"Authorization": f"Bearer {issuer.token(scope='quotes:read')}"}
    threads = [
        (await client.get(path, headers=headers)).json()["thread"] for path in ("/async", "/sync")
    ]

    assert threads[0] == threading.get_ident() != threads[1]


async def test_each_request_has_its_own_caller(client: httpx.AsyncClient, issuer: Issuer) -> None:
    names = [f"user {number}" for number in range(100)]
    # Signed before the requests: requests that wait for a blocked loop would be answered 503.
    tokens = [issuer.token(sub=name, scope="quotes:read") for name in names]

    async def who(token: str) -> str:
        answer = await client.get("/async", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["who"])

    assert names == await asyncio.gather(*map(who, tokens))


async def test_every_accepted_token_is_reported(
    app: Flask, client: httpx.AsyncClient, issuer: Issuer
) -> None:
    found: list[str] = []
    init_bearer(app, issuer.verifier(), found=lambda caller: found.append(caller.subject))

    for scope in ("quotes:read", "nothing"):  # also if the scope is missing
        headers = {"Authorization": f"Bearer {issuer.token(scope=scope)}"}
        await client.get("/async", headers=headers)
    await client.get("/async", headers={"Authorization": "Bearer forged"})

    assert found == ["someone", "someone"]


async def test_a_view_that_is_not_guarded_has_no_caller(app: Flask) -> None:
    app.testing = True
    with pytest.raises(LookupError, match="the view needs `@requires"):
        await asyncio.to_thread(lambda: app.test_client().get("/open"))


async def test_a_refusal_is_a_problem_with_its_challenge(
    app: Flask, client: httpx.AsyncClient
) -> None:
    init_problems(app)
    answer = await client.get("/async")

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["detail"] == "The request needs a bearer token."


def test_the_required_scopes_of_a_view_can_be_read(app: Flask) -> None:
    views = app.view_functions
    assert required_scopes(views["both"]) == ("quotes:read", "quotes:write")
    assert required_scopes(views["anybody"]) == ()
    assert required_scopes(views["unguarded"]) is None
    assert [iscoroutinefunction(views[name]) for name in ("on_loop", "in_thread")] == [True, False]
