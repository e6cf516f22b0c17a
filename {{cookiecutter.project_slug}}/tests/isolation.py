"""Takes what a developer has set up on this machine out of the tests' sight.

A variable that a shell exports for something else, or a line in `.env`, would make a test fail here
and pass in CI. `conftest.py` forgets them before any test is collected, since some tests import
`asgi.py`, which reads the settings.
"""

import os
import re

from {{ cookiecutter.package_name }}.settings import Settings

# Variables that change what the service, its libraries and Python itself do, besides its settings.
# What a test of yours needs from outside, such as the address of a database, is not among them.
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
    """Remove the variables from this process's environment, and let no `.env` be read.

    A test of what `.env` does uses the fixture `clean_environment`, which brings it back.
    """
    for name in list(os.environ):
        if Settings.reads(name) or _NOT_FOR_TESTS.fullmatch(name):
            del os.environ[name]
    Settings.model_config["env_file"] = None
