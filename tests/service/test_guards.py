"""Tokens of a remote issuer, a Redis that does not answer, and the refusals of production."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask, session
from flask_asgi import serve_in_thread
from flask_guards import AuthSettings, requires
from pydantic import HttpUrl, SecretStr
from upstreams import SettingsError

from price_service.app import create_app, create_asgi
from price_service.settings import Settings

from ..conftest import LiveClient
from ..serving import free_port
from ..test_guards import guarded, token
from ..test_settings import refused

ISSUER = "https://login.example.com/"
AUDIENCE = "https://prices.example.com"


class Keys(BaseHTTPRequestHandler):
    """Answers with a key set."""

    key = ec.generate_private_key(ec.SECP256R1())
    asked: "list[str]" = []  # noqa: RUF012 - of one test

    def do_GET(self) -> None:
        """Answer."""
        self.asked.append(self.path)
        made = jwt.get_algorithm_by_name("ES256").to_jwk(self.key.public_key(), as_dict=True)
        body = json.dumps({"keys": [{**made, "kid": "1", "use": "sig"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Do not log requests."""


@pytest.fixture
def jwks_url() -> Iterator[HttpUrl]:
    """Yield the URL of a key set."""
    Keys.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield HttpUrl(f"http://127.0.0.1:{server.server_port}/keys?tenant=1")
        server.shutdown()
        thread.join()


def signed(**claims: object) -> dict[str, str]:
    """Return the headers of a caller with a token of the issuer, with some claims changed."""
    now = int(time.time())
    usual = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "someone",
        "client_id": "tests",
        "scope": "reading",
        "iat": now,
        "exp": now + 60,
        "jti": "1",
    }
    made = jwt.encode(usual | claims, Keys.key, "ES256", {"typ": "at+jwt", "kid": "1"})
    return {"Authorization": f"Bearer {made}"}


@contextmanager
def served(app: Flask) -> Iterator[LiveClient]:
    """Yield a client of `app` on a real server."""
    with serve_in_thread(create_asgi(app)) as server, LiveClient(server) as client:
        yield client


def test_the_issuers_keys_are_fetched_once_through_an_upstream(
    production: Settings, jwks_url: HttpUrl
) -> None:
    auth = AuthSettings(issuer=ISSUER, jwks_url=jwks_url, audience=AUDIENCE)
    app = create_app(production.model_copy(update={"auth": auth}))
    guarded(app)

    with served(app) as client:
        for _ in range(2):
            assert client.get("/whoami", headers=signed()).text == "someone"
        for claims in ({"aud": "another"}, {"iss": "https://evil.example/"}, {"exp": 1}):
            assert client.get("/whoami", headers=signed(**claims)).status_code == 401
        assert client.get("/whoami", headers=signed(scope="writing")).status_code == 403
    assert Keys.asked == ["/keys?tenant=1"]


def test_an_issuer_that_is_down_gives_503_and_one_warning(
    production: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    url = HttpUrl(f"http://127.0.0.1:{free_port()}/keys")
    auth = AuthSettings(issuer=ISSUER, jwks_url=url, audience=AUDIENCE)
    app = create_app(production.model_copy(update={"auth": auth}))
    guarded(app)

    with served(app) as client, caplog.at_level(logging.WARNING):
        answers = [client.get("/whoami", headers=signed()) for _ in range(3)]

    assert [each.status_code for each in answers] == [503, 503, 503]
    assert answers[0].headers["Content-Type"] == "application/problem+json"
    assert "Retry-After" in answers[0].headers
    told = [each.getMessage() for each in caplog.records if each.name.startswith("flask_guards")]
    assert told == ["The keys of the issuer of tokens cannot be fetched: UpstreamUnavailable"]
    assert signed()["Authorization"].split(".")[1] not in caplog.text


def test_a_redis_that_is_down_disables_rate_limits(settings: Settings) -> None:
    url = SecretStr(f"redis://:s3cret@127.0.0.1:{free_port()}/0")
    app = create_app(settings.model_copy(update={"rate_limits_redis_url": url}))
    headers = {"Authorization": token(app, "--scope", "reading")}
    guarded(app)

    with served(app) as client:
        answers = [client.get("/whoami", headers=headers) for _ in range(4)]

    assert [each.status_code for each in answers] == [200, 200, 200, 200]
    assert not any("RateLimit" in each.headers for each in answers)


def test_rate_limits_without_redis_count_in_memory(settings: Settings) -> None:
    app = create_app(settings)
    headers = {"Authorization": token(app, "--scope", "reading")}
    guarded(app)

    with served(app) as client:
        answers = [client.get("/whoami", headers=headers) for _ in range(3)]

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert answers[2].json()["detail"] == "At most 2 of these requests are answered in 60 s."


def test_production_with_a_guarded_view_refuses_the_local_issuer(
    settings: Settings, production: Settings
) -> None:
    local = production.model_copy(update={"auth": settings.auth})

    with pytest.raises(SettingsError, match=r"^AUTH__ISSUER must be set when ENVIRONMENT is "):
        create_app(local)


def test_a_preflight_needs_no_token(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"cors_origins": "https://app.example.com"}))
    guarded(app)
    headers = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"}

    response = app.test_client().options("/whoami", headers=headers)

    assert response.status_code == 200
    assert "GET" in response.headers["Access-Control-Allow-Methods"]
    refused = app.test_client().get("/whoami", headers=headers)
    assert refused.status_code == 401  # and the script may read the reason
    assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example.com"


