"""Hides a developer's environment variables and `.env` from the tests.

A variable that a shell exports for another program, or a line in `.env`, would make a test fail
here and pass in CI. `conftest.py` removes them before any test is collected, because some tests
import `asgi.py`, which reads the settings.
"""

import os
import re

from {{ cookiecutter.package_name }}.settings import Settings

# Variables, besides the settings, that change the behaviour of the service, its libraries and
# Python. Variables that your own tests need, such as a database's address, are not removed.
_NOT_FOR_TESTS = re.compile(
    r"""
    (https?|all|ftp|no)_proxy                           # asked by HTTP clients
    | SSL_CERT_(FILE|DIR) | SSLKEYLOGFILE | OPENSSL_CONF | (REQUESTS|CURL)_CA_BUNDLE
    | OTEL_\w+                                          # of OpenTelemetry
    | (FLASK|UVICORN|WERKZEUG|PYDANTIC|PROMETHEUS)_\w+
    | LISTEN_(FDS|PID|FDNAMES) | NOTIFY_SOCKET | WATCHDOG_(USEC|PID)     # from systemd
    | PYTHON(?!PATH$|HOME$|DONTWRITEBYTECODE$|PYCACHEPREFIX$)\w+         # for the services started
    | FORCE_COLOR | NO_COLOR | COLUMNS | LINES          # asked by programs that print
    """,
    re.VERBOSE | re.IGNORECASE,
)


def forget_the_developer() -> None:
    """Remove the variables from this process's environment, and switch off `.env`.

    A test about `.env` uses the fixture `clean_environment`, which switches it on again.
    """
    for name in list(os.environ):
        if Settings.reads(name) or _NOT_FOR_TESTS.fullmatch(name):
            del os.environ[name]
    Settings.model_config["env_file"] = None
