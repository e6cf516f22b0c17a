"""Logging never waits for stderr; no line is lost, doubled, mixed or dropped uncounted."""

import io
import json
import logging
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from flask_asgi import JsonFormatter, StderrWriter, dropped_lines

from tests.serving import LIBRARIES, PATIENCE

from .forking import Forking, forking

# Makes `log(text)`, whose lines are JSON, in a process that a test starts.
SETUP = """
import logging, multiprocessing, os, signal, sys, threading, time
from flask_asgi import JsonFormatter, StderrWriter, dropped_lines, flush_lines, log_everything
writer = StderrWriter()
writer.setFormatter(JsonFormatter())
logging.basicConfig(level="INFO", handlers=[writer])
log = logging.getLogger("test").info
"""

# For tests without a reader: a flush then takes its whole timeout.
IMPATIENT = """
from flask_asgi import _stderr_writer
_stderr_writer.FLUSH_SECONDS = 0.2
"""

DROPPED = "log lines were dropped: stderr did not take them"


@contextmanager
def started(code: str, stderr: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python code after `SETUP`, with a pipe for its stdin and stdout."""
    with started_program("-c", SETUP + code, stderr=stderr) as process:
        yield process


@contextmanager
def started_program(
    *arguments: str, stderr: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python with `arguments`, with a pipe for its stdin and stdout."""
    with subprocess.Popen(
        # Some of the tests fork while the writer's thread runs; Python 3.12 warns of that.
        [sys.executable, "-W", "ignore::DeprecationWarning", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": str(LIBRARIES)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def logged_by(code: str) -> list[str]:
    """Return the messages that Python code after `SETUP` logs until it ends."""
    return logged_by_program("-c", SETUP + code)


def logged_by_program(*arguments: str) -> list[str]:
    """Return the messages that Python with `arguments` logs until it ends."""
    with started_program(*arguments) as process:
        _, written = process.communicate(timeout=PATIENCE)
    return [json.loads(line)["message"] for line in written.splitlines()]


@pytest.fixture(scope="module")
def python() -> Iterator[Forking]:
    """Return a runner of code after `SETUP`, with a file for its stderr."""
    with forking(SETUP) as python:
        yield python


# A reader that stops reading


def pipes() -> tuple[int, int]:
    """Return both ends of a pipe: where to read, and where to write."""
    return os.pipe()


def sockets() -> tuple[int, int]:
    """Return both ends of a pair of sockets, as journald gives a service one."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def terminals() -> tuple[int, int]:
    """Return both ends of a terminal."""
    ours, theirs = pty.openpty()
    return ours, theirs


def nonblocking_pipes() -> tuple[int, int]:
    """Return both ends of a non-blocking pipe."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    return ours, theirs


def read_all(descriptor: int) -> list[str]:
    """Return the lines that can be read until the other end is closed."""
    data = b""
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # Linux's end of a terminal
            part = b""
        if not part:
            return data.decode().splitlines()
        data += part


@pytest.mark.parametrize(
    "sink",
    [
        pipes,
        *(
            pytest.param(each, marks=pytest.mark.heavy)
            for each in (sockets, terminals, nonblocking_pipes)
        ),
    ],
)
def test_logging_does_not_wait_for_a_reader_and_counts_dropped_lines(
    sink: Callable[[], tuple[int, int]],
) -> None:
    reader, stderr = sink()
    code = f"""{IMPATIENT}
writer._size = 100_000
for number in range(5000):
    log("line %d", number)
print(writer.dropped, dropped_lines(), flush=True)
input()  # until there is a reader
log("the last words")
"""
    with started(code, stderr) as process:
        os.close(stderr)
        assert process.stdout
        assert process.stdin
        dropped, total = map(int, process.stdout.readline().split())  # nothing was read yet
        assert 0 < dropped == total < 5000

        process.stdin.write(b"\n")
        process.stdin.close()
        messages = [json.loads(line)["message"] for line in read_all(reader)]
        assert process.wait(PATIENCE) == 0

    os.close(reader)
    reported = [int(each.split()[0]) for each in messages if each.endswith(DROPPED)]
    numbers = [int(each.split()[1]) for each in messages if each.startswith("line ")]
    missing = 5000 - len(numbers) + (messages.count("the last words") == 0)
    assert sum(reported) == missing >= dropped
    assert numbers == sorted({*numbers})


@pytest.mark.parametrize(
    "end",
    ["", "sys.exit(3)", "log_everything(); raise ValueError", "writer.close()"],
)
def test_a_process_whose_reader_has_stopped_reading_can_end(end: str) -> None:
    with started(f"{IMPATIENT}for _ in range(5000):\n    log('x')\n{end}") as process:
        assert process.wait(PATIENCE) == {"": 0, "writer.close()": 0, "sys.exit(3)": 3}.get(end, 1)


def test_a_second_flush_does_not_wait_again() -> None:
    code = f"""{IMPATIENT}
waited = []
event = threading.Event
class Event(event):
    def wait(self, timeout=None):
        waited.append(timeout)
        return super().wait(timeout)
threading.Event = Event
for _ in range(5000):
    log("x")
flush_lines()
flush_lines()
writer.close()
print(len([each for each in waited if each == 0.2]), flush=True)
"""
    with started(code) as process:
        assert process.stdout
        assert process.stdout.readline() == b"1\n"


# Nothing is lost


def test_lines_of_many_threads_are_complete_and_in_order() -> None:
    messages = logged_by("""
def talk(name):
    for number in range(500):
        log(f"{name} {number}")
threads = [threading.Thread(target=talk, args=(name,)) for name in range(8)]
for each in threads: each.start()
for each in threads: each.join()
""")

    assert len(messages) == 4000
    for name in range(8):
        mine = [each for each in messages if each.startswith(f"{name} ")]
        assert mine == [f"{name} {number}" for number in range(500)]


@pytest.mark.parametrize(
    "end",
    [
        "",
        "sys.exit(1)",
        "raise SystemExit('no')",
        "flush_lines(); os._exit(1)",
        "flush_lines(); os.kill(os.getpid(), signal.SIGKILL)",
        "from flask_asgi._readiness import end_by; end_by(signal.SIGTERM)",
        "threading.Thread(target=lambda: (time.sleep(0.05), log('later'))).start()",
        "logging.shutdown(); log('later')",
        "import atexit; atexit.register(log, 'later')",
    ],
)
def test_the_last_lines_of_a_process_are_written(python: Forking, end: str) -> None:
    # The first line is written at once. The others wait for the pause to end.
    code = f"log('first')\ntime.sleep(0.01)\nlog('second')\nlog('third')\n{end}"
    # Python writes its own text in pieces: a log line may follow "no" before the newline.
    found = re.findall(r"\{.*\}", python.run(code).stderr)
    words = ["first", "second", "third", "later"]
    assert [json.loads(line)["message"] for line in found] == words[: 3 + ("later" in end)]


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.heavy)])
def test_the_last_lines_of_a_child_process_are_written(method: str, tmp_path: Path) -> None:
    program = tmp_path / "talking.py"
    program.write_text(f"""{SETUP}
def talk():
    log("child 1")
    log("child 2")
if __name__ == "__main__":
    log("parent 1")
    child = multiprocessing.get_context({method!r}).Process(target=talk)
    child.start()
    child.join()
    log("parent 2")
""")

    words = ["child 1", "child 2", "parent 1", "parent 2"]
    assert sorted(logged_by_program(str(program))) == words


