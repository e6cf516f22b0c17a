"""The benchmarks of overload, memory and attacks: requests, counts and pages, but no times."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from benchmarks import (
    attackers,
    attacks,
    fan_out_load,
    memory,
    overload,
    prices_upstream,
    prober,
    robustness,
    services,
    traffic,
)
from benchmarks.raw import Connection, Lost, chunked, request
from benchmarks.serving import BenchError

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
T = TypeVar("T")


def served(handler: Handler, client: Callable[[int], Awaitable[T]]) -> T:
    """The result of a client of a port, once the handler has finished all its connections."""
    tasks = []

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        with suppress(*Lost):
            await handler(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def run() -> T:
        async with await asyncio.start_server(closing, "127.0.0.1", 0) as server:
            found = await client(server.sockets[0].getsockname()[1])
            await asyncio.gather(*filter(None, tasks))
            return found

    return asyncio.run(run())


def symbols(text: bytes) -> list[bytes]:
    return text.split(b" ")[1].partition(b"?")[2].split(b"&")


@pytest.mark.parametrize("same", [False, True])
def test_symbols_repeat_only_with_the_option_same(*, same: bool) -> None:
    texts = fan_out_load.requests(20, same=same)

    first, second = symbols(next(texts)), symbols(next(texts))

    assert len(set(first)) == len(set(second)) == 20
    assert (first == second) is same
    assert same or not set(first) & set(second)


WHOLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


def test_an_answer_is_complete_only_with_its_last_byte() -> None:
    assert fan_out_load.parse(WHOLE) == fan_out_load.Answer(503, b"{}", closes=True)
    for length in range(len(WHOLE)):
        assert fan_out_load.parse(WHOLE[:length]) is None


def test_a_tally_separates_complete_partial_refused_and_missing_answers() -> None:
    tally = fan_out_load.Tally()
    tally.asked = 6
    tally.answered(200, b'{"failed":{}}', second=0)
    tally.answered(200, b'{"failed":{"S1":"late"}}', second=2)
    tally.answered(503, b"", second=2)
    tally.answered(504, b"", second=2)
    tally.lost["in mid-request"] += 1
    tally.lost["between requests"] += 1

    row = tally.as_row(3)

    assert (row["successes"], row["complete"], row["refused"]) == (2, 1, 1)
    assert row["successes_by_second"] == [1, 0, 1]
    assert row["other_statuses"] == {"504": 1}
    assert row["unanswered"] == 1


def test_percentiles_are_measured_values() -> None:
    summed_up = prober.summed_up([number / 1000 for number in range(100, 0, -1)])

    assert summed_up == {"count": 100, "p50": 51, "p99": 100, "max": 100}
    assert prober.summed_up([]) == {"count": 0, "p50": None, "p99": None, "max": None}


def test_the_upstream_reads_the_requested_symbol() -> None:
    asked = request("GET", "/prices/BRK.B").removesuffix(b"\r\n\r\n")

    assert prices_upstream.symbol(asked) == "BRK.B"
    answer = prices_upstream.reply("200 OK", "{}")
    assert fan_out_load.parse(answer) == fan_out_load.Answer(200, b"{}", closes=False)


async def answered(text: bytes) -> tuple[int, bytes]:
    """The answer that a client reads from these bytes before the end of the connection."""
    reader = asyncio.StreamReader()
    reader.feed_data(text)
    reader.feed_eof()
    answer = await Connection(reader, writer=None).answer()  # type: ignore[arg-type] # it only reads
    return answer.status, answer.body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", (200, b"abc")),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ab", b"c" * 20),
            (200, b"ab" + b"c" * 20),
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", (200, b"until the end")),
        (b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1", (204, b"")),
    ],
)
def test_an_answer_ends_according_to_its_framing(text: bytes, expected: tuple[int, bytes]) -> None:
    assert asyncio.run(answered(text)) == expected


@pytest.mark.parametrize(
    "text",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", b"no\r\n\r\n"],
)
def test_an_incomplete_answer_is_a_lost_connection(text: bytes) -> None:
    with pytest.raises(Lost):
        asyncio.run(answered(text))


def test_a_body_has_a_content_length_unless_the_case_sets_the_framing() -> None:
    assert b"\r\nContent-Length: 2\r\n\r\nab" in request("POST", "/", body=b"ab")
    for framing in ("Transfer-Encoding: chunked", "content-length: 9"):
        head, _, body = request("POST", "/", framing, body=b"ab").partition(b"\r\n\r\n")
        assert head.lower().count(b"content-length") == framing.count("content-length")
        assert body == b"ab"


def test_kinds_have_unique_names_and_two_numbers_of_requests() -> None:
    names = [kind.name for kind in traffic.KINDS] + [case.name for case in memory.CASES]

    assert len(set(names)) == len(names)
    for kind in traffic.KINDS:
        assert 0 < kind.few < kind.many
        assert kind.request(0).endswith(b"\r\n\r\n") or b"\r\n\r\n" in kind.request(0)


@pytest.mark.parametrize(
    "name", ["256 header names of 1 MB", "1,024 paths of 60 KB", "404", "upstream refuses"]
)
def test_requests_of_kinds_that_promise_new_values_never_repeat(name: str) -> None:
    (kind,) = [kind for kind in traffic.KINDS if kind.name == name]

    assert len({kind.request(number) for number in range(kind.few)}) == kind.few


def test_the_last_cancelled_requests_are_fan_outs() -> None:
    (kind,) = [kind for kind in traffic.KINDS if "fan-outs" in kind.name]

    assert [len(symbols(kind.request(number))) for number in (0, 19_999, 20_000)] == [3, 3, 20]


def test_traffic_counts_lost_connections_and_reconnects() -> None:
    connections = 0

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")

    kind = traffic.Kind("404", lambda number: request("GET", f"/{number}"), at_once=1)

    counted = served(twice, lambda port: traffic.drive(port, kind, range(9)))

    assert counted == {"404": 6, "connection lost": 3}
    assert connections == 3


def probed(handler: Handler, seconds: float) -> dict[str, object]:
    return served(handler, lambda port: prober.Prober(port, time.monotonic(), seconds).run())


def test_a_prober_counts_every_status_but_200_as_a_failure() -> None:
    answers = iter([b"503 Service Unavailable", b"200 OK", b"200 OK", b"200 OK", b"200 OK"])

    async def alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % next(answers, b"200 OK"))

    found = probed(alive, 2 * prober.EVERY)

    assert found["livez_failed"] == 1
    assert found["livez_after_load_s"] is not None


def test_a_prober_gives_up_on_a_silent_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober, "GIVE_UP", 0.1)

    async def dead(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client disconnects

    found = probed(dead, prober.EVERY)

    assert found["livez_failed"] == 2
    assert found["livez_after_load_s"] is None


def test_an_upgrade_request_has_the_same_bytes_in_one_segment_or_in_three() -> None:
    for case in attackers.UPGRADED:
        parts = case.segments()

        assert len(parts) == (3 if case.own_segment else 1)
        assert b"".join(parts) == b"".join(case._replace(own_segment=False).segments())
        assert b"".join(parts).count(attackers.MARK) == 1
        assert not case.own_segment or parts[1] == attackers.MARK


def test_attacks_run_every_service_with_h11_and_a_bake_with_plain_uvicorn() -> None:
    bake = services.Service("bake", Path("/bake"))
    chosen = {"template": services.extended(bake), "fastapi": services.FASTAPI}

    found = list(attacks.targets(chosen, parsers=True))

    names = [name for _, name, _ in found]
    assert names == ["template", "template-uvicorn", "template-h11", "fastapi", "fastapi-h11"]
    assert ["h11" in service.command(1) for _, _, service in found] == [
        name.endswith("h11") for name in names
    ]
    assert len(list(attacks.targets(chosen, parsers=False))) == 2


def test_limits_become_settings_of_a_bake_and_variables_of_a_peer() -> None:
    limits = {"PRICES__MAX_CONNECTIONS": 7, "MAX_IN_FLIGHT": 1}

    bake = services.Service("bake", Path("/bake")).environment(1, 2, limits)
    peer = services.FASTAPI.environment(1, 2, limits)

    assert (bake["PRICES__MAX_CONNECTIONS"], bake["MAX_IN_FLIGHT"]) == ("7", "1")
    assert bake["PRICES__BASE_URL"] == peer["BENCH_UPSTREAM"] == "http://127.0.0.1:2"
    assert peer["BENCH_CONNECTIONS"] == "7"
    assert "MAX_IN_FLIGHT" not in peer


def test_a_page_changes_only_between_the_comments_and_twice_is_like_once() -> None:
    page = "before\n<!-- a:begin -->\nold\n<!-- a:end -->\nafter\n"

    once = robustness.replaced(page, "a", "new | text")

    assert once == "before\n<!-- a:begin -->\n\nnew | text\n<!-- a:end -->\nafter\n"
    assert robustness.replaced(once, "a", "new | text") == once
    with pytest.raises(BenchError, match="b:begin"):
        robustness.replaced(page, "b", "")


def test_new_rows_replace_rows_with_the_same_key_and_the_template_comes_first() -> None:
    old = [
        {"peer": "fastapi", "kind": "404", "growth": 1},
        {"peer": "fastapi", "kind": "405", "growth": 1},
    ]
    new = [
        {"peer": "fastapi", "kind": "404", "growth": 2},
        {"peer": "before", "kind": "404", "growth": 3},
    ]

    merged = robustness.merged(old, new)

    assert [(row["peer"], row["kind"], row["growth"]) for row in merged] == [
        ("before", "404", 3),
        ("fastapi", "404", 2),
        ("fastapi", "405", 1),
    ]


def test_a_markdown_table_has_one_row_a_line() -> None:
    table = robustness.Table("title", ["a", "b"], [["1|2", "3\n4"]])

    assert table.markdown() == "**title**\n\n| a | b |\n| --- | --- |\n| 1\\|2 | 3 4 |\n"


@pytest.mark.parametrize("command", [overload, memory, attacks])
def test_the_page_shows_the_published_results(command: object) -> None:
    name, tables = command.NAME, command.tables  # type: ignore[attr-defined] # modules have them
    results = json.loads((robustness.PUBLISHED / f"{name}.json").read_text(encoding="utf-8"))
    page = robustness.PAGE.read_text(encoding="utf-8")

    text = robustness.told(tables(results["rows"]))

    assert page == robustness.replaced(page, name, text)
