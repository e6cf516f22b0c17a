"""The public keys of an issuer of tokens: a JSON Web Key Set (RFC 7517), fetched and kept."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from time import monotonic
from typing import Any, TypeAlias

import jwt

logger = logging.getLogger(__name__)

Fetch = Callable[[], Awaitable[bytes]]

# A key as it is in the set.
_Member: TypeAlias = dict[str, Any]

# Types of keys that sign tokens: RFC 7518 section 6. Not `oct`: a shared secret must not be in a
# set that anybody can read, because with it anybody can make tokens (RFC 8725 section 2.1).
_KINDS = {"RSA", "EC", "OKP"}

MOST_KEYS = 100  # of a set; issuers have two or three


class KeysUnavailableError(Exception):
    """The issuer's keys are unknown, so no token can be checked now."""


class IssuerKeys:
    """The keys of one issuer, fetched at the first token and kept up to date from then on.

    While the issuer does not answer, the known keys stay in use.

    Args:
        fetch: returns the key set as JSON. It must limit time and size itself, as
            `upstreams.Upstream.get` does.
        refresh_after: the age in seconds after which the next token starts a fetch of the keys,
            without waiting for it.
        keep_for: the age in seconds after which keys are no longer used, even if the issuer does
            not answer.
        pause: the least time in seconds between two fetches, whatever tokens arrive. It may take
            this long until a new key of the issuer is found.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        refresh_after: float = 300,
        keep_for: float = 86_400,
        pause: float = 10,
    ) -> None:
        self._fetch = fetch
        self._refresh_after = refresh_after
        self._keep_for = keep_for
        self._pause = pause
        self._members: list[_Member] = []
        self._ready: dict[tuple[str | None, str], jwt.PyJWK] = {}
        self._fetched_at = self._asked_at = float("-inf")  # in the time of `monotonic`
        self._is_up = True
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key for tokens with this key id and algorithm; None if there is no such key.

        A token without a key id is accepted if the issuer has only one key.

        Raises:
            KeysUnavailableError: no keys are known, and the issuer does not answer.
        """
        age = monotonic() - self._fetched_at
        if age > self._keep_for:
            await self._refresh()
        elif age > self._refresh_after:
            self._start_refresh()
        if (key := self._known(key_id, algorithm)) is None:
            await self._refresh()  # the key may be new
            key = self._known(key_id, algorithm)
        if monotonic() - self._fetched_at > self._keep_for:
            raise KeysUnavailableError
        return key

    def _known(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        if (key_id, algorithm) in self._ready:
            return self._ready[key_id, algorithm]
        is_only_one = len(self._members) == 1
        for member in self._members:
            is_named = is_only_one if key_id is None else member.get("kid") == key_id
            if not is_named or member.get("alg", algorithm) != algorithm:
                continue
            try:
                key = jwt.PyJWK(member, algorithm)
            except Exception:  # noqa: BLE001, S112 - of another kind, or broken in whatever way
                continue
            self._ready[key_id, algorithm] = key
            return key
        return None

    async def _refresh(self) -> None:
        """Wait for a fetch: for one under way, or for a new one unless the last is too recent."""
        if task := self._start_refresh():
            await asyncio.shield(task)  # others wait for it, too

    def _start_refresh(self) -> asyncio.Task[None] | None:
        task = self._fetching
        if task and not task.done() and task.get_loop() is asyncio.get_running_loop():
            return task
        if monotonic() - self._asked_at < self._pause:
            return None
        self._asked_at = monotonic()
        # In an empty context: the fetch serves other requests too, so no deadline may end it.
        task = self._fetching = asyncio.create_task(contained(self._replace()), context=Context())
        return task

    async def _replace(self) -> None:
        try:
            self._members = _members(await self._fetch())
        except Exception as error:  # noqa: BLE001 - whatever it is, the old keys stay
            if self._is_up:
                kind = type(error).__name__  # its text may hold the address
                logger.warning("The keys of the issuer of tokens cannot be fetched: %s", kind)
            self._is_up = False
            return
        self._ready.clear()
        self._fetched_at = monotonic()
        if not self._is_up:
            self._is_up = True
            logger.warning("The keys of the issuer of tokens can be fetched again")


async def contained(work: Awaitable[None]) -> None:
    """Wait for `work`, as a task that others wait for.

    asyncio raises a task's `SystemExit` or `KeyboardInterrupt` out of the loop's `run_forever`,
    which would end the server for every request.

    Raises:
        RuntimeError: `work` raised one of these two.
    """
    try:
        await work
    except (SystemExit, KeyboardInterrupt) as error:
        message = f"the fetch of an issuer's keys raised {type(error).__name__}"
        raise RuntimeError(message) from error


def _members(text: bytes) -> list[_Member]:
    """Return the keys of a set that are for signatures (RFC 7517 sections 4 and 5)."""
    keys = json.loads(text)["keys"]
    found = [each for each in keys[:MOST_KEYS] if isinstance(each, dict) and _is_for_tokens(each)]
    if not found:
        message = "no key of the set verifies signatures"
        raise ValueError(message)
    return found


def _is_for_tokens(member: _Member) -> bool:
    operations = member.get("key_ops", ["verify"])
    return (
        member.get("kty") in _KINDS
        and member.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )
