"""Requests a path NUMBER times over ten connections, and then stops the server.

    python -m benchmarks.steady_client PORT PATH NUMBER PID

Each connection waits for its answer before the next request, so each run does the same work.
"""

import os
import signal
import socket
import sys
import time

CONNECTIONS = 10
PATIENCE = 300  # seconds; Valgrind makes a server fifty times slower


def main(port: int, path: str, number: int, pid: int) -> None:
    """Sends the requests, and stops the process `pid` even if it does not answer.

    Raises:
        RuntimeError: an answer is not 200.
        OSError: it does not answer.
    """
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n".encode()
    try:
        connections = [connected(port) for _ in range(CONNECTIONS)]
        for _ in range(number // CONNECTIONS):
            for each in connections:
                each.sendall(head)
            for each in connections:
                read(each)
    finally:
        os.kill(pid, signal.SIGTERM)


def connected(port: int) -> socket.socket:
    """A connection, once the server listens."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), PATIENCE)
        except ConnectionRefusedError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.1)


def read(connection: socket.socket) -> None:
    """Reads one response.

    Raises:
        RuntimeError: it is not 200.
    """
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536) or b"closed\r\n\r\n"
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        message = f"answered {head[:100]!r}"
        raise RuntimeError(message)
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += connection.recv(65536)


if __name__ == "__main__":
    _, port, path, number, pid = sys.argv
    main(int(port), path, int(number), int(pid))
