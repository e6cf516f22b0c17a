"""Certificates that are trusted in addition to the public ones, such as a private authority's.

`SSL_CERT_FILE` names a file of them, `SSL_CERT_DIR` one or more folders, as for OpenSSL.
"""

import os
import ssl
from pathlib import Path


def trust(context: ssl.SSLContext) -> None:
    """Have `context` trust the certificates that the two variables name, if they are set.

    Raises `OSError` for a file that cannot be read, `ssl.SSLError` for a file without certificates.
    """
    if file := os.environ.get("SSL_CERT_FILE"):
        context.load_verify_locations(cafile=file)
    if folders := os.environ.get("SSL_CERT_DIR"):
        context.load_verify_locations(capath=folders)


def certificate_mistakes() -> list[str]:
    """Return a sentence for each of `SSL_CERT_FILE` and `SSL_CERT_DIR` that is wrong.

    Call it at start-up: with a wrong variable an `Upstream` raises a bare `OSError`.
    """
    found = []
    try:
        trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    except OSError:  # an ssl.SSLError is one
        found.append("SSL_CERT_FILE must be a file of certificates in PEM that can be read.")
    folders = os.environ.get("SSL_CERT_DIR", "")
    if not all(Path(each).is_dir() for each in folders.split(os.pathsep) if each):
        found.append("SSL_CERT_DIR must be a folder, or several separated by colons.")
    return found
