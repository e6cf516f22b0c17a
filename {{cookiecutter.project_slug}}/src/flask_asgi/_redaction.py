"""Removes secrets from log lines: credentials in headers, URLs, settings and fields."""

import re
from typing import Any

REDACTED = "[redacted]"

# The words in names of secrets, with any text around them: `Proxy-Authorization`, `Set-Cookie`,
# `access_token`, `DATABASE__PASSWORD`, `X-Amz-Signature`.
# They are grouped by first letter, and that letter is checked first: this is four times as fast.
_NAMES = (
    r"(?=[acejpst])(?:authori[sz]ation|c(?:ookie|redential)|token|jwt|p(?:assw(?:or)?d|assphrase|wd)"
    r"|s(?:ecret|ignature|(?:igning|ession|ubscription)[-_. ]?key)"
    r"|(?:a(?:pi|ccess|uth)|private|encryption)[-_. ]?key)"
)


def _compile(pattern: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(pattern.replace("NAMES", _NAMES), re.IGNORECASE | flags)


_NAME = _compile("NAMES")

# Every repetition over a client's text is bounded, so that no text takes long.
_URL_USER = _compile(
    # RFC 3986 section 3.2.1, and passwords with a slash or an @ that are not encoded.
    r"(?<=://)(?:[^\s'\"<>/?#:@]{0,64}:(?!\d{1,5}[/?#])[^\s'\"<>?#]{0,512}|[^\s'\"<>/?#@]{0,512})@"
)
_PARAMETER = _compile(
    r"([?&;](?:[\w.~%-]{0,32}(?:NAMES)[\w.~%-]{0,32}+"
    # Short names are secrets in the query of a URL only. Elsewhere they are words.
    r"|[\w.~%-]{0,32}key|sig|sid|code|auth|pass|session)=)(?!\[redacted\])[^&;#\s'\"<>]+"
)
# `Cookie: a=1; b=2` and `Authorization: Digest a="b", c="d"`: the rest of the line.
_HEADER = _compile(
    r"((?:authori[sz]ation|cookie)s?\s{0,4}+[:=]\s{0,4}+)"
    r"(?!\s|[\[({]{0,2}[bru]?\\{0,7}['\"]|\[redacted\])[^\r\n]+"
)
# `"token": "x"`, `password='x'`, `token: [b'x']` and `(b"cookie", b"x")`. It may be cut off.
_QUOTED = _compile(
    r"((?:NAMES)[\w.-]{0,32}+(?:\\{0,7}['\"])?\s{0,4}+[:=]\s{0,4}+[\[({]{0,2}[bru]?"
    r"|\(b?['\"][\w.-]{0,32}(?:NAMES)[\w.-]{0,32}+['\"],\s?b?)"
    r"(?P<quote>\\{0,7}['\"])(?!\[redacted\])(?:\\.|.)*?(?P<end>(?P=quote)|\Z)",
    re.DOTALL,
)
# `token=x` and `password: x`
_PLAIN = _compile(
    r"((?:NAMES)[\w.-]{0,32}+\s{0,4}+[:=]\s{0,4}+)"
    r"(?!\s|[\[({]{0,2}[bru]?\\{0,7}['\"]|\[redacted\])\S+"
)
# Credentials without their header's name (RFC 9110 section 11.4), and JSON Web Tokens (RFC 7519).
_CREDENTIALS = _compile(r"\b(bearer|basic(?=\s+\S{0,256}(?-i:[\dA-Z=])))(\s{1,4})[\w.~+/-]+=*")
_JSON_WEB_TOKEN = _compile(r"\beyJ[\w-]{4,}\.[\w-]+\.[\w-]*")

# A text in lower case without any of these has no secret. This check costs a microsecond.
_HINTS = (
    *("authori", "cookie", "token", "secret", "pass", "pwd", "credential", "signature", "jwt"),
    *("key", "bearer", "basic", "eyj", "@", "?", "&", ";"),
)


def has_form(lowered: str) -> bool:
    """Tell whether a text in lower case has a form of secrets other than `name: value`.

    Each pattern above needs one of these or a colon.
    """
    return (
        "=" in lowered
        or "(" in lowered
        or "eyj" in lowered
        or "basic" in lowered
        or "bearer" in lowered
    )


def may_have_secrets(text: str) -> bool:
    """Tell whether `text` may hold secrets, so that it has to be searched."""
    lowered = text.lower()
    return (":" in lowered or has_form(lowered)) and any(map(lowered.__contains__, _HINTS))


def redacted(text: str) -> str:
    """Return `text` with `[redacted]` instead of each value that looks secret."""
    if not may_have_secrets(text):
        return text
    text = _URL_USER.sub(f"{REDACTED}@", text)
    text = _PARAMETER.sub(rf"\1{REDACTED}", text)
    text = _HEADER.sub(rf"\1{REDACTED}", text)
    text = _QUOTED.sub(rf"\1\g<quote>{REDACTED}\g<end>", text)
    text = _PLAIN.sub(rf"\1{REDACTED}", text)
    text = _CREDENTIALS.sub(rf"\1\2{REDACTED}", text)
    return _JSON_WEB_TOKEN.sub(REDACTED, text)


def without_secrets(value: Any) -> Any:  # noqa: ANN401 - whatever is logged
    """Return a value for JSON with its texts redacted, and the values under names of secrets."""
    match value:
        case str():
            return redacted(value)
        case dict():
            return {name: _named(name, each) for name, each in value.items()}
        case (name, _) if isinstance(value, tuple) and is_secret(name):  # a header
            return [name, REDACTED]
        case list() | tuple():
            return [without_secrets(each) for each in value]
        case None | bool() | int() | float():
            return value
    return redacted(str(value))


def _named(name: object, value: object) -> object:
    if value is None or isinstance(value, bool) or not is_secret(name):
        return without_secrets(value)
    return REDACTED


def is_secret(name: object) -> bool:
    """Tell whether a value with this name is a secret."""
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    return isinstance(name, str) and _NAME.search(name) is not None
