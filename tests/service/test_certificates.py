"""A wrong `SSL_CERT_FILE` or `SSL_CERT_DIR` ends the start as a wrong setting does."""

from pathlib import Path

import pytest

from price_service.settings import SettingsError, load_settings

from ..serving import PACKAGE, run


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_missing_are_a_wrong_setting(
    variable: str, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(clean_environment / "s3cret"))
    with pytest.raises(SettingsError) as error:
        load_settings()

    assert str(error.value).startswith(f"{variable} must be a ")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(("module", "code"), [("", 2), (".asgi", 3)], ids=["command", "asgi"])
def test_and_end_the_start(module: str, code: int) -> None:
    ended = run("-m", f"{PACKAGE}{module}", env={"SSL_CERT_FILE": "/nowhere.pem"})

    assert ended.returncode == code
    assert ended.stderr == (
        "SSL_CERT_FILE must be a file of certificates in PEM that can be read.\n"
    )
