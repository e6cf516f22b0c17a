"""Attacking clients. Each attacks its own server process and describes the outcome."""

import asyncio
import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import uvloop

from .raw import Answer, Connection, Lost, chunked, request
from .robustness import counts
from .services import CLOSED_PORT, Service, running
from .serving import CACHE, Cores, Server, ask, upstream_on
from .traffic import KIB, MB, longest_livez, prices

PATIENCE_SECONDS = 5.0  # for an answer that takes no time
PAUSE_SECONDS = 0.2  # the rest then arrives in a separate TCP segment
MARK = request("GET", "/mark")


class Field(NamedTuple):
    """A service under attack, and the cores that take part."""

    name: str
    service: Service
    cores: Cores

    @property
    def log_name(self) -> str:
        """The name of the service's log."""
        return f"attack-{self.name}"

    @contextmanager
    def running(
        self,
        *options: str,
        upstream: int = CLOSED_PORT,
        env: Mapping[str, str] | None = None,
        output: int | None = None,
    ) -> Iterator[Server]:
        """Runs the service; `options` are uvicorn's, `env` holds settings of the bake."""
        service = self.service._replace(options=(*self.service.options, *options))
        with running(
            self.log_name,
            service,
            core=self.cores.server,
            upstream=upstream,
            env=env,
            output=output,
        ) as server:
            yield server

    def tracebacks(self) -> int:
        """The number of tracebacks in its log."""
        return (CACHE / f"{self.log_name}.log").read_bytes().count(b"Traceback (most recent")


# Bytes that a parser and an application could read differently.


def desync(field: Field) -> str:
    """Sends upgrade requests whose bodies are requests."""
    with field.running() as server:
        return uvloop.run(_desync(server.port))


class Upgraded(NamedTuple):
    """An upgrade request with another request as its body."""

    method: str
    token: str
    path: str
    framing: str
    own_segment: bool  # for the body

    def segments(self) -> list[bytes]:
        """The bytes to send, in parts."""
        size, body, end = b"", MARK, b""
        framing = f"Content-Length: {len(MARK)}"
        if self.framing == "chunked":
            framing = "Transfer-Encoding: chunked"
            size, body, end = chunked(MARK).partition(MARK)
        upgrade = ("Connection: Upgrade", f"Upgrade: {self.token}", "Content-Type: text/plain")
        parts = [request(self.method, self.path, *upgrade, framing) + size, body, end]
        return parts if self.own_segment else [b"".join(parts)]


UPGRADED = [
    Upgraded(*case)
    for case in itertools.product(
        ("POST", "PUT", "GET"),
        ("x", "websocket", "h2c"),
        ("/body", "/sync/body", "/missing"),
        ("length", "chunked"),
        (False, True),
    )
]


async def _desync(port: int) -> str:
    before = await _marks(port)
    answers = await asyncio.gather(*(_upgraded(port, case) for case in UPGRADED))
    executed = await _marks(port) - before - 1
    return (
        f"{executed} of {len(UPGRADED)} bodies executed as requests; "
        f"first answers {counts(Counter(answers))}"
    )


async def _upgraded(port: int, case: Upgraded) -> str:
    async with await Connection.open(port) as connection:
        with suppress(*Lost):
            for part in case.segments():
                await connection.send(part)
                await asyncio.sleep(PAUSE_SECONDS)
        return await _status(connection)


async def _marks(port: int) -> int:
    async with await Connection.open(port) as connection:
        await connection.send(MARK)
        return int((await connection.answer()).body.rpartition(b":")[2].strip(b" }\n"))


def upgrade_with_body(field: Field) -> str:
    """Posts like Java's client, which offers HTTP/2 with its first request."""
    headers = (
        *("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"),
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    )
    body = bytes(1000)
    head = request("POST", "/body", *headers, f"Content-Length: {len(body)}")

    async def attack(port: int) -> str:
        whole = await _in_parts(port, head + body)
        parts = await _in_parts(port, head, body)
        return f"in one segment: {whole}; the body in its own: {parts}"

    with field.running() as server:
        return uvloop.run(attack(server.port))


def upgrade_without_body(field: Field) -> str:
    """Requests a WebSocket, which no service here offers, and then a normal resource."""
    text = request("GET", "/nothing", "Connection: Upgrade", "Upgrade: websocket")
    with field.running() as server:
        return uvloop.run(_in_parts(server.port, text))


async def _in_parts(port: int, *parts: bytes) -> str:
    """The outcome of a request in parts, and of the next request on its connection."""
    async with await Connection.open(port) as connection:
        try:
            for part in parts:
                await connection.send(part)
                await asyncio.sleep(PAUSE_SECONDS)
        except Lost:
            return "connection lost"
        answer = await _answer(connection)
        if isinstance(answer, str):
            return answer
        received = answer.body.decode(errors="replace").strip() if answer.status == 200 else ""  # noqa: PLR2004
        with suppress(*Lost):
            await connection.send(request("GET", "/nothing"))
        after = await _status(connection)
        return f"{answer.status} {received}, the next request {after}".replace(" ,", ",")