def test_lines_queued_at_a_fork_are_written_by_the_parent_only() -> None:
    code = """
for number in range(300):
    log(f"parent {number} " + 400 * "x")  # more than a pipe holds
if os.fork() == 0:
    log("child")
    os.set_blocking(2, False)
    sys.exit()
os.wait()
print("forked", flush=True)
"""
    with started(code) as process:
        assert process.stdout
        assert process.stdout.readline() == b"forked\n"  # nothing was read yet
        _, written = process.communicate(timeout=PATIENCE)

    count = Counter(json.loads(line)["message"].split(" x")[0] for line in written.splitlines())
    del count["child"]  # dropped if the pipe was full
    assert count == {f"parent {number}": 1 for number in range(300)}


def test_lines_of_processes_that_share_a_pipe_do_not_mix() -> None:
    messages = logged_by("""
children = []
for name in range(4):
    if (child := os.fork()) == 0:
        for number in range(1000):
            log(f"{name} {number} " + "x" * (number % 300))
        sys.exit()
    children.append(child)
for child in children:
    os.waitpid(child, 0)
""")

    assert Counter(each.split()[0] for each in messages) == dict.fromkeys("0123", 1000)


def test_a_line_longer_than_the_queue_is_written() -> None:
    assert logged_by("log(200_000 * 'x')") == [200_000 * "x"]


