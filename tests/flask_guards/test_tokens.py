"""Which tokens are accepted; a refusal shows no part of the token."""

import asyncio
import hashlib
import hmac
import json
import time
import warnings
from itertools import count
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask_guards import Caller, TokenError
from flask_guards import _tokens as module
from hypothesis import given
from hypothesis import strategies as st

from .issuer import AUDIENCE, ISSUER, Issuer, forged, private_key, public_jwk

pytestmark = pytest.mark.anyio

NOW = int(time.time())  # the tests may run much later
DAY = 86_400
CLAIMS = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "someone",
    "client_id": "c",
    "iat": NOW,
    "exp": NOW + DAY,
    "jti": "1",
}


@pytest.mark.parametrize("algorithm", module.ALGORITHMS)
async def test_a_token_of_the_issuer_is_accepted(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    found = await issuer.verifier().verify(issuer.token(scope="quotes:read quotes:write"))

    assert isinstance(found, Caller)
    assert (found.subject, found.client) == ("someone", "a program")
    assert found.scopes == {"quotes:read", "quotes:write"}
    assert found.claims["jti"] == "1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": NOW - 100}, "The token has expired."),
        ({"exp": "never"}, "The token is malformed."),
        ({"exp": float("inf")}, "The token is malformed."),
        ({"exp": None}, "The token lacks a claim that is required."),
        ({"nbf": NOW + DAY}, "The token is not valid yet."),
        ({"iat": NOW + DAY}, "The token is not valid yet."),
        ({"aud": "https://other.example.com"}, "The token is for another audience."),
        ({"aud": []}, "The token lacks a claim that is required."),
        ({"aud": None}, "The token lacks a claim that is required."),
        ({"iss": ISSUER.rstrip("/")}, "The token is from another issuer."),
        ({"iss": None}, "The token lacks a claim that is required."),
        ({"sub": None}, "The token lacks a claim that is required."),
        ({"sub": ""}, "The subject of the token is empty."),
        ({"sub": 7}, "The token is malformed."),
        ({"client_id": None}, "The token lacks a claim that is required."),
        ({"jti": None}, "The token lacks a claim that is required."),
    ],
)
async def test_a_token_with_wrong_claims_is_refused(
    issuer: Issuer, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(TokenError) as refused:
        await issuer.verifier().verify(issuer.token(**changes))

    assert str(refused.value) == reason


@pytest.mark.parametrize("late", [100, -100])
async def test_clocks_may_differ_by_the_leeway(issuer: Issuer, late: int) -> None:
    now = int(time.time()) + late
    token = issuer.token(iat=now, nbf=now, exp=now if late < 0 else now + 600)

    assert (await issuer.verifier(leeway=300).verify(token)).subject
    with pytest.raises(TokenError):
        await issuer.verifier(leeway=1).verify(token)


async def test_a_token_with_a_huge_expiry_is_cached_no_longer_than_others(issuer: Issuer) -> None:
    verifier = issuer.verifier(remember_for=60)
    assert (await verifier.verify(issuer.token(exp=10**400))).subject

    ((_, until),) = verifier._remembered.values()
    assert until <= time.time() + 60


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"typ": "JWT"}, "The token is not of the type at+jwt."),
        ({"typ": "application/jwt"}, "The token is not of the type at+jwt."),
        ({"kid": "another"}, "The key of the token is unknown."),
        ({"crit": ["more"], "more": 1}, "The token is malformed."),
    ],
)
async def test_a_token_with_a_wrong_header_is_refused(
    issuer: Issuer, header: dict[str, Any], reason: str
) -> None:
    with pytest.raises(TokenError) as refused:
        await issuer.verifier().verify(issuer.token(header=header))

    assert str(refused.value) == reason


@pytest.mark.parametrize("kind", ["at+jwt", "AT+JWT", "application/at+jwt"])
async def test_the_token_type_ignores_case_and_prefix(issuer: Issuer, kind: str) -> None:
    assert (await issuer.verifier().verify(issuer.token(header={"typ": kind}))).subject


async def test_tokens_of_an_issuer_without_rfc_9068_can_be_accepted(issuer: Issuer) -> None:
    token = issuer.token(
        header={"typ": "JWT"}, client_id=None, jti=None, azp="web", scp=["quotes:read", 7]
    )
    found = await issuer.verifier(token_type="JWT").verify(token)  # noqa: S106 - a type

    assert (found.client, found.scopes) == ("web", frozenset({"quotes:read"}))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "HS512", None, 1, [], {}])
async def test_an_algorithm_without_a_key_of_the_issuer_is_refused(
    issuer: Issuer, algorithm: Any
) -> None:
    header = {"alg": algorithm, "typ": "at+jwt", "kid": "first"}

    with pytest.raises(TokenError):
        await issuer.verifier().verify(forged(header, CLAIMS))
    with pytest.raises(TokenError):
        await issuer.verifier().verify(forged(header, CLAIMS, b"signature"))


