"""The settings that a service reads from its environment and `.env`, and the refused values."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import dotenv.main
import pytest
from pydantic import Field, ValidationError
from upstreams import ServiceSettings, UpstreamSettings

from .shop import Shop, refused

Give = Callable[[str, str], None]

PARTS = [name.upper() for name in Shop.variables() if name.startswith("orders__")]
URLS = {"ORDERS__BASE_URL": "https://orders.example", "STOCK__BASE_URL": "https://stock.example"}


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hide the developer's settings; an empty folder in which `.env` may be written."""
    for name in filter(Shop.reads, [*os.environ]):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["the environment", ".env"])
def give(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Give:
    """Return a function that sets a variable in the environment or in `.env`."""

    def write(name: str, value: str) -> None:
        with Path(".env").open("a", encoding="utf-8") as file:
            file.write(f"{name}={value}\n")

    return write if request.param == ".env" else monkeypatch.setenv


# Where settings come from


def test_without_variables_the_defaults_hold() -> None:
    settings = Shop.load()

    assert (settings.environment, settings.port) == ("development", 8000)
    assert settings.orders.max_retries == UpstreamSettings().max_retries


def test_the_environment_overrides_the_env_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text(
        "PORT=8001\nHOST=127.0.0.2\nORDERS__MAX_RETRIES=7\nORDERS__HEDGE=true\n", encoding="utf-8"
    )
    monkeypatch.setenv("PORT", "8002")
    monkeypatch.setenv("ORDERS__MAX_RETRIES", "8")
    monkeypatch.setenv("orders__base_url", "https://orders.example/v1")

    settings = Shop.load()

    assert (settings.host, settings.port) == ("127.0.0.2", 8002)
    assert (settings.orders.max_retries, settings.orders.hedge) == (8, True)
    assert str(settings.orders.base_url) == "https://orders.example/v1"


def test_arguments_of_load_override_variables_and_are_checked(give: Give) -> None:
    give("PORT", "8002")

    assert Shop.load(port="8003").port == 8003
    assert refused(port="-1")[0].startswith("PORT should be greater than or equal to 0 (the TCP ")


def test_an_override_keeps_the_other_parts_of_a_group(give: Give) -> None:
    give("ORDERS__MAX_RETRIES", "7")

    orders = Shop.load(orders={"hedge": True}).orders

    assert (orders.max_retries, orders.hedge) == (7, True)


class Patient(ServiceSettings):
    """A service that changes a default of its upstream."""

    orders: UpstreamSettings = UpstreamSettings(timeout_seconds=5)


def test_a_set_part_keeps_the_defaults_of_the_others(give: Give) -> None:
    give("ORDERS__MAX_RETRIES", "7")

    orders = Patient.load().orders

    assert (orders.max_retries, orders.timeout_seconds) == (7, 5)


@pytest.mark.parametrize("name", ["PORT", *PARTS, "ORDERS", "ORDERS_BASE_URL", "ORDERS__UNKNOWN"])
def test_an_empty_variable_counts_as_not_set(give: Give, name: str) -> None:
    without = Shop.load()
    give(name, "")

    assert Shop.load() == without


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Shop.load().port = 1


@pytest.mark.parametrize(
    "text",
    [
        "PORT=8001",
        "\ufeffPORT=8001\n",
        "\n\n  \n# PORT=1\n\r\nPORT=8001\r\n",
        "export PORT=8001\n",
        "PORT='8001' # a comment\n",
        "  PORT = 8001  \n",
        "PORT=1\nPORT=8001\n",
        "port=8001\n",
        "PORT=8001\nHOST=\nDEBUG\n",
    ],
)
def test_an_env_file_may_be_written_in_many_ways(folder: Path, text: str) -> None:
    (folder / ".env").write_bytes(text.encode())

    assert Shop.load().port == 8001


def test_a_folder_named_like_the_env_file_is_ignored(folder: Path) -> None:
    (folder / ".env").mkdir()

    assert Shop.load().port == 8000


def test_an_env_file_that_cannot_be_read_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("PORT=8001\n", encoding="utf-8")

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(dotenv.main, "open", forbidden, raising=False)

    assert refused() == [".env cannot be read: Permission denied."]


def test_an_env_file_in_another_encoding_is_refused(folder: Path) -> None:
    (folder / ".env").write_bytes("HOST=caf\xe9".encode("latin-1"))

    assert refused() == [".env is not UTF-8 text."]


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_missing_certificates_are_a_wrong_setting(
    variable: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(folder / "s3cret"))

    [said] = refused()

    assert said.startswith(f"{variable} must be a ")


# Unknown names


@pytest.mark.parametrize(("name", "meant"), [("PROT", "PORT"), ("deubg", "DEBUG"), ("KYE", "KEY")])
def test_a_misspelt_name_in_the_env_file_is_refused_with_a_hint(
    folder: Path, name: str, meant: str
) -> None:
    (folder / ".env").write_text(f"{name}=s3cret\n", encoding="utf-8")

    assert refused() == [f"{name.upper()} is not a setting of this service; did you mean {meant}?"]


@pytest.mark.parametrize("name", ["PROT", "DEUBG", "KYE", "PORT2", "ORDER"])
def test_a_misspelt_name_in_the_environment_is_ignored(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = Shop.load()
    monkeypatch.setenv(name, "x")

    assert Shop.load() == without


@pytest.mark.parametrize("name", PARTS)
def test_a_part_with_one_underscore_is_refused(give: Give, name: str) -> None:
    former = name.replace("__", "_")
    give(former, "s3cret")

    assert refused() == [f"{former} is not a setting of this service; did you mean {name}?"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ORDERS__TIMEOUT", "ORDERS__TIMEOUT_SECONDS"),
        ("ORDERS_TIMEOUT", "ORDERS__TIMEOUT_SECONDS"),
        ("ORDER__BASE_URL", "ORDERS__BASE_URL"),
        ("ORDERS__BASEURL", "ORDERS__BASE_URL"),
        ("ORDERS___BASE_URL", "ORDERS__BASE_URL"),
        ("orders__base_ulr", "ORDERS__BASE_URL"),
        ("ODRERS__CACHE", "ORDERS__CACHE"),
        ("STOCKS__CACHE", "STOCK__CACHE"),
    ],
)
def test_a_misspelt_part_is_refused_in_both_places(give: Give, name: str, meant: str) -> None:
    give(name, "s3cret")

    assert refused() == [f"{name.upper()} is not a setting of this service; did you mean {meant}?"]


def test_a_misspelt_part_is_refused_even_if_the_right_name_is_set(give: Give) -> None:
    give("ORDERS__BASE_URL", "https://orders.example")
    give("ORDERS_BASE_URL", "s3cret")

    assert refused()[0].startswith("ORDERS_BASE_URL is not a setting of this service; did you ")


@pytest.mark.parametrize("name", ["ORDERS__UNKNOWN", "ORDERS__", "ORDERS__MAX_RETRIES__X"])
def test_an_unknown_part_is_refused(give: Give, name: str) -> None:
    give(name, "s3cret")
    give("ORDERS__MAX_RETRIES", "1")

    assert refused() == [f"{name} is not a setting of this service."]


@pytest.mark.parametrize(
    "name", ["ORDERS_PORT", "ORDERS_SERVICE_HOST", "ORDERS_PORT_80_TCP", "ORDERS_DB", "ORDERS2"]
)
def test_names_of_other_programs_are_ignored(give: Give, name: str) -> None:
    without = Shop.load()
    give(name, "tcp://10.0.0.1:80")

    assert Shop.load() == without


@pytest.mark.parametrize(
    "value", ['{"base_url": "https://s3cret.example"}', '{"s3cret', "null", "[]", "1", "s3cret"]
)
def test_a_group_that_is_set_as_a_whole_is_refused(give: Give, value: str) -> None:
    give("ORDERS", value)
    give("ORDERS__MAX_RETRIES", "1")

    assert refused() == ["ORDERS must be set by its parts, such as ORDERS__BASE_URL."]


@pytest.mark.parametrize(
    ("name", "is_read"),
    [
        *[("PORT", True), ("port", True), ("ORDERS__BASE_URL", True), ("ORDERS__X", True)],
        *[("ORDERS", True), ("ORDERS_BASE_URL", True), ("STOCKS__CACHE", True)],
        *[("PROT", False), ("PATH", False), ("ORDERS_PORT", False), ("STOCKS__X", False)],
    ],
)
def test_reads_is_true_for_every_variable_with_an_effect(
    name: str, *, is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Shop.reads(name) is is_read

    without = Shop.load()
    monkeypatch.setenv(name, "7")
    assert name.upper() != "PORT" or Shop.load() != without
    assert is_read or Shop.load() == without


def test_variables_has_the_names_of_settings_and_of_parts() -> None:
    assert {"port", "environment", "orders__base_url", "stock__cache"} <= {*Shop.variables()}
    assert "orders" not in Shop.variables()


# Values


def test_all_wrong_variables_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENVIRONMENT", "DEBUG", "PORT"):
        monkeypatch.setenv(name, "s3cret")

    assert [said.split()[0] for said in refused()] == ["ENVIRONMENT", "DEBUG", "PORT"]


def test_a_wrong_part_is_named_and_described(give: Give) -> None:
    give("ORDERS__TIMEOUT_SECONDS", "-5")

    about = "how long one call may take with its retries, in seconds"
    assert refused() == [f"ORDERS__TIMEOUT_SECONDS should be greater than 0 ({about})."]


def by_environment(values: dict[str, object]) -> str:
    """A default that depends on another setting."""
    return "json" if values["environment"] == "production" else "text"


class Dependent(ServiceSettings):
    """A service with a default that needs another setting."""

    log_format: str = Field(default_factory=by_environment)


def test_a_default_that_needs_a_wrong_setting_is_not_reported_as_well() -> None:
    assert Dependent.load(environment="production").log_format == "json"

    [said] = refused(Dependent, environment="s3cret")
    assert said.startswith("ENVIRONMENT should be 'development' or 'production' (what ")


# Production


def test_production_needs_the_address_of_every_upstream(give: Give) -> None:
    give("ENVIRONMENT", "production")

    assert [said.partition(" (")[0] for said in refused()] == [
        f"{upstream}__BASE_URL must be set when ENVIRONMENT is production"
        for upstream in ("ORDERS", "STOCK")
    ]


def test_production_names_every_refused_variable(give: Give) -> None:
    for name in ("ENVIRONMENT", "DEBUG", "ORDERS__TIMEOUT_SECONDS", "ORDERS__CACHE_REDIS_URL"):
        give(name, {"ENVIRONMENT": "production"}.get(name, "s3cret"))

    assert {said.split()[0] for said in refused()} == {
        *("DEBUG", "ORDERS__BASE_URL", "ORDERS__TIMEOUT_SECONDS", "ORDERS__CACHE_REDIS_URL"),
        "STOCK__BASE_URL",
    }


def test_production_takes_upstreams_with_addresses(give: Give) -> None:
    for name, value in URLS.items():
        give(name, value)
    give("ENVIRONMENT", "production")

    settings = Shop.load()

    assert str(settings.orders.base_url) == "https://orders.example/"
    assert str(settings.stock.base_url) == "https://stock.example/"


def test_a_whole_group_can_be_overridden() -> None:
    stock = UpstreamSettings.model_validate({"base_url": URLS["STOCK__BASE_URL"]})

    [said] = refused(environment="production", stock=stock)

    assert said.startswith("ORDERS__BASE_URL must be set when ")


class Strict(Shop):
    """A service whose default environment is production."""

    environment: Literal["development", "production"] = "production"


def test_production_as_the_default_has_the_same_checks() -> None:
    assert [said.split()[0] for said in refused(Strict)] == ["ORDERS__BASE_URL", "STOCK__BASE_URL"]
    assert Strict.load(environment="development").orders.base_url is None
