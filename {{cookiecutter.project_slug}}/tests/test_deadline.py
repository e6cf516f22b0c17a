"""The time that a request has: trusted callers set it, others do not."""

from math import inf

import pytest
from flask import Flask
from upstreams import BUDGET_HEADER, Deadline, SettingsError

from {{ cookiecutter.package_name }}.app import create_app
from {{ cookiecutter.package_name }}.deadline import SHORTEST_BUDGET
from {{ cookiecutter.package_name }}.settings import Settings, load_settings


def left(app: Flask, budget: str) -> float:
    """Return the seconds that a view has left when the test client gives its request `budget`."""
    app.add_url_rule("/left", view_func=lambda: str(Deadline(inf).left))
    return float(app.test_client().get("/left", headers={BUDGET_HEADER: budget}).text)


@pytest.fixture
def believing(settings: Settings) -> Flask:
    """Return an application that trusts the test client, which is at 127.0.0.1."""
    return create_app(settings.model_copy(update={"deadline_allow_ips": "10.1.2.3, 127.0.0.0/8"}))


def test_nobody_is_believed_who_is_not_named(app: Flask) -> None:
    assert left(app, "2500") == inf


def test_a_caller_that_is_believed_sets_the_deadline(believing: Flask) -> None:
    assert 2 < left(believing, "2500") <= 2.5


def test_less_than_the_shortest_time_is_taken_for_that(believing: Flask) -> None:
    assert 0 < left(believing, "1") <= SHORTEST_BUDGET


@pytest.mark.parametrize("value", ["", "-1", "soon", "1e3", "9" * 5000])
def test_nonsense_in_its_place_sets_none(believing: Flask, value: str) -> None:
    assert left(believing, value) == inf


@pytest.mark.usefixtures("clean_environment")
def test_what_is_no_caller_is_refused_at_the_start_without_showing_it() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(deadline_allow_ips="s3cret.example")

    assert str(error.value).startswith("DEADLINE_ALLOW_IPS must be IP addresses, networks or '*'")
    assert "s3cret" not in str(error.value)
