"""nginx, with the site that a bake ships, in front of two units of the baked service.

Only addresses and the paths of the certificate are changed in the site file.
"""

import json
import os
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path

import pytest

from .baking import OLDEST, bake
from .serving import PATIENCE, free_port
from .units import Unit, missing
from .uv import on_python, run

HOST = "price-service.example.com"
CLIENT = "127.0.0.2"
MEBIBYTE = 1024 * 1024
PROGRAMS = ("nginx", "openssl", "wrk")

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        bool(missing(*PROGRAMS)), reason=f"not installed: {', '.join(missing(*PROGRAMS))}"
    ),
]

# The service, with views that report the request as they received it.
SERVING = """
import asyncio, os
from collections import Counter
from flask import request
from price_service import serve
from price_service.asgi import asgi

app = asgi.app
gate = asyncio.Event()
counts = Counter()


@app.route("/seen", methods=["GET", "POST"])
async def seen():
    return {
        "body": len(request.get_data()),
        "client": request.remote_addr,
        "headers": dict(request.headers),
        "host": request.host,
        "protocol": request.environ["SERVER_PROTOCOL"],
        "scheme": request.scheme,
    }


@app.get("/events")
async def events():
    async def parts():
        yield "data: first\\n\\n"
        await gate.wait()
        yield "data: second\\n\\n"

    return app.response_class(parts(), content_type="text/event-stream")


@app.get("/open")
async def open_gate():
    gate.set()
    return ""


@app.post("/late")
async def late():
    counts["late"] += 1
    return ""


@app.get("/count")
async def count():
    return str(counts["late"])


@app.route("/work", methods=["GET", "POST"])
async def work():
    await asyncio.sleep(0.01)
    return request.get_data() or "done"


serve.main(["--workers", "1"])
"""

# For wrk: every second request is a POST, which nginx must not retry.
LOAD = """
local number = 0
request = function()
    number = number + 1
    if number % 2 == 0 then return wrk.format("POST", nil, nil, "body") end
    return wrk.format("GET")
end
"""

MAIN_CONFIG = """
{user}
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    include {site};
}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service that is deployed under systemd, installed."""
    project = bake(tmp_path_factory.mktemp("systemd"), deployment="systemd")
    run("uv", "sync", "--locked", "--no-dev", cwd=project, env=on_python(OLDEST))
    (project / "serving.py").write_text(SERVING, encoding="utf-8")
    return project


@pytest.fixture(scope="module")
def units(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Unit]]:
    """Two instances of the service, started."""
    folder = tmp_path_factory.mktemp("units")
    python = project / ".venv" / "bin" / "python"
    units = [
        Unit(
            folder / name,
            {"SHUTDOWN_DELAY_SECONDS": "1", "LOG_LEVEL": "WARNING"},
            python,
            project / "serving.py",
        )
        for name in ("first", "second")
    ]
    try:
        for unit in units:
            unit.start()
        yield units
    finally:
        for unit in units:
            unit.close()


def site(project: Path, folder: Path, ports: tuple[int, int], backends: list[int]) -> Path:
    """Writes a configuration with the shipped site, on these ports of 127.0.0.1."""
    text = (project / "deploy/nginx/price-service.conf").read_text(encoding="utf-8")
    certificate = ("-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem")
    options = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("openssl", "req", "-x509", *options, *certificate, "-subj", f"/CN={HOST}", cwd=folder)
    for shown, used in {
        "listen 80;": f"listen 127.0.0.1:{ports[0]};",
        "listen 443 ssl;": f"listen 127.0.0.1:{ports[1]} ssl;",
        "listen [::]:80;": f"listen 127.0.0.1:{free_port()};",
        "listen [::]:443 ssl;": f"listen 127.0.0.1:{free_port()} ssl;",
        "127.0.0.1:8001": f"127.0.0.1:{backends[0]}",
        "127.0.0.1:8002": f"127.0.0.1:{backends[1]}",
        f"/etc/letsencrypt/live/{HOST}": str(folder),
    }.items():
        assert shown in text
        text = text.replace(shown, used)
    (folder / "site.conf").write_text(text, encoding="utf-8")
    config = folder / "nginx.conf"
    # If root starts nginx, its workers switch to a user without access to the test's folder.
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(MAIN_CONFIG.format(user=user, folder=folder, site=folder / "site.conf"))
    return config