async def test_a_public_key_is_not_accepted_as_a_shared_secret() -> None:
    issuer = Issuer("RS256")
    public = issuer.key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body, _ = forged({"alg": "HS256", "typ": "at+jwt", "kid": "first"}, CLAIMS).split(".")
    for secret in (pem, json.dumps(issuer.members[0]).encode(), b""):
        digest = hmac.digest(secret, f"{head}.{body}".encode(), hashlib.sha256)
        signature = jwt.utils.base64url_encode(digest).decode()
        with pytest.raises(TokenError):
            await issuer.verifier().verify(f"{head}.{body}.{signature}")


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
async def test_a_forged_or_changed_token_is_refused(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    head, body, signature = issuer.token().split(".")
    other = jwt.encode(
        CLAIMS, private_key(algorithm, 99), algorithm, headers={"typ": "at+jwt", "kid": "first"}
    )
    embedded = jwt.encode(
        CLAIMS,
        private_key(algorithm, 99),
        algorithm,
        headers={"typ": "at+jwt", "kid": "first", "jku": "https://evil.example.com", "jwk": {}},
    )
    changed = forged({}, {**CLAIMS, "sub": "admin"}).split(".")[1]

    for token in (other, embedded, f"{head}.{changed}.{signature}", f"{head}.{body}."):
        with pytest.raises(TokenError):
            await issuer.verifier().verify(token)


async def test_a_weak_key_of_the_issuer_is_refused() -> None:
    issuer = Issuer("RS256")
    issuer.key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - the test needs a weak key
    issuer.members = [public_jwk(issuer.key, "RS256", "first")]
    with warnings.catch_warnings(action="ignore"):
        token = issuer.token()

    with pytest.raises(TokenError):
        await issuer.verifier().verify(token)


@given(
    st.text()
    | st.text("eyJ.AZaz09-_=", max_size=60)
    | st.builds(
        forged,
        st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit"]), st.integers() | st.text()),
        st.binary(),
        st.binary(),
    )
    | st.builds(
        lambda kid, body: forged({"alg": "ES256", "typ": "at+jwt", "kid": kid}, body, b"x" * 64),
        st.sampled_from(["first", "", "x"]),
        st.binary() | st.just(b"[" * 2000) | st.just(b"{}"),
    )
)
def test_any_other_text_is_refused_and_not_repeated_in_the_error(token: str) -> None:
    issuer = Issuer()
    with pytest.raises(TokenError) as refused:
        asyncio.run(issuer.verifier().verify(token))

    assert str(refused.value).isascii()
    assert not {*'"\\'} & {*str(refused.value)}  # RFC 6750 section 3
    assert len(token) < 9 or token not in str(refused.value)
    assert refused.value.__context__ is None


async def test_a_token_that_is_too_long_is_refused_before_parsing(issuer: Issuer) -> None:
    with pytest.raises(TokenError, match="too long"):
        await issuer.verifier().verify(issuer.token(more="x" * 8192))
    assert issuer.fetches == 0


async def test_an_accepted_token_is_cached_until_it_expires(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = int(time.time())
    now, checks = [float(begun)], count()
    decode = jwt.decode
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(
        jwt, "decode", lambda *args, **kw: next(checks) >= 0 and decode(*args, **kw)
    )
    verifier = issuer.verifier(remember_for=DAY, leeway=0)
    token = issuer.token(exp=begun + 3000)

    first = await verifier.verify(token)
    now[0] += 2999
    assert await verifier.verify(token) is first
    assert next(checks) == 1
    now[0] += 1
    await verifier.verify(token)  # PyJWT's clock stands still: only the cache entry has expired
    assert next(checks) == 3


async def test_the_cache_of_tokens_is_bounded_and_drops_the_oldest(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_REMEMBERED", 3)
    verifier = issuer.verifier()
    for number in range(10):
        await verifier.verify(issuer.token(jti=str(number)))

    assert [each.claims["jti"] for each, _ in verifier._remembered.values()] == ["7", "8", "9"]


async def test_a_refused_token_is_not_cached(issuer: Issuer) -> None:
    verifier = issuer.verifier()
    for _ in range(3):
        with pytest.raises(TokenError):
            await verifier.verify(issuer.token(exp=NOW - 100))

    assert not verifier._remembered


def test_algorithms_with_a_shared_secret_cannot_be_configured(issuer: Issuer) -> None:
    with pytest.raises(ValueError, match=r"algorithms: \['HS256', 'none'\]; accepted: RS256, "):
        issuer.verifier(algorithms=["RS256", "HS256", "none"])


@pytest.mark.parametrize("scope", [None, "", " ", 7, {}, [], [[]], {"a": 1}])
async def test_an_invalid_scope_claim_allows_nothing(issuer: Issuer, scope: Any) -> None:
    assert (await issuer.verifier().verify(issuer.token(scope=scope))).scopes == frozenset()
