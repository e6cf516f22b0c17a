"""The pool of connections: aiohttp's, with two repairs.

It overrides parts of aiohttp that are not public API; a test fails when they are gone.
"""

import asyncio
import ssl
from functools import partial
from typing import Any

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler

from ._certificates import trust


class Connector(aiohttp.TCPConnector):
    """Makes connections with `_Handler`; frees a connection whose set-up is cancelled."""

    def __init__(self, *, ssl: ssl.SSLContext) -> None:
        super().__init__(limit=0, ssl=ssl)  # `Slots` limits the calls at a time
        handler: type[ResponseHandler] = _Handler
        self._factory = partial(handler, loop=asyncio.get_running_loop())

    async def _wrap_create_connection(
        self,
        *args: Any,  # noqa: ANN401 - aiohttp's signature, to pass on
        **kwargs: Any,  # noqa: ANN401
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        made: list[ResponseHandler] = []

        def make() -> ResponseHandler:
            made.append(self._factory())
            return made[0]

        try:
            return await super()._wrap_create_connection(make, *args[1:], **kwargs)
        except BaseException:
            # uvloop does not tell the handler, so the handler and its transport would keep each
            # other and the request's context alive.
            for handler in made:
                handler.close()
            raise


# Statuses of replies without a body, as in a status line: RFC 9112 section 6.3.
_BODILESS = (b"204", b"304")


class _Handler(ResponseHandler):
    """Keeps a reply without a body when bytes follow it, and then closes the connection.

    aiohttp would lose the reply: its parser takes the bytes for the next reply, and fails. Then a
    DELETE that succeeded would look as if it had failed.
    """

    def data_received(self, data: bytes) -> None:
        if self._skip_payload or data[9:12] in _BODILESS:
            head, end, rest = data.partition(b"\r\n\r\n")
            if rest or (end and _promises_body(head) and not self._skip_payload):
                super().data_received(head + end)
                self._should_close = True
                return
        super().data_received(data)


def _promises_body(head: bytes) -> bool:
    names = head.lower()
    return b"\ncontent-length:" in names or b"\ntransfer-encoding:" in names


def tls_context(base_url: str) -> ssl.SSLContext:
    """Return the context that checks the certificate of the server at `base_url`.

    It trusts the public authorities (certifi's) and the certificates in `SSL_CERT_FILE` and
    `SSL_CERT_DIR`. Reading them blocks for about 20 ms, so an `Upstream` does it once, when it is
    made.

    Raises `OSError` for what `certificate_mistakes` reports.
    """
    # Plain HTTP needs no certificates: this context trusts none.
    if httpx.URL(base_url).scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = httpx.create_ssl_context(trust_env=False)
    trust(context)
    return context