@contextmanager
def nginx(project: Path, folder: Path, backends: list[int]) -> Iterator[tuple[int, int]]:
    """Runs nginx in front of these ports; yields its ports for HTTP and HTTPS."""
    ports = (free_port(), free_port())
    config = site(project, folder, ports, backends)
    command = ["nginx", "-c", str(config), "-p", str(folder)]
    checked = run(*command, "-t", "-q", cwd=folder)
    assert checked == ""
    run(*command, cwd=folder)  # returns once nginx listens in the background
    try:
        yield ports
    finally:
        run(*command, "-s", "stop", cwd=folder)


@pytest.fixture(scope="module")
def ports(
    project: Path, units: list[Unit], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, int]]:
    """The ports of nginx in front of the two instances."""
    with nginx(project, tmp_path_factory.mktemp("nginx"), [unit.port for unit in units]) as ports:
        yield ports


@pytest.fixture(scope="module")
def port(ports: tuple[int, int]) -> int:
    """The port for HTTPS."""
    return ports[1]


def unverified() -> ssl.SSLContext:
    """A client's context that accepts the test's self-signed certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(port: int) -> HTTPSConnection:
    """A client of nginx, whose address is CLIENT."""
    return HTTPSConnection(
        "127.0.0.1", port, timeout=PATIENCE, context=unverified(), source_address=(CLIENT, 0)
    )


def raw(port: int) -> socket.socket:
    """A connection for bytes that an HTTP client would not send."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    return unverified().wrap_socket(plain)