def deep_json(field: Field) -> str:
    """Posts 5 KB of JSON: lists in lists, 2,500 deep, and objects in objects, 1,000 deep."""
    texts = {"lists": b"[" * 2500 + b"]" * 2500, "objects": b'{"":' * 1000 + b"1" + b"}" * 1000}

    async def attack(port: int) -> str:
        found = {}
        for name, text in texts.items():
            async with await Connection.open(port) as connection:
                await connection.send(
                    request("POST", "/json", "Content-Type: application/json", body=text)
                )
                found[name] = await _status(connection)
        return ", ".join(f"{name}: {status}" for name, status in found.items())

    with field.running() as server:
        answered = uvloop.run(attack(server.port))
    return f"{answered}; {field.tracebacks()} tracebacks"


LARGE = {
    "Host of 1 MB": request("GET", "/nothing", host="h" * MB),
    "a header of 1 MB": request("GET", "/nothing", f"X-Large: {'v' * MB}"),
    "a name of 1 MB": request("GET", "/nothing", f"X-{'n' * MB}: 1"),
    "10,000 headers": request("GET", "/nothing", *(f"X-{number}: 1" for number in range(10_000))),
    "a path of 1 MB": request("GET", f"/{'p' * MB}"),
}
LARGE_TIMES = 20


def large_heads(field: Field) -> str:
    """Sends requests with a large head, each 20 times."""

    async def attack(port: int, text: bytes) -> str:
        return counts(Counter([await _once(port, text) for _ in range(LARGE_TIMES)]))

    found = []
    for name, text in LARGE.items():
        with field.running() as server:
            before = server.memory()
            answered = uvloop.run(attack(server.port, text))
            found.append(f"{name}: {answered}, +{(server.memory() - before) / 1e6:.0f} MB")
    return "; ".join(found)


async def _once(port: int, text: bytes) -> str:
    async with await Connection.open(port) as connection:
        with suppress(*Lost):
            await connection.send(text)
        return await _status(connection)


# Clients that are slow, or disconnect.

SLOW_CLIENTS = 100
SLOW_SECONDS = 0.5  # from byte to byte
SLOW_LIMIT = 5  # seconds: REQUEST_TIMEOUT_SECONDS
SLOW_PATIENCE = 15.0


def slow_bodies(field: Field) -> str:
    """Keeps 100 synchronous views waiting for bodies that arrive byte by byte."""
    headers = {
        "chunked": "Transfer-Encoding: chunked",
        "100 KB": f"Content-Length: {100 * KIB}",
    }
    found = []
    for name, header in headers.items():
        with field.running(env={"REQUEST_TIMEOUT_SECONDS": str(SLOW_LIMIT)}) as server:
            found.append(f"{name}: {uvloop.run(_slow_bodies(server.port, header))}")
    return "; ".join(found)


async def _slow_bodies(port: int, header: str) -> str:
    is_chunked = header.startswith("Transfer")
    head = request("POST", "/sync/body", "Content-Type: application/octet-stream", header)
    byte = b"1\r\nx\r\n" if is_chunked else b"x"

    async def client(connection: Connection) -> str:
        answer = asyncio.create_task(_answer(connection, 4 * SLOW_PATIENCE))
        with suppress(*Lost):
            await connection.send(head)
            while not answer.done():
                await connection.send(byte)
                await asyncio.sleep(SLOW_SECONDS)
        found = await answer
        return str(found.status) if isinstance(found, Answer) else found

    connections = [await Connection.open(port) for _ in range(SLOW_CLIENTS)]
    clients = [asyncio.create_task(client(each)) for each in connections]
    await asyncio.sleep(1)
    victim = await _timed(_patiently(port, request("GET", "/sync/nothing"), SLOW_PATIENCE))
    livez = await _timed(_patiently(port, request("GET", "/livez"), SLOW_PATIENCE))
    got = Counter(task.result() for task in clients if task.done())
    for task in clients:
        task.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return f"another sync view {victim}, /livez {livez}, slow clients so far {counts(got)}"


RESETS = 3000


