"""Flask under a real server: concurrency, connections, streams, disconnects, and the stop."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from flask_asgi import serve_in_thread

from ..serving import serve, wait_until
from .application import CLIENTS, PATIENCE, asgi, happened


@pytest.fixture(autouse=True)
def _nothing_has_happened() -> None:
    happened.clear()


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """Return the host and port of the application, served in a thread."""
    with serve_in_thread(asgi) as server:
        url = urlsplit(server.url)
        yield str(url.hostname), int(url.port or 0)


@pytest.fixture
def connection(address: tuple[str, int]) -> Iterator[HTTPConnection]:
    """Return a connection that is kept between requests."""
    connection = HTTPConnection(*address, timeout=PATIENCE)
    yield connection
    connection.close()


def get(address: tuple[str, int], path: str) -> tuple[int, bytes]:
    """Return the answer to a request on a connection of its own."""
    connection = HTTPConnection(*address, timeout=PATIENCE)
    try:
        return ask(connection, path)
    finally:
        connection.close()


def ask(connection: HTTPConnection, path: str) -> tuple[int, bytes]:
    """Return the answer to a request on a connection that is kept."""
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read()


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_requests_are_inside_a_view_at_once(address: tuple[str, int], kind: str) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(get, [address] * CLIENTS, [f"/meet/{kind}"] * CLIENTS))

    assert answers == [(200, b"met")] * CLIENTS


def test_a_kept_connection_answers_every_request_in_a_clean_context(
    connection: HTTPConnection,
) -> None:
    # asgiref's own bridge answers about half of these with a 500.
    answers = [ask(connection, f"/ping/{kind}") for _ in range(100) for kind in ("async", "sync")]

    assert answers == [(200, b"clean")] * 200


@pytest.mark.parametrize(("path", "end"), [("/hang", "hang ends"), ("/endless", "endless ends")])
def test_a_client_that_leaves_ends_its_view(address: tuple[str, int], path: str, end: str) -> None:
    with socket.create_connection(address) as leaving:
        leaving.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        if path == "/endless":
            assert leaving.recv(1)
        else:
            assert happened["hang begins"].wait(PATIENCE)

    assert happened[end].wait(PATIENCE)


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_response_is_sent_part_by_part(connection: HTTPConnection, kind: str) -> None:
    connection.request("GET", f"/stream/{kind}")
    response = connection.getresponse()

    assert response.read1() == b"first"
    happened["first has come"].set()
    assert response.read().startswith(b"second")


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_body_is_read_as_it_arrives(address: tuple[str, int], kind: str) -> None:
    head = f"POST /upload/{kind} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(address, timeout=PATIENCE) as client:
        client.sendall(head.encode() + b"5\r\nhello\r\n")
        assert happened["read hello"].wait(PATIENCE)
        client.sendall(b"6\r\n world\r\n0\r\n\r\n")

        assert client.recv(1000).endswith(b"hello world")


def test_sigterm_answers_what_is_in_flight_and_ends_well() -> None:
    answers: list[tuple[int, str]] = []
    with serve("tests.contract.application") as server:
        in_flight = threading.Thread(target=lambda: answers.append(server.get("/until-draining")))
        in_flight.start()
        wait_until(lambda: "inside" in server.log)
        server.process.terminate()
        in_flight.join(PATIENCE)

        assert answers == [(200, "answered")]
        assert server.process.wait(PATIENCE) == 0
