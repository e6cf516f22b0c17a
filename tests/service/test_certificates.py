"""A wrong `SSL_CERT_FILE` or `SSL_CERT_DIR` ends the start like a wrong setting."""

import pytest

from ..serving import PACKAGE, run


@pytest.mark.parametrize(("module", "code"), [("", 2), (".asgi", 3)], ids=["command", "asgi"])
def test_a_wrong_certificate_file_ends_the_start(module: str, code: int) -> None:
    ended = run("-m", f"{PACKAGE}{module}", env={"SSL_CERT_FILE": "/nowhere.pem"})

    assert ended.returncode == code
    assert ended.stderr == (
        "SSL_CERT_FILE must be a file of certificates in PEM that can be read.\n"
    )