def test_lines_lost_to_a_full_disk_are_counted_later() -> None:
    messages = logged_by("""
kept, full = os.dup(2), os.open("/dev/full", os.O_WRONLY)
os.dup2(full, 2)
for _ in range(10):
    log("lost")
flush_lines()
assert dropped_lines() == 10
os.dup2(kept, 2)
log("there is room")
""")

    assert sorted(messages) == [f"10 {DROPPED}", "there is room"]


def test_a_closed_pipe_does_not_end_the_process() -> None:
    code = "input()\nfor _ in range(5):\n    log('x')\n    flush_lines()\nprint(dropped_lines())"
    with started(code) as process:
        assert process.stderr
        process.stderr.close()
        process.stderr = None
        written, _ = process.communicate(b"\n", timeout=PATIENCE)

    assert (written, process.returncode) == (b"5\n", 0)


def test_a_signal_handler_that_logs_does_not_stop_the_process() -> None:
    messages = logged_by("""
signal.signal(signal.SIGALRM, lambda *_: log("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for number in range(3000):
    log(f"line {number}")
signal.setitimer(signal.ITIMER_REAL, 0)
""")

    assert [each for each in messages if each != "alarm"] == [f"line {n}" for n in range(3000)]
    assert "alarm" in messages


def test_lines_are_written_in_batches() -> None:
    messages = logged_by("""
writes = []
def counted(*args, write=os.write):
    writes.append(args)
    return write(*args)
os.write = counted
for _ in range(500):
    log("x")
flush_lines()
log(str(len(writes)))
""")

    assert int(messages[-1]) < 100


# Where it writes to


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Return a logger that logs JSON with a `StderrWriter`."""
    logger = logging.Logger("tests", logging.INFO)  # noqa: LOG001 - without parents
    writer = StderrWriter()
    writer.setFormatter(JsonFormatter())
    logger.addHandler(writer)
    yield logger
    writer.close()


def test_a_stderr_without_a_file_descriptor_is_written_to_at_once(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)

        logger.info("said")

        assert json.loads(stream.getvalue())["message"] == "said"
    assert not any(each.name == "log writer" for each in threading.enumerate())


def test_a_process_without_stderr_logs_nowhere(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", None)

    logger.info("said")

    assert dropped_lines() == 0


def test_a_file_that_replaces_stderr_is_written_to(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, descriptor = os.pipe()
    with closing(os.fdopen(reader)) as lines, os.fdopen(descriptor, "w", encoding="ascii") as file:
        monkeypatch.setattr(sys, "stderr", file)
        logger.info("caf\N{LATIN SMALL LETTER E WITH ACUTE}")
        logger.handlers[0].setFormatter(logging.Formatter())
        logger.info("caf\N{LATIN SMALL LETTER E WITH ACUTE}")
        logger.handlers[0].flush()

        assert select.select([lines], [], [], PATIENCE)[0]
        assert json.loads(lines.readline())["message"].startswith("caf")
        assert lines.readline() == "caf\\xe9\n"


def test_a_closed_writer_has_no_thread_and_can_be_used_again(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, descriptor = os.pipe()
    with closing(os.fdopen(reader)) as lines, os.fdopen(descriptor, "w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        for number in range(3):
            logger.info("%d", number)
            logger.handlers[0].close()

            assert not any(each.name == "log writer" for each in threading.enumerate())
            assert json.loads(lines.readline())["message"] == str(number)


class HostileError(Exception):
    """An error that cannot be converted to text."""

    def __str__(self) -> str:
        """Fails."""
        raise RuntimeError


@pytest.mark.parametrize(
    "log",
    [
        lambda logger: logger.info("%d", "x"),
        lambda logger: logger.info("%s", HostileError()),
        lambda logger: logger.info(HostileError()),
        lambda logger: logger.info("x", extra={"y": HostileError()}),
        lambda logger: logger.info("%(a)s", {"b": 1}),
    ],
)
def test_a_formatting_error_is_reported_in_one_line(
    logger: logging.Logger,
    capsys: pytest.CaptureFixture[str],
    log: Callable[[logging.Logger], None],
) -> None:
    log(logger)

    [line] = capsys.readouterr().err.splitlines()
    message = json.loads(line)["message"]
    assert message.startswith("A log line cannot be formatted (tests, ")
    assert "test_stderr_writer.py:" in message


def test_a_writer_installs_no_signal_handler(logger: logging.Logger) -> None:
    logger.info("a line")

    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
