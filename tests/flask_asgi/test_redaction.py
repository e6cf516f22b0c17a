"""No secret is logged, whether in a message, a field, an exception or a URL."""

import json
import logging
import sys
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from flask_asgi import JsonFormatter, TextFormatter
from flask_asgi._redaction import REDACTED, redacted
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers, ImmutableMultiDict

FORMATTERS = [JsonFormatter(), TextFormatter("%(levelname)s %(name)s: %(message)s")]

NAMES = [
    *("authorization", "proxy-authorization", "cookie", "set-cookie", "x-auth-token"),
    *("token", "access_token", "refresh_token", "id_token", "csrftoken", "X-Amz-Security-Token"),
    *("password", "passwd", "db_password", "DATABASE__PASSWORD", "passphrase", "pwd"),
    *("secret", "client_secret", "SECRET_KEY", "secretKey", "SECRETS__VAULT"),
    *("api_key", "apikey", "X-API-Key", "api-key", "private_key", "access_key", "signing_key"),
    *("credentials", "X-Amz-Credential", "X-Amz-Signature", "jwt", "Ocp-Apim-Subscription-Key"),
]

# Where a name and its value can be written.
FORMS: list[Callable[[str, str], str]] = [
    lambda name, value: f"{name}={value}",
    lambda name, value: f"{name}: {value}",
    lambda name, value: f"{name} = {value}, and more",
    lambda name, value: f"sent ({name}={value})",
    lambda name, value: f"https://h.test/p?a=1&{name}={value}&b=2#f",
    lambda name, value: f"GET /p?{name}={value} HTTP/1.1",
    lambda name, value: f"/p?{urlencode({name: value})}",
    lambda name, value: repr({name: value, "a": 1}),
    lambda name, value: repr({name.encode(): value.encode()}),
    lambda name, value: repr({name: [value]}),
    lambda name, value: repr([(name.encode(), value.encode())]),
    lambda name, value: repr(Headers({name: value})),
    lambda name, value: repr(ImmutableMultiDict([(name, value)])),
    lambda name, value: json.dumps({name: value}),
    lambda name, value: json.dumps(json.dumps({name: value})),
    lambda name, value: f"Settings(a=1, {name}={value!r}, b=2)",
    lambda name, value: f'{name}="{value}',  # cut off
    lambda name, value: f"line 1\n{name}: {value}\r\nline 3",
]

# Every secret contains `S3CR3T`, which the tests look for in a line.
PARTS = st.text(r"abcXYZ019-._~+/\\([{}])!:@$%", max_size=20)
SECRETS = st.builds("{}S3CR3T{}".format, PARTS, PARTS)


def cased(name: str, how: int) -> str:
    """Return a name in lower or upper case, with capitals, or as it is."""
    return [name, name.lower(), name.upper(), name.title()][how]


def lines_of(text: str, value: Any = None) -> list[str]:
    """Return the log lines with `text` in each place of a record, and with `value` in a field."""
    try:
        raise ValueError(text)  # noqa: TRY301 - for its traceback
    except ValueError:
        error = sys.exc_info()
    records = [
        logging.LogRecord("x", 20, "", 0, text.replace("%", "%%"), (), None),
        logging.LogRecord("x", 20, "", 0, "%s", (text,), None),
        logging.LogRecord("x", 20, "", 0, "%(a)r", ({"a": text},), None),
        logging.LogRecord("x", 20, "", 0, "failed", (), error),
        logging.LogRecord("x", 20, "", 0, "here", (), None, sinfo=text),
        logging.makeLogRecord({"msg": "field", "what": text, "more": {"deep": [value, {1: text}]}}),
    ]
    return [each.format(record) for each in FORMATTERS for record in records]


@given(
    name=st.sampled_from(NAMES),
    how=st.integers(0, 3),
    form=st.sampled_from(FORMS),
    secret=SECRETS,
)
def test_no_secret_after_its_name_is_logged(
    name: str, how: int, form: Callable[[str, str], str], secret: str
) -> None:
    text = form(cased(name, how), secret)

    for line in lines_of(text):
        assert "S3CR3T" not in line
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_with_a_secrets_name_is_not_logged(name: str) -> None:
    formatter = JsonFormatter()
    number = 71_200_217  # longer than any number in the time of a line
    values: list[Any] = ["S3CR3T", ["S3CR3T"], {"a": "S3CR3T"}, b"S3CR3T", number]
    for value in values:
        fields = {name: value, "deep": [{name: value}], "headers": [(name, value)]}
        raw = [(name.encode(), b"S3CR3T")]
        record = logging.makeLogRecord({"msg": "x", "harmless": "kept", "raw": raw, **fields})

        line = formatter.format(record)

        assert "S3CR3T" not in line
        assert str(number) not in line
        written = json.loads(line)
        assert written["harmless"] == "kept"
        assert written[name] == REDACTED


def test_none_and_booleans_in_a_field_with_a_secrets_name_are_logged() -> None:
    record = logging.makeLogRecord({"msg": "x", "token": None, "has_password": True})

    written = json.loads(JsonFormatter().format(record))

    assert (written["token"], written["has_password"]) == (None, True)


@given(
    scheme=st.sampled_from(["https", "http", "redis", "rediss", "postgresql+asyncpg", "amqp"]),
    user=st.sampled_from(["", "ann", "ann%40x"]),
    secret=st.text("abcXYZ/@:019-._~!$&()*+,;=%", max_size=30).map("S3CR3T".__add__),
    rest=st.sampled_from(["h.test", "h.test:6379/0", "[::1]:80/p?q=1", "h.test/p"]),
)
def test_no_password_of_a_url_is_logged(scheme: str, user: str, secret: str, rest: str) -> None:
    for line in lines_of(f"cannot connect to {scheme}://{user}:{secret}@{rest}"):
        assert "S3CR3T" not in line


@pytest.mark.parametrize("name", ["key", "sig", "sid", "code", "auth", "pass", "session", "KEY"])
@pytest.mark.parametrize("separator", ["?", "?a=1&", "?a=1;"])
def test_short_names_are_secrets_in_the_query_of_a_url(name: str, separator: str) -> None:
    assert redacted(f"/p{separator}{name}=x1&b=2") == f"/p{separator}{name}={REDACTED}&b=2"


@given(
    secret=st.text("abcXYZ019-._~+/", max_size=20).map("S3CR3T".__add__),
    scheme=st.sampled_from(["Bearer", "bearer", "BEARER", "Basic", "basic"]),
)
def test_credentials_after_an_auth_scheme_are_not_logged(scheme: str, secret: str) -> None:
    if scheme.lower() == "basic":
        secret = b64encode(f"ann:{secret}".encode()).decode()

    for line in lines_of(f"refused {scheme} {secret}"):
        assert secret not in line


def test_a_json_web_token_is_redacted_without_a_name() -> None:
    known = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"

    assert redacted(f"got {known}!") == f"got {REDACTED}!"


@pytest.mark.parametrize(
    "text",
    [
        "GET /prices 200 in 1.2 ms",
        "GET /keys/<key> 404 in 1.2 ms",
        "Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
        "see https://h.test/a?page=2&sort=price#top",
        "mail to ann@h.test",
        "http://h.test:8000/users/ann@h.test",
        "the keyword was: here",
        "secretary is no secret, and a token is a word",
        "exit code=3 with key=value",
    ],
)
def test_text_without_a_secret_is_unchanged(text: str) -> None:
    assert redacted(text) == text
