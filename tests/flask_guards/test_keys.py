"""An issuer's keys are fetched rarely, once for all callers, and kept while the issuer is down."""

import asyncio
import logging
from typing import Any

import pytest
from flask_guards import IssuerKeys, KeysUnavailableError
from flask_guards import _keys as module

from .issuer import Issuer, private_key, public_jwk

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time in seconds, which a test can set."""
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


async def settled(keys: IssuerKeys) -> None:
    """Return when no fetch is in progress."""
    if keys._fetching:
        await keys._fetching


async def test_many_tokens_at_once_fetch_the_keys_once(issuer: Issuer) -> None:
    issuer.is_held = asyncio.Event()
    keys = issuer.keys()
    finds = [asyncio.create_task(keys.find("first", "ES256")) for _ in range(50)]
    await asyncio.sleep(0)
    issuer.is_held.set()

    assert len(set(await asyncio.gather(*finds))) == 1
    assert issuer.fetches == 1


async def test_a_cancelled_caller_does_not_cancel_the_shared_fetch(issuer: Issuer) -> None:
    issuer.is_held = asyncio.Event()
    keys = issuer.keys()
    leaves, stays = (asyncio.create_task(keys.find("first", "ES256")) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.wait([leaves])
    issuer.is_held.set()

    assert await stays
    assert issuer.fetches == 1


async def test_old_keys_are_used_while_new_ones_are_fetched(
    issuer: Issuer, clock: list[float]
) -> None:
    keys = issuer.keys(refresh_after=300)
    await keys.find("first", "ES256")
    issuer.rotate("second")
    clock[0] += 301
    issuer.is_held = asyncio.Event()  # the fetch ends only after the first token is checked

    assert await keys.find("first", "ES256")
    issuer.is_held.set()
    await settled(keys)
    assert issuer.fetches == 2
    assert await keys.find("first", "ES256") is None  # withdrawn
    assert await keys.find("second", "ES256")


async def test_a_new_key_is_fetched_once_for_all_tokens(issuer: Issuer, clock: list[float]) -> None:
    keys = issuer.keys(pause=10)
    await keys.find("first", "ES256")
    issuer.rotate("second", keep=True)
    clock[0] += 10

    found = await asyncio.gather(*(keys.find("second", "ES256") for _ in range(50)))

    assert len(set(found)) == 1
    assert issuer.fetches == 2


async def test_unknown_keys_cause_one_fetch_per_pause(issuer: Issuer, clock: list[float]) -> None:
    keys = issuer.keys(pause=10)
    for second in range(100):
        clock[0] = 1000.0 + second
        for number in range(10):
            assert await keys.find(f"forged {second} {number}", "ES256") is None

    assert issuer.fetches == 10


async def test_an_issuer_that_is_down_keeps_the_old_keys_in_use_with_one_warning(
    issuer: Issuer, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    keys = issuer.keys(refresh_after=300, keep_for=3600)
    await keys.find("first", "ES256")
    issuer.failure = OSError("https://login.example.com/?secret=1 refused")
    for _ in range(9):
        clock[0] += 360
        assert await keys.find("first", "ES256")
        await settled(keys)
    issuer.failure = None
    clock[0] += 360
    await keys.find("first", "ES256")
    await settled(keys)

    said = [(each.levelno, each.getMessage()) for each in caplog.records]
    assert said == [
        (logging.WARNING, "The keys of the issuer of tokens cannot be fetched: OSError"),
        (logging.WARNING, "The keys of the issuer of tokens can be fetched again"),
    ]


async def test_keys_that_are_too_old_are_not_used(issuer: Issuer, clock: list[float]) -> None:
    keys = issuer.keys(keep_for=3600)
    await keys.find("first", "ES256")
    issuer.failure = OSError()
    clock[0] += 3601

    with pytest.raises(KeysUnavailableError):
        await keys.find("first", "ES256")


async def test_missing_keys_are_fetched_once_per_pause(issuer: Issuer, clock: list[float]) -> None:
    issuer.failure = OSError()
    keys = issuer.keys(pause=10)
    for second in range(30):
        clock[0] = 1000.0 + second
        with pytest.raises(KeysUnavailableError):
            await keys.find("first", "ES256")

    assert issuer.fetches == 3


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"keys": null}',
        b'{"keys": {}}',
        b'{"keys": []}',
        b'{"keys": [null, 1, "x"]}',
        b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "first"}]}',
        b'{"keys": [{"kty": "EC", "use": "enc", "kid": "first"}]}',
        b'{"keys": [{"kty": "EC", "key_ops": ["sign"], "kid": "first"}]}',
        b'{"keys": [{"kty": "EC", "key_ops": 1, "kid": "first"}]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
async def test_a_reply_without_usable_keys_keeps_the_old_keys(
    issuer: Issuer, clock: list[float], reply: bytes
) -> None:
    keys = issuer.keys()
    await keys.find("first", "ES256")

    async def fetch() -> bytes:
        return reply

    keys._fetch = fetch
    clock[0] += 301
    await keys.find("first", "ES256")
    await settled(keys)

    assert await keys.find("first", "ES256")


@pytest.mark.parametrize(
    "broken",
    [
        {"kty": "EC"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": ["P-256"], "x": 1, "y": None},
        {"kty": "RSA", "n": "AQAB"},
        {"kty": "OKP", "crv": "X25519", "x": "AAAA"},
    ],
)
async def test_a_broken_key_does_not_hide_the_others(
    issuer: Issuer, broken: dict[str, Any]
) -> None:
    issuer.members.insert(0, {**broken, "kid": "broken"})
    keys = issuer.keys()

    assert await keys.find("first", "ES256")
    for algorithm in ("ES256", "RS256", "EdDSA"):
        assert await keys.find("broken", algorithm) is None


async def test_a_key_is_used_only_for_its_algorithm(issuer: Issuer) -> None:
    key = private_key("RS256")
    issuer.members = [
        {**public_jwk(key, "RS256", "any")},
        {**public_jwk(key, "RS256", "one"), "alg": "PS256"},
    ]
    keys = issuer.keys()

    async def algorithm_of(key_id: str, algorithm: str) -> str | None:
        key = await keys.find(key_id, algorithm)
        return None if key is None else key.algorithm_name

    assert await algorithm_of("any", "RS256") == "RS256"
    assert await algorithm_of("any", "PS256") == "PS256"
    assert await algorithm_of("one", "PS256") == "PS256"
    for key_id, algorithm in (("one", "RS256"), ("any", "ES256"), ("any", "HS256")):
        assert await keys.find(key_id, algorithm) is None


async def test_a_token_without_a_key_id_is_accepted_only_if_the_issuer_has_one_key(
    issuer: Issuer,
) -> None:
    keys = issuer.keys()
    assert await keys.find(None, "ES256")

    issuer.rotate("second", keep=True)
    assert await issuer.keys().find(None, "ES256") is None


async def test_a_fetch_that_raises_system_exit_does_not_end_the_server() -> None:
    async def fetch() -> bytes:
        raise SystemExit

    with pytest.raises(RuntimeError, match="the fetch of an issuer's keys raised SystemExit"):
        await IssuerKeys(fetch).find("first", "ES256")