def ask(
    port: int, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[HTTPResponse, bytes]:
    """The response to one request, and its body."""
    with closing(connect(port)) as connection:
        connection.request(method, path, body, {"Host": HOST, **headers})
        response = connection.getresponse()
        return response, response.read()


def until_closed(connection: socket.socket) -> bytes:
    """All bytes from a connection until the other side closes it."""
    received = b""
    while part := connection.recv(65536):
        received += part
    return received


def test_gixy_finds_nothing_in_the_site(project: Path) -> None:
    run("gixy", project / "deploy" / "nginx" / "price-service.conf", cwd=project)


def test_plain_http_is_sent_to_https(ports: tuple[int, int]) -> None:
    with socket.create_connection(("127.0.0.1", ports[0]), timeout=PATIENCE) as connection:
        connection.sendall(
            f"GET /a?b=c HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
        )
        head = until_closed(connection).decode()

    assert head.startswith("HTTP/1.1 301 ")
    assert f"\r\nLocation: https://{HOST}/a?b=c\r\n" in head


def test_forged_forwarding_headers_never_reach_the_service(port: int) -> None:
    claims = {
        "X-Forwarded-For": "203.0.113.1",
        "X_Forwarded_For": "203.0.113.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example.com",
        "Forwarded": "for=203.0.113.1;proto=http",
        "X-Envoy-Expected-Rq-Timeout-Ms": "20",
    }

    seen = json.loads(ask(port, "/seen", "GET", None, **claims)[1])

    assert (seen["client"], seen["scheme"], seen["host"]) == (CLIENT, "https", HOST)
    assert "203.0.113.1" not in str(seen)
    assert "evil" not in str(seen)
    assert "X-Envoy-Expected-Rq-Timeout-Ms".lower() not in str(seen).lower()


def test_nginx_drops_hop_by_hop_headers(port: int) -> None:
    one_hop = {"Connection": "Upgrade, Keep-Alive", "Upgrade": "h2c", "Keep-Alive": "1", "TE": "a"}

    seen = json.loads(ask(port, "/seen", "POST", b"body", **one_hop)[1])

    # uvicorn would lose the body of a request with Upgrade: h2c.
    assert (seen["body"], seen["protocol"]) == (4, "HTTP/1.1")
    assert not {name.title() for name in one_hop} & {name.title() for name in seen["headers"]}


def test_an_http_1_0_client_can_read_a_stream(port: int) -> None:
    ask(port, "/open")
    ask(port, "/open")  # one for each instance
    with raw(port) as connection:
        connection.sendall(b"GET /events HTTP/1.0\r\n\r\n")
        response = until_closed(connection)

    assert response.endswith(b"\r\n\r\ndata: first\n\ndata: second\n\n")


def test_a_stream_is_not_buffered(project: Path, tmp_path: Path) -> None:
    python = project / ".venv" / "bin" / "python"
    with closing(Unit(tmp_path / "unit", {}, python, project / "serving.py")) as unit:
        unit.start()
        folder = tmp_path / "nginx"
        folder.mkdir()
        with (
            nginx(project, folder, [unit.port, unit.port]) as (_, port),
            closing(connect(port)) as connection,
        ):
            connection.request("GET", "/events")
            response = connection.getresponse()
            first = response.readline() + response.readline()
            # The view still waits: nothing has opened the gate yet.
            ask(port, "/open")
            second = response.read()

    assert first == b"data: first\n\n"
    assert second == b"data: second\n\n"


def test_slow_clients_time_out_before_they_reach_the_service(port: int) -> None:
    head = f"POST /late HTTP/1.1\r\nHost: {HOST}\r\n".encode()
    with raw(port) as silent, raw(port) as in_head, raw(port) as in_body:
        in_head.sendall(head)
        in_body.sendall(head + b"Content-Length: 2\r\n\r\n1")

        assert until_closed(silent) == b""
        assert until_closed(in_head) == b""
        assert until_closed(in_body) == b""

    counted = {ask(port, "/count")[1] for _ in range(10)}
    assert counted == {b"0"}


def test_a_body_may_be_as_large_as_the_service_allows(port: int) -> None:
    largest = json.loads(ask(port, "/seen", "POST", bytes(MEBIBYTE))[1])
    refused, problem = ask(port, "/seen", "POST", bytes(MEBIBYTE + 1))

    assert largest["body"] == MEBIBYTE
    assert refused.status == 413
    assert_problem(refused, problem, "Content Too Large")


# Requests that nginx refuses, each with the status of the answer.
REFUSED = {
    "garbage": ("garbage\r\n", 400),
    "no header": ("GET / HTTP/1.1\r\nno header\r\n", 400),
    "no host": ("GET / HTTP/1.1\r\n", 400),
    "two hosts": (f"GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}\r\n", 400),
    "an invalid host": ("GET / HTTP/1.1\r\nHost: /\r\n", 400),
    "an invalid length": (f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: x\r\n", 400),
    "both lengths": (
        f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        400,
    ),
    "a path above the root": (f"GET /../x HTTP/1.1\r\nHost: {HOST}\r\n", 400),
    "TRACE": (f"TRACE / HTTP/1.1\r\nHost: {HOST}\r\n", 405),
    "a long address": (f"GET /{'a' * 9000} HTTP/1.1\r\nHost: {HOST}\r\n", 414),
    "a large cookie": (f"GET / HTTP/1.1\r\nHost: {HOST}\r\nCookie: {'a' * 9000}\r\n", 431),
    "many headers": (
        f"GET / HTTP/1.1\r\nHost: {HOST}\r\n" + f"X-A: {'a' * 7000}\r\n" * 6,
        431,
    ),
    "a coding": (f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: gzip\r\n", 501),
    "a version": (f"GET / HTTP/3.0\r\nHost: {HOST}\r\n", 505),
}

# Every error status with a built-in page of nginx: `ngx_http_error_pages` in its
# ngx_http_special_response.c, without the statuses that need WebDAV or a password.
MADE_BY_NGINX = {
    *(400, 403, 404, 405, 408, 411, 412, 413, 414, 416, 421, 429),
    *(494, 495, 496, 497, 500, 501, 502, 503, 504, 505, 507),
}


def is_problem(answer: bytes, status: int) -> bool:
    """Whether a whole response is the problem of this status."""
    head, _, body = answer.partition(b"\r\n\r\n")
    title = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable"}
    expected = {
        "type": "about:blank",
        "title": title.get(status) or HTTPStatus(status).phrase,
        "status": status,
    }
    return (
        head.startswith(f"HTTP/1.1 {status} ".encode())
        and b"\r\nContent-Type: application/problem+json\r\n" in head
        and b"\r\nX-Content-Type-Options: nosniff" in head
        and json.loads(body) == expected
    )


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_nginx_refuses_gets_a_problem(name: str, port: int) -> None:
    request, status = REFUSED[name]
    with raw(port) as connection:
        connection.sendall(f"{request}Connection: close\r\n\r\n".encode())
        answer = until_closed(connection)

    assert is_problem(answer, status), answer


@pytest.mark.parametrize("name", REFUSED)
def test_a_plain_http_request_that_nginx_refuses_gets_a_problem(
    name: str, ports: tuple[int, int]
) -> None:
    request, status = REFUSED[name]
    with socket.create_connection(("127.0.0.1", ports[0]), timeout=PATIENCE) as connection:
        connection.sendall(f"{request}Connection: close\r\n\r\n".encode())
        answer = until_closed(connection)

    assert is_problem(answer, status), answer


def test_plain_http_on_the_tls_port_gets_a_problem(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        answer = until_closed(connection)

    assert is_problem(answer, 400), answer


def test_every_error_that_nginx_can_make_has_a_problem(project: Path) -> None:
    text = (project / "deploy/nginx/price-service.conf").read_text(encoding="utf-8")
    titles = dict(re.findall(r'^ +(\d{3}) +"(.+)";$', text, re.MULTILINE))
    plain, secure = text.split("listen 443 ssl;")
    pages = {
        int(status)
        for statuses in re.findall(r"error_page ([\d ]+?)(?: =\d+)? /.nginx-problem;", secure)
        for status in statuses.split()
    }
    pages_without_tls = {
        int(status)
        for statuses in re.findall(r"error_page ([\d ]+?)(?: =\d+)? /.nginx-problem;", plain)
        for status in statuses.split()
    }

    assert pages == MADE_BY_NGINX
    assert pages_without_tls == MADE_BY_NGINX - {495, 496, 497}
    assert {*map(int, titles)} == MADE_BY_NGINX - {494, 495, 496, 497} | {431}


def assert_problem(response: HTTPResponse, body: bytes, title: str) -> None:
    """Checks that an error of nginx has the form of the service's problems."""
    assert response.headers["Content-Type"] == "application/problem+json"
    assert json.loads(body) == {"type": "about:blank", "title": title, "status": response.status}


def test_a_service_that_is_down_gives_a_problem(project: Path, tmp_path: Path) -> None:
    with nginx(project, tmp_path, [free_port(), free_port()]) as (_, port):
        response, body = ask(port, "/seen")

    assert response.status == 502
    assert_problem(response, body, "Bad Gateway")


@pytest.mark.parametrize(("method", "times"), [("GET", 2), ("POST", 1)])
def test_only_idempotent_requests_are_retried_on_the_other_instance(
    method: str, times: int, project: Path, tmp_path: Path
) -> None:
    received = []

    def hang_up(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                received.append(connection.recv(65536))

    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        threads = [threading.Thread(target=hang_up, args=(each,)) for each in (first, second)]
        for thread in threads:
            thread.start()
        backends = [each.getsockname()[1] for each in (first, second)]
        with nginx(project, tmp_path, backends) as (_, port):
            response, _ = ask(port, "/", method, b"body" if method == "POST" else None)
        for each in (first, second):
            each.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE)

    assert response.status == 502
    assert len(received) == times


def test_a_rolling_restart_under_load_loses_no_request(
    units: list[Unit], port: int, tmp_path: Path
) -> None:
    script = tmp_path / "load.lua"
    script.write_text(LOAD, encoding="utf-8")
    options = ("--threads=1", "--connections=50", "--duration=20s", "--timeout=20s")
    command = ("wrk", *options, "--latency", f"--script={script}", f"https://127.0.0.1:{port}/work")
    requests = restarts = 0
    while requests < 20_000:
        load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        while load.poll() is None:
            for unit in units:
                unit.restart()
                restarts += 1
        report = load.communicate()[0]
        print(f"{restarts} restarts\n{report}")  # shown by pytest -rP

        assert "Non-2xx" not in report
        assert "Socket errors" not in report
        requests += int(re.findall(r"(\d+) requests in", report)[0])
    assert restarts >= len(units)
