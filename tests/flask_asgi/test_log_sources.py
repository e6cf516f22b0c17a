"""Every message of a process is a log record: one for each event, in one format."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from .forking import Forking, forking

SETUP = """
import asyncio, gc, logging, sys, threading, warnings
from flask_asgi import JsonFormatter, StderrWriter, log_everything
writer = StderrWriter()
writer.setFormatter(JsonFormatter())
logging.basicConfig(level="INFO", handlers=[writer])
log_everything()
log_everything()
"""

SERVE = """
from contextlib import asynccontextmanager
import uvicorn
from flask import Flask
from flask_asgi import FlaskToAsgi, HttpProtocol, run
@asynccontextmanager
async def lifespan(app):
    {}
app = Flask("tested")
asgi = FlaskToAsgi(app, lifespan=lifespan)
config = dict(port=0, log_config=None, lifespan="on", http=HttpProtocol, access_log=False)
"""


@pytest.fixture(scope="module")
def python() -> Iterator[Forking]:
    """Return a runner of code after `SETUP`."""
    with forking(SETUP, "-W", "default") as python:
        yield python


def lines_of(python: Forking, code: str, *, status: int) -> list[dict[str, Any]]:
    """Return the lines that the code writes to stderr, all of which must be JSON."""
    done = python.run(code)
    assert done.returncode == status, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


@pytest.mark.parametrize(
    ("code", "logger", "level", "message"),
    [
        ("raise ValueError('two\\nlines')", "flask_asgi._log_sources", "CRITICAL", "ends the proc"),
        (
            (
                "def work(): raise ValueError('x')\n"
                "thread = threading.Thread(target=work, name='worker')\n"
                "thread.start(); thread.join()"
            ),
            *("flask_asgi._log_sources", "ERROR", "ValueError ends the thread 'worker': x"),
        ),
        (
            "class Odd:\n    def __del__(self): raise ValueError('x')\nodd = Odd(); del odd",
            *("flask_asgi._log_sources", "ERROR", "Exception ignored in"),
        ),
        (
            (
                "async def fail(): raise ValueError('x')\n"
                "async def main():\n"
                "    task = asyncio.create_task(fail()); await asyncio.wait([task]); del task\n"
                "asyncio.run(main()); gc.collect()"
            ),
            *("asyncio", "ERROR", "Task exception was never retrieved"),
        ),
        (
            (
                "async def main():\n"
                "    asyncio.get_running_loop().call_soon(lambda: 1 / 0)\n"
                "    await asyncio.sleep(0.01)\n"
                "asyncio.run(main())"
            ),
            *("asyncio", "ERROR", "Exception in callback"),
        ),
        (
            "warnings.warn('old\\nnews')",
            "py.warnings",
            "WARNING",
            "UserWarning: old\nnews (<string",
        ),
        (
            "async def never(): pass\nnever()",
            *("py.warnings", "WARNING", "RuntimeWarning: coroutine 'never' was never awaited"),
        ),
    ],
)
def test_an_uncaught_error_or_warning_is_one_record(
    python: Forking, code: str, logger: str, level: str, message: str
) -> None:
    [line] = lines_of(python, code, status=int(code.startswith("raise")))

    assert (line["logger"], line["level"]) == (logger, level)
    assert message in line["message"]
    assert ("exc_info" in line) == (level != "WARNING")


@pytest.mark.parametrize("code", ["raise SystemExit", "threading.Thread(target=sys.exit).start()"])
def test_an_orderly_exit_is_not_logged(python: Forking, code: str) -> None:
    assert lines_of(python, code, status=0) == []


def test_hooks_of_other_programs_are_kept(python: Forking) -> None:
    code = """
hooks = ("excepthook", "unraisablehook")
for name in hooks: setattr(sys, name, print)
threading.excepthook = print
log_everything()
assert sys.excepthook is sys.unraisablehook is threading.excepthook is print
"""
    assert lines_of(python, code, status=0) == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("error", "has_traceback"),
    [("OSError('the disk is away')", False), ("KeyError('a bug')", True)],
)
def test_a_failed_start_is_one_error_with_a_traceback_for_a_bug_only(
    python: Forking, error: str, workers: int, *, has_traceback: bool
) -> None:
    code = SERVE.format(f"raise {error}\n    yield")
    if workers == 1:
        code += "run(uvicorn.Config(asgi, **config))"
    else:  # the code of a worker; its parent only starts it
        code += "uvicorn.Server(uvicorn.Config(asgi, **config)).run(); sys.exit(3)"

    lines = lines_of(python, code, status=3)

    [line] = [each for each in lines if each["level"] in {"ERROR", "CRITICAL"}]
    assert line[
        "message"
    ] == f"startup failed: {error.replace('(', ': ').replace(')', '')}".replace(
        "OSError: '", "OSError: "
    ).removesuffix("'" if "OSError" in error else "")
    assert ("exc_info" in line) == has_traceback


def test_uvicorns_lines_go_to_the_root_and_its_access_log_is_off(python: Forking) -> None:
    lines = lines_of(
        python,
        "handler = logging.StreamHandler()\n"
        "for name in ('uvicorn', 'uvicorn.error', 'uvicorn.access'):\n"
        "    logging.getLogger(name).addHandler(handler)\n"
        "log_everything()\n"
        "logging.getLogger('uvicorn.error').info('Started')\n"
        "assert not logging.getLogger('uvicorn.access').hasHandlers()\n",
        status=0,
    )

    assert [line["message"] for line in lines] == ["Started"]
    assert logging.getLogger("uvicorn.error").handlers == []
