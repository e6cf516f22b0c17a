"""The time that a request has: trusted callers set it, others do not."""

from math import inf

import pytest
from flask import Flask
from upstreams import BUDGET_HEADER, Deadline, SettingsError

from {{ cookiecutter.package_name }}.app import create_app
from {{ cookiecutter.package_name }}.settings import Settings, load_settings


def left(app: Flask, budget: str) -> float:
    """Return the seconds left in a view, when the test client sends `budget` in the header."""
    app.add_url_rule("/left", view_func=lambda: str(Deadline(inf).left))
    return float(app.test_client().get("/left", headers={BUDGET_HEADER: budget}).text)


@pytest.fixture
def trusting(settings: Settings) -> Flask:
    """Return an application that trusts the test client, which is at 127.0.0.1."""
    return create_app(settings.model_copy(update={"deadline_allow_ips": "10.1.2.3, 127.0.0.0/8"}))


def test_an_untrusted_caller_sets_no_deadline(app: Flask) -> None:
    assert left(app, "2500") == inf


def test_a_trusted_caller_sets_the_deadline(trusting: Flask) -> None:
    assert 2 < left(trusting, "2500") <= 2.5


@pytest.mark.usefixtures("clean_environment")
def test_an_invalid_caller_is_refused_at_the_start_without_its_value() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(deadline_allow_ips="s3cret.example")

    assert str(error.value).startswith("DEADLINE_ALLOW_IPS must be IP addresses, networks or '*'")
    assert "s3cret" not in str(error.value)
