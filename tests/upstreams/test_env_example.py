"""The text of an `.env` that shows every setting."""

from pathlib import Path

import pytest
from pydantic import Field, SecretStr
from upstreams import Seconds, ServiceSettings, UpstreamSettings

from .shop import Shop


class Odd(ServiceSettings):
    """Settings that are hard to show."""

    required: str = Field(description="what has no default")
    bare: Seconds = 2.0
    secret: SecretStr = Field(default=SecretStr("s3cret"), description="what is hidden")
    orders: UpstreamSettings


def test_every_setting_is_shown_with_its_description_and_default() -> None:
    header, *paragraphs = Shop.env_example("show").split("\n\n")

    assert header.endswith("# To generate it again: show > .env.example")
    names = [each.splitlines()[-1].partition("=")[0] for each in paragraphs]
    assert names == [f"# {name.upper()}" for name in Shop.variables()]
    assert "# The TCP port to listen on.\n# PORT=8000" in paragraphs
    assert "# Whether errors are shown.\n# DEBUG=false" in paragraphs
    assert any(each.endswith("\n# ORDERS__BASE_URL=") for each in paragraphs)
    assert any(each.endswith("\n# ORDERS__TIMEOUT_SECONDS=2") for each in paragraphs)


def test_the_example_sets_no_variable(tmp_path: Path) -> None:
    text = Shop.env_example("show")
    (tmp_path / ".env").write_text(text, encoding="utf-8")

    assert all(line.startswith("# ") or line in {"", "#"} for line in text.splitlines())
    assert all(len(line) <= 100 for line in text.splitlines())
    assert Shop(_env_file=tmp_path / ".env") == Shop()  # type: ignore[call-arg] # its own


def test_settings_without_a_default_or_description_are_shown() -> None:
    text = Odd.env_example("show")

    assert "# What has no default.\n# REQUIRED=\n" in text
    assert "\n\n# BARE=2\n" in text
    assert "# ORDERS__BASE_URL=\n" in text
    assert "s3cret" not in text


def test_the_example_does_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Shop.env_example("show")
    monkeypatch.setenv("PORT", "9000")

    assert Shop.env_example("show") == before
