"""Valid values of `SSL_CERT_FILE` and `SSL_CERT_DIR`, and the sentence for each wrong value."""

import os
from pathlib import Path

import pytest
import trustme
from upstreams import certificate_mistakes


def test_several_folders_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path}{os.pathsep}{tmp_path}")

    assert certificate_mistakes() == []


def test_without_the_variables_there_is_no_mistake() -> None:
    assert certificate_mistakes() == []


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("content", ["missing", "garbage"])
def test_unreadable_certificates_are_reported_in_one_sentence_without_the_path(
    variable: str, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s3cret"
    if content == "garbage":
        path.write_text("-----BEGIN CERTIFICATE-----\nnone\n")
    monkeypatch.setenv(variable, str(path))

    [mistake] = certificate_mistakes()
    assert mistake.startswith(f"{variable} must be a ")
    assert len(mistake.splitlines()) == 1
    assert "s3cret" not in mistake
