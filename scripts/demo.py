"""Bakes the default service, starts it, calls it, and draws how its waits overlapped.

`make demo` leaves the service running until Ctrl-C; `make demo DEMO_EXIT=1` stops it, and exits 0
when the waits overlapped and 1 when anything failed.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from itertools import accumulate
from threading import Barrier
from typing import Any, NamedTuple

from rich.console import Console, Group
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from scripts import baking
from tests.serving import free_port

FOLDER = baking.CACHE / "demo"
SLUG = baking.SLUG
SYMBOLS = ("AAPL", "MSFT", "GOOG", "AMZN", "NVDA")
PRICES = "/prices?" + "&".join(f"symbol={symbol}" for symbol in SYMBOLS)
CLIENTS = 20
START_SECONDS = 30
STOP_SECONDS = 40  # more than the service gives its requests in flight


class DemoError(Exception):
    """A failure of the demo; its text is for the user."""


class Wait(NamedTuple):
    """The start and end of a wait, in milliseconds since the first wait began."""

    name: str
    start: float
    end: float

    @property
    def length(self) -> float:
        """Its length in milliseconds."""
        return self.end - self.start


def waterfall(waits: Sequence[Wait], width: int) -> Group:
    """The waits as bars over one time axis, with the place of each if they ran in sequence."""
    total = sum(wait.length for wait in waits)
    in_sequence = accumulate((wait.length for wait in waits), initial=0.0)
    names = max(len(wait.name) for wait in waits)
    scale = (width - names - len("    9999 ms")) / total
    lines = []
    for wait, start_in_sequence in zip(waits, in_sequence, strict=False):
        line = Text(f"  {wait.name:<{names}} ")
        bar = Text(" " * round(total * scale))
        for start, character, style in (
            (start_in_sequence, "░", "dim"),
            (wait.start, "█", "green"),
        ):
            first, length = round(start * scale), max(1, round(wait.length * scale))
            bar = bar[:first] + Text(character * length, style) + bar[first + length :]
        lines.append(line + bar[: round(total * scale)] + Text(f" {wait.length:4.0f} ms", "dim"))
    return Group(*lines)


def run(*command: str, env: dict[str, str]) -> None:
    """Runs a command to its end in the demo's folder, without showing its output.

    Raises:
        DemoError: with the end of its output, when it failed.
    """
    try:
        subprocess.run(command, cwd=FOLDER, env=env, text=True, capture_output=True, check=True)
    except subprocess.CalledProcessError as error:
        message = f"{' '.join(command[:3])} failed:\n{(error.stdout + error.stderr)[-2000:]}"
        raise DemoError(message) from None


def get(port: int, path: str) -> Any:  # noqa: ANN401 (any JSON)
    """The JSON that the service answers with.

    Raises:
        OSError, HTTPException: when it does not answer.
        DemoError: when it answers with another status than 200.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:  # noqa: PLR2004 (HTTP)
            message = (
                f"GET {path} answered {response.status}: {body[:500].decode(errors='replace')}"
            )
            raise DemoError(message)
        return json.loads(body)
    finally:
        connection.close()


def environment() -> dict[str, str]:
    """The environment for the demo's commands, without the user's own caches and settings."""
    removed = ("VIRTUAL_ENV", "PRICES_")
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(removed)}
    return inherited | {
        "UV_PROJECT_ENVIRONMENT": str(FOLDER / "venv"),
        "UV_PYTHON": sys.executable,  # that of `.python-version` may be missing
        "ENVIRONMENT": "development",
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
    }


def log_tail() -> str:
    """The end of the service's log."""
    return (FOLDER / "service.log").read_text(encoding="utf-8", errors="replace")[-2000:]


