"""The class of the machine and the versions, without data that identify the machine."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from . import load

PACKAGES = (
    *("flask", "werkzeug", "asgiref", "greenlet", "a2wsgi", "quart", "fastapi", "starlette"),
    *("pydantic", "uvicorn", "uvloop", "httptools", "gunicorn"),
    *("httpx", "httpcore", "aiohttp"),
)


def machine() -> dict[str, str | int]:
    """The class of machine."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """The versions of all packages and tools that take part."""
    return {"wrk": load.version()} | packages()


def packages() -> dict[str, str]:
    """The versions of Python and of its installed packages."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {"python": python} | {name: version(name) for name in PACKAGES}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