def test_sessions_work_with_a_secret_key(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"secret_key": SecretStr("k" * 32)}))

    @app.get("/count")
    async def count() -> str:
        session["count"] = session.get("count", 0) + 1
        return str(session["count"])

    client = app.test_client()
    cookie = client.get("/count").headers["Set-Cookie"]
    assert client.get("/count").text == "2"
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie  # development has no TLS


def test_a_session_cookie_is_secure_in_production(production: Settings) -> None:
    app = create_app(production.model_copy(update={"secret_key": SecretStr("k" * 32)}))
    app.add_url_rule("/set", "set", lambda: str(session.update(a="b")))

    assert "Secure" in app.test_client().get("/set").headers["Set-Cookie"]


def test_only_files_in_the_static_folder_are_served(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "style.css").write_text("body {}", encoding="utf-8")
    (tmp_path / "secret.css").write_text("s3cret", encoding="utf-8")
    assert app.static_folder == str(Path(app.root_path, "static"))  # as in Flask's documentation
    app.static_folder = str(tmp_path / "static")

    with served(app) as client:
        found = client.get("/static/style.css")
        assert (found.text, found.headers["Content-Type"]) == ("body {}", "text/css; charset=utf-8")
        for path in ("../secret.css", "..%2fsecret.css", "%2e%2e/secret.css", "", "nothing"):
            assert "s3cret" not in client.get(f"/static/{path}").text
            assert client.get(f"/static/{path}").status_code in {308, 404}


def test_requires_without_scopes_accepts_any_valid_token(app: Flask) -> None:
    app.add_url_rule("/anybody", "anybody", requires()(lambda: "ok"))
    headers = {"Authorization": token(app)}

    assert app.test_client().get("/anybody", headers=headers).text == "ok"
    assert app.test_client().get("/anybody").status_code == 401


def test_production_refuses_tokens_of_the_local_issuer(
    production: Settings, settings: Settings
) -> None:
    app = create_app(production)
    printed = app.test_cli_runner().invoke(args=["token"])

    assert printed.exit_code == 1
    assert f"accepts the tokens of {production.auth.issuer} only" in printed.output
    local = {"Authorization": token(create_app(settings), "--scope", "reading")}
    response = guarded(app).get("/whoami", headers=local)
    assert response.status_code in {401, 503}  # 503: the keys of the issuer cannot be fetched


def test_a_token_without_the_scope_gets_403(app: Flask) -> None:
    headers = {"Authorization": token(app)}

    assert guarded(app).get("/whoami", headers=headers).status_code == 403


@pytest.mark.usefixtures("clean_environment")
def test_the_settings_of_auth_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH__AUDIENZ", "s3cret")
    assert refused() == ["AUTH__AUDIENZ is not a setting of this service."]

    monkeypatch.delenv("AUTH__AUDIENZ")
    monkeypatch.setenv("AUTH", "s3cret")
    assert refused() == ["AUTH must be set by its parts, such as AUTH__ISSUER."]