@contextmanager
def service(env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The service as a user starts it, stopped at the end.

    Raises:
        DemoError: when it ends early, or does not answer in time.
    """
    with (FOLDER / "service.log").open("wb") as log:
        process = subprocess.Popen(
            ["uv", "run", "--locked", "--no-dev", SLUG],
            cwd=FOLDER / SLUG,
            env=env,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the demo, which then stops the service
        )
    try:
        wait_until_ready(process, int(env["PORT"]))
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Returns when the service is ready for requests.

    Raises:
        DemoError: when it ends early, or is not ready in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            get(port, "/readyz")
        except (OSError, HTTPException, DemoError):
            time.sleep(0.02)
        else:
            return
    message = f"The service did not start. It logged:\n{log_tail()}"
    raise DemoError(message)


def call_at_once(port: int) -> list[Wait]:
    """The waits of many clients that send a request at the same moment."""
    barrier = Barrier(CLIENTS)

    def call(number: int) -> Wait:
        barrier.wait()
        start = time.perf_counter()
        get(port, PRICES)
        return Wait(f"client {number}", start, time.perf_counter())

    with ThreadPoolExecutor(CLIENTS) as pool:
        waits = list(pool.map(call, range(1, CLIENTS + 1)))
    first = min(wait.start for wait in waits)
    return [Wait(name, (start - first) * 1000, (end - first) * 1000) for name, start, end in waits]


def report(console: Console, title: str, waits: Sequence[Wait], elapsed: float) -> bool:
    """Draws the waits; true when they took clearly less time together than in sequence."""
    in_sequence = sum(wait.length for wait in waits)
    console.print(f"\n[bold]{title}[/]\n")
    console.print(waterfall(waits, console.width))
    console.print(
        f"\n  in sequence [dim]░[/] {in_sequence:.0f} ms, at once [green]█[/] {elapsed:.0f} ms:"
        f" [bold]{in_sequence / elapsed:.1f} times faster[/]"
    )
    return elapsed < in_sequence / 2


def bake_and_install(console: Console, env: dict[str, str]) -> None:
    """Bakes the service and installs its dependencies, with a progress message."""
    steps = {
        "Baking the template": baking.command(FOLDER),
        "Installing the service": ["uv", "sync", "--locked", "--no-dev", "--project", SLUG],
    }
    columns = (SpinnerColumn(finished_text="[green]✓[/]"), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        for step, command in steps.items():
            task = progress.add_task(step, total=1)
            run(*command, env=env)
            progress.advance(task)


def demo(console: Console, *, stay: bool) -> bool:
    """Runs the whole demo; true when the waits overlapped, inside a request and across requests."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(FOLDER / SLUG, ignore_errors=True)
    env = environment()
    port = int(env["PORT"])
    bake_and_install(console, env)
    with service(env) as process:
        get(port, PRICES)  # warm-up: the first request is slower
        body = get(port, PRICES)
        waits = [Wait(wait["symbol"], wait["start_ms"], wait["end_ms"]) for wait in body["waits"]]
        title = f"One request, {len(waits)} upstream calls (GET /prices)"
        inside = report(console, title, waits, body["elapsed_ms"]) and body["concurrent"]
        clients = call_at_once(port)
        title = f"{CLIENTS} clients at once, one worker process"
        across = report(console, title, clients, max(wait.end for wait in clients))
        if stay:
            console.print(
                f"\nThe service is at [bold]http://127.0.0.1:{port}/[/]. Ctrl-C stops it."
            )
            process.wait()
            message = f"The service ended. It logged:\n{log_tail()}"
            raise DemoError(message)
    return inside and across


def main() -> int:
    """Returns the exit code: 0 when the waits overlapped."""
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # this also stops the service
    try:
        overlapped = demo(console, stay=os.environ.get("DEMO_EXIT", "") in {"", "0"})
    except DemoError as error:
        console.print("\n[red]The demo failed.[/]")
        console.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 0
    said = "[green]The waits overlapped.[/]" if overlapped else "[red]The waits did not overlap.[/]"
    console.print(f"\n{said}")
    return 0 if overlapped else 1


if __name__ == "__main__":
    sys.exit(main())
