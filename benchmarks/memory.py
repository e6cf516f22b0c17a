"""Resident memory of a service over very many requests of each kind, and with many in flight.

Each kind has a separate process, whose memory is read before the first request, after 2,000
requests and after 20,000 (fewer if each is large). A leak shows as growth between the last two,
when all code is loaded. `--quick` sends a tenth.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import uvloop

from .raw import Connection, Lost, request
from .robustness import Row, Table, counts, main, parser, report, services
from .services import CLOSED_PORT, FASTAPI, QUART, Service, extended, running
from .serving import Cores, Server, upstream_on
from .traffic import KINDS, Kind, drive, longest_livez, prices

NAME = "memory"
PEERS = {"fastapi": FASTAPI, "quart": QUART}
IN_FLIGHT_SECONDS = 10
PATIENCE_SECONDS = 60.0  # of a request in flight


@contextmanager
def upstream_that(does: str, cores: Cores, seconds: float = 0.05) -> Iterator[int]:
    """The port of an upstream with this behaviour; empty or `refuse` for a closed port."""
    if does in {"", "refuse"}:
        yield CLOSED_PORT
    else:
        with upstream_on(cores.upstream, "prices_upstream", does, str(seconds)) as port:
            yield port


def over_many(name: str, service: Service, kind: Kind, cores: Cores, share: int) -> Row:
    """The memory over the requests of a kind; sends one in `share` of them."""
    parts = range(0, kind.few, share), range(kind.few, kind.many, share)
    began = time.monotonic()
    if not service.project:
        service = service._replace(options=kind.peer_options)
    with (
        upstream_that(kind.upstream, cores) as upstream,
        running(
            f"memory-{name}",
            service,
            core=cores.server,
            upstream=upstream,
            limits=dict(kind.limits),
        ) as server,
    ):
        before = server.memory()
        files = server.open_files()
        answers, after, livez = uvloop.run(_two_parts(server, kind, parts))
        return {
            "peer": name,
            "label": service.label,
            "kind": kind.name,
            "requests": [len(parts[0]), len(parts[0]) + len(parts[1])],
            "answers": dict(answers),
            "memory": [before, *after],
            "memory_peak": server.peak_memory(),
            "growth": after[1] - after[0],
            "livez_longest_ms": round(1000 * livez),
            "files_left": server.open_files() - files,
            "threads": server.threads(),
            "seconds": round(time.monotonic() - began, 1),
        }


async def _two_parts(
    server: Server, kind: Kind, parts: Iterable[range]
) -> tuple[Counter[str], list[int], float]:
    """The outcomes of all requests, the memory after each part, and the longest `/livez`."""
    counted: Counter[str] = Counter()
    after = []
    held = await Connection.open(server.port) if kind.full else None
    if held:
        await held.send(request("GET", "/wait/600.0"))
    longest = 0.0
    for numbers in parts:
        async with asyncio.TaskGroup() as group:
            traffic = group.create_task(drive(server.port, kind, numbers))
            livez = group.create_task(longest_livez(server.port, until=traffic))
        counted += traffic.result()
        longest = max(longest, livez.result())
        await asyncio.to_thread(server.settle)
        after.append(server.memory())
    if held:
        held.close()
    return counted, after, longest


class Case(NamedTuple):
    """A number of requests in flight at once, and the call that their view waits for."""

    name: str
    symbols: int  # of each request; 0 for a view that sleeps
    at_once: int = 1000
    upstream: str = ""
    seconds: float = 0.05  # until a good answer of the upstream
    pool: int = 100


CASES = (
    Case("the view sleeps", 0),
    Case("3 calls that wait, pool of 100", 3, upstream="good", seconds=0.2),
    Case("3 calls that wait, pool of 3,000", 3, upstream="good", seconds=2, pool=3000),
    Case("3 calls refused", 3, upstream="refuse"),
    Case("3 calls answered 500", 3, upstream="error"),
    Case("3 calls never answered, pool of 100", 3, upstream="hang"),
    Case("3 calls never answered, pool of 3,000", 3, upstream="hang", pool=3000),
    Case("500 clients, 20 calls refused", 20, 500, upstream="refuse"),
    Case("500 clients, 20 calls answered 500", 20, 500, upstream="error"),
    Case("500 clients, 20 calls never answered", 20, 500, upstream="hang"),
)


def in_flight(name: str, service: Service, case: Case, cores: Cores, seconds: int) -> Row:
    """The memory of these requests at once, and the peak while as many continue for a while."""
    limits = {"PRICES__MAX_CONNECTIONS": case.pool}
    if case.upstream == "good":
        limits |= {"PRICES__TIMEOUT_SECONDS": 30, "PRICES__DEADLINE_SECONDS": 30}
    elif case.upstream:  # otherwise most requests would wait for the limit
        limits |= {"PRICES__BREAKER_FAILURES": 10**9}
    with (
        upstream_that(case.upstream, cores, case.seconds) as upstream,
        running(
            f"in-flight-{name}", service, core=cores.server, upstream=upstream, limits=limits
        ) as server,
    ):
        # The first requests load code, which counts for no request.
        uvloop.run(_all_at_once(server.port, _requests(case, 20)))
        server.settle()
        server.forget_peak_memory()
        idle = server.memory()
        answers = uvloop.run(_all_at_once(server.port, _requests(case, case.at_once)))
        peak = server.peak_memory()
        server.settle()
        server.forget_peak_memory()
        went_on = uvloop.run(_going_on(server.port, case, seconds))
        return {
            "peer": name,
            "label": service.label,
            "case": case.name,
            "at_once": case.at_once,
            "answers": dict(answers),
            "answers_going_on": dict(went_on),
            "memory_idle": idle,
            "memory_peak": peak,
            "memory_per_request": round((peak - idle) / case.at_once),
            "memory_peak_going_on": server.peak_memory(),
        }


def _requests(case: Case, count: int, first: int = 0) -> list[bytes]:
    if not case.symbols:
        return [request("GET", "/wait/2.0")] * count
    return [prices(first + case.symbols * number, case.symbols) for number in range(count)]


async def _all_at_once(port: int, texts: list[bytes]) -> Counter[str]:
    """Sends the requests once all are connected, and counts the answers."""
    connections = [await Connection.open(port) for _ in texts]
    answers = await asyncio.gather(*map(_answer, connections, texts))
    return Counter(answers)


async def _answer(connection: Connection, text: bytes) -> str:
    try:
        async with connection, asyncio.timeout(PATIENCE_SECONDS):
            await connection.send(text)
            return str((await connection.answer()).status)
    except TimeoutError:
        return "no answer"
    except Lost:
        return "connection lost"


async def _going_on(port: int, case: Case, seconds: int) -> Counter[str]:
    """The same number of clients for a while; each repeats its request at once."""
    end = time.monotonic() + seconds
    counted: Counter[str] = Counter()
    numbers = iter(range(10**6, 10**9, case.symbols or 1))

    async def client() -> None:
        while time.monotonic() < end:
            (text,) = _requests(case, 1, next(numbers))
            try:
                counted[await _answer(await Connection.open(port), text)] += 1
            except OSError:
                counted["not connected"] += 1
                await asyncio.sleep(0.1)

    await asyncio.gather(*(client() for _ in range(case.at_once)))
    return counted


def kinds_table(rows: list[Row]) -> Table:
    """The memory of all services, by kind."""
    labels = _labels(rows)
    lines = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of_kind = {row["label"]: row for row in rows if row["kind"] == kind}
        few, many = next(iter(of_kind.values()))["requests"]
        cells = [_memory(of_kind[label]) if label in of_kind else "" for label in labels]
        lines.append([kind, f"{few:,} / {many:,}", *cells])
    title = "MB before / after the first / after all, +growth between the two, and the peak"
    return Table(title, ["kind", "requests", *labels], lines)


def answers_table(rows: list[Row], by: str, answers: str) -> Table:
    """The answers of all services, by kind or case."""
    labels = _labels(rows)
    lines = []
    for name in dict.fromkeys(row[by] for row in rows):
        of_name = {row["label"]: counts(row[answers]) for row in rows if row[by] == name}
        lines.append([name, *(of_name.get(label, "") for label in labels)])
    return Table("What was answered", [by, *labels], lines)


def cases_table(rows: list[Row]) -> Table:
    """The memory of requests in flight, by case."""
    labels = _labels(rows)
    lines = []
    for case in dict.fromkeys(row["case"] for row in rows):
        of_case = {row["label"]: row for row in rows if row["case"] == case}
        at_once = next(iter(of_case.values()))["at_once"]
        cells = [_in_flight(of_case[label]) if label in of_case else "" for label in labels]
        lines.append([case, f"{at_once:,}", *cells])
    title = "KB per request in flight; MB idle / at the peak / at the peak under continued load"
    return Table(title, ["waits for", "at once", *labels], lines)


def _labels(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row["label"] for row in rows))


def _memory(row: Row) -> str:
    before, first, last = (value / 1e6 for value in row["memory"])
    growth, peak = row["growth"] / 1e6, row["memory_peak"] / 1e6
    return f"{before:.0f} / {first:.0f} / {last:.0f}, {growth:+.1f}, {peak:.0f}"


def _in_flight(row: Row) -> str:
    idle, peak, going_on = (
        row[f"memory_{name}"] / 1e6 for name in ("idle", "peak", "peak_going_on")
    )
    return f"{row['memory_per_request'] / 1e3:.0f}; {idle:.0f} / {peak:.0f} / {going_on:.0f}"


def work() -> None:
    """Measures, prints and publishes."""
    options = _options()
    cores = Cores()
    chosen = {name: extended(each) for name, each in services(options, PEERS).items()}
    rows: list[Row] = []
    for kind in KINDS:
        for name, service in chosen.items() if _is_wanted(kind.name, options) else ():
            rows.append(over_many(name, service, kind, cores, 10 if options.quick else 1))
            row = rows[-1]
            print(
                f"{kind.name}: {service.label}: {_memory(row)}; {counts(row['answers'])}; "
                f"{row['files_left']} files left, {row['threads']} threads, /livez took "
                f"{row['livez_longest_ms']} ms at most, {row['seconds']} s",
                flush=True,
            )
    for case in CASES:
        for name, service in chosen.items() if _is_wanted(case.name, options) else ():
            seconds = 2 if options.quick else IN_FLIGHT_SECONDS
            rows.append(in_flight(name, service, case, cores, seconds))
            row = rows[-1]
            print(
                f"{case.name}: {service.label}: {_in_flight(row)}; {counts(row['answers'])}; "
                f"going on {counts(row['answers_going_on'])}",
                flush=True,
            )
    report(NAME, rows, tables, options)


def tables(rows: list[Row]) -> list[Table]:
    """The memory and the answers of all services, by kind and by case."""
    kinds, cases = ([row for row in rows if part in row] for part in ("kind", "case"))
    found = []
    if kinds:
        found += [kinds_table(kinds), answers_table(kinds, "kind", "answers")]
    if cases:
        found += [cases_table(cases), answers_table(cases, "case", "answers_going_on")]
    return found


def _is_wanted(name: str, options: argparse.Namespace) -> bool:
    return not options.only or any(part in name for part in options.only)


def _options() -> argparse.Namespace:
    found = parser(__doc__, PEERS)
    found.add_argument("--quick", action="store_true", help="a tenth of the requests")
    found.add_argument(
        "--only",
        action="append",
        metavar="PART",
        help="kinds and cases with this in their name; may be repeated",
    )
    return found.parse_args()


if __name__ == "__main__":
    sys.exit(main(work))
