"""Runs Python code in a separate process, many times, with a single import of its modules."""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from tests.serving import LIBRARIES, PATIENCE

# Reads a line of code at a time; a forked child runs it as the rest of the main program.
LOOP = """
import json as _json, os as _os, sys as _sys
for _line in _sys.stdin:
    _code, *_files = _json.loads(_line)
    if (_child := _os.fork()) == 0:
        for _number, _file in enumerate(_files, start=1):
            _os.dup2(_os.open(_file, _os.O_WRONLY), _number)
        break
    _status = _os.waitpid(_child, 0)[1]
    print(_os.waitstatus_to_exitcode(_status), flush=True)
else:
    _os._exit(0)
exec(_code)
"""


@dataclass(frozen=True)
class Forking:
    """A process that has imported all modules, and forks."""

    _process: "subprocess.Popen[str]"
    _folder: Path

    def run(self, code: str) -> CompletedProcess[str]:
        """Return the result of a process that runs `code` after the set-up."""
        assert self._process.stdin
        assert self._process.stdout
        files = [self._folder / name for name in ("stdout", "stderr")]
        for each in files:
            each.write_text("", encoding="utf-8")
        self._process.stdin.write(json.dumps([code, *map(str, files)]) + "\n")
        self._process.stdin.flush()
        assert select.select([self._process.stdout], [], [], PATIENCE)[0], f"it runs on:\n{code}"
        status = int(self._process.stdout.readline())
        return CompletedProcess(code, status, *(each.read_text("utf-8") for each in files))


@contextmanager
def forking(setup: str, *flags: str) -> Iterator[Forking]:
    """Run the code of `setup`, with flags of Python, and fork from there until the block ends."""
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, *flags, "-c", setup + LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(LIBRARIES)},
            text=True,
            start_new_session=True,
        ) as process,
    ):
        yield Forking(process, Path(folder))
        assert process.stdin
        process.stdin.close()