def pipelined_and_reset(field: Field) -> str:
    """Sends several requests at once and breaks the connection, 3,000 times."""

    async def client(port: int, chance: random.Random) -> None:
        texts = (request("GET", "/nothing"), prices(chance.randrange(10**6), 3))
        with suppress(*Lost):
            connection = await Connection.open(port)
            await connection.send(b"".join(chance.choices(texts, k=3)))
            await asyncio.sleep(chance.uniform(0, 0.02))
            connection.reset()

    async def attack(port: int) -> None:
        chance = random.Random(1)  # noqa: S311 (no secret)
        for _ in range(RESETS // 50):
            await asyncio.gather(*(client(port, chance) for _ in range(50)))

    with (
        upstream_on(field.cores.upstream, "prices_upstream") as upstream,
        field.running(upstream=upstream) as server,
    ):
        uvloop.run(attack(server.port))
        server.settle()
        log = (CACHE / f"{field.log_name}.log").read_bytes()
    errors = sum(b"ERROR" in line for line in log.splitlines())
    return f"{errors} lines of ERROR, {field.tracebacks()} tracebacks"


# Attacks that affect other callers.

HOSTILE_PER_SECOND, VICTIM_PER_SECOND, DEADLINE_ATTACK_SECONDS = 6, 5, 15
HOSTILE_SYMBOLS = 20


def short_deadlines(field: Field) -> str:
    """Asks for prices with a deadline of 20 ms in a header; the upstream takes 100 ms."""
    header = "X-Envoy-Expected-Rq-Timeout-Ms: 20"

    async def caller(port: int, symbols: int, rate: int, *headers: str) -> Counter[str]:
        found = []
        for number in range(rate * DEADLINE_ATTACK_SECONDS):
            text = prices(symbols * (10**6 + number), symbols, *headers)
            found.append(asyncio.create_task(_once(port, text)))
            await asyncio.sleep(1 / rate)
        return Counter(await asyncio.gather(*found))

    async def attack(port: int) -> str:
        async with asyncio.TaskGroup() as group:
            hostile = group.create_task(caller(port, HOSTILE_SYMBOLS, HOSTILE_PER_SECOND, header))
            await asyncio.sleep(1)
            victim = group.create_task(caller(port, 1, VICTIM_PER_SECOND))
        got, sent = victim.result(), hostile.result()
        return f"the other caller got {counts(got)}; the hostile one {counts(sent)}"

    with (
        upstream_on(field.cores.upstream, "prices_upstream", "good", "0.1") as upstream,
        field.running(upstream=upstream) as server,
    ):
        return uvloop.run(attack(server.port))


BOMBS = {"100 KB of gzip": "gzip", "gzip, gzip, gzip": "gzip-gzip-gzip"}


def decoding_bombs(field: Field) -> str:
    """Lets the upstream answer with few bytes that decode to very many."""
    found = []
    for name, kind in BOMBS.items():
        with (
            upstream_on(field.cores.upstream, "prices_upstream", kind) as upstream,
            field.running(upstream=upstream) as server,
        ):
            before = server.memory()
            answered, livez = uvloop.run(_beside_livez(server.port, prices(0, 1)))
            more = (server.peak_memory() - before) / 1e6
            found.append(f"{name}: {answered}, +{more:.0f} MB at the peak, /livez {livez:.2f} s")
    return "; ".join(found)


async def _beside_livez(port: int, text: bytes) -> tuple[str, float]:
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(_patiently(port, text, 30))
        livez = group.create_task(longest_livez(port, until=asked))
    return asked.result(), livez.result()


# Attacks on the process.

ORPHAN_SECONDS = 10.0


def killed_parent(field: Field) -> str:
    """Kills the parent of two workers by SIGKILL."""
    with field.running("--workers", "2", env={"WEB_CONCURRENCY": "2"}) as server:
        workers = [pid for pid in server.workers() if b"resource_tracker" not in _command(pid)]
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        began = time.monotonic()
        while (left := [pid for pid in workers if _is_alive(pid)]) and (
            time.monotonic() - began < ORPHAN_SECONDS
        ):
            time.sleep(0.05)
        seconds = time.monotonic() - began
        try:
            ask(server.port, "/livez", timeout=PATIENCE_SECONDS)
        except (OSError, HTTPException):
            port = "the port is free"
        else:
            port = "the port still answers"
    if left:
        return f"{len(left)} workers live on after {ORPHAN_SECONDS:.0f} s, {port}"
    return f"all workers ended within {seconds:.1f} s, {port}"


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _is_alive(pid: int) -> bool:
    # A zombie process has no command line: proc(5).
    try:
        return bool(_command(pid))
    except OSError:
        return False


PIPE_REQUESTS = 10_000


def unread_pipe(field: Field) -> str:
    """Starts the service with an unread output, and its access log on."""
    unread, output = os.pipe()
    try:
        with field.running("--access-log", "--log-level", "info", output=output) as server:
            return uvloop.run(_until_it_stands_still(server.port))
    finally:
        os.close(unread)
        os.close(output)


async def _until_it_stands_still(port: int) -> str:
    for number in range(PIPE_REQUESTS):
        if await _patiently(port, request("GET", "/nothing")) != "200":
            return f"stands still after {number:,} requests"
    return f"answers {PIPE_REQUESTS:,} requests"


async def _answer(connection: Connection, patience: float = PATIENCE_SECONDS) -> Answer | str:
    try:
        async with asyncio.timeout(patience):
            return await connection.answer()
    except TimeoutError:
        return "no answer"
    except Lost:
        return "connection closed"


async def _status(connection: Connection, patience: float = PATIENCE_SECONDS) -> str:
    found = await _answer(connection, patience)
    return str(found.status) if isinstance(found, Answer) else found


async def _patiently(port: int, text: bytes, patience: float = PATIENCE_SECONDS) -> str:
    try:
        async with asyncio.timeout(patience), await Connection.open(port) as connection:
            await connection.send(text)
            return await _status(connection, patience)
    except TimeoutError:
        return "no answer"
    except Lost:
        return "connection lost"


async def _timed(asked: Awaitable[str]) -> str:
    began = time.monotonic()
    found = await asked
    return f"{found} after {time.monotonic() - began:.1f} s"
