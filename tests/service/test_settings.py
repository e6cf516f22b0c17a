"""The settings that the service reads and refuses, in every notation."""

import re
from pathlib import Path

import pytest

from price_service.settings import Settings

from ..test_settings import refused

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ENVIRONMENT", "staging", "ENVIRONMENT should be 'development' or 'production' (the kind"),
        ("PORT", "http", "PORT should be a valid integer, unable to parse string as an integer ("),
        ("PORT", "65536", "PORT should be less than or equal to 65535 (the TCP port to listen on)"),
        ("WEB_CONCURRENCY", "0", "WEB_CONCURRENCY should be greater than or equal to 1 (the "),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL should be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or "),
        ("DEBUG", "perhaps", "DEBUG should be a valid boolean, unable to interpret input ("),
        ("SHUTDOWN_GRACE_SECONDS", "nan", "SHUTDOWN_GRACE_SECONDS should be a finite number ("),
        ("SHUTDOWN_GRACE_SECONDS", "0", "SHUTDOWN_GRACE_SECONDS should be greater than 0 ("),
        ("SHUTDOWN_DELAY_SECONDS", "-1", "SHUTDOWN_DELAY_SECONDS should be greater than or "),
        ("SHUTDOWN_DELAY_SECONDS", "1e300", "SHUTDOWN_DELAY_SECONDS should be less than or equal "),
        ("REQUEST_TIMEOUT_SECONDS", "1e300", "REQUEST_TIMEOUT_SECONDS should be less than or "),
        ("KEEP_ALIVE_SECONDS", 400 * "9", "KEEP_ALIVE_SECONDS should be less than or equal to "),
        ("KEEP_ALIVE_SECONDS", 5000 * "9", "KEEP_ALIVE_SECONDS "),
        ("HOST", "http://a", "HOST must be an IP address or the name of a host ("),
        ("HOST", "\udce9", "HOST "),
        ("ALLOWED_HOSTS", "http://s3cret", "ALLOWED_HOSTS must be names of hosts without a port, "),
        ("ALLOWED_HOSTS", "s3cret.example,", "ALLOWED_HOSTS must be names of hosts without "),
        ("CORS_ORIGINS", "s3cret.example", "CORS_ORIGINS must be origins such as https://app."),
        ("CORS_ORIGINS", "https://s3cret.example/a", "CORS_ORIGINS must be origins such as "),
        ("SECRET_KEY", "s3cret", "SECRET_KEY must have at least 32 characters ("),
        ("RATE_LIMITS_REDIS_URL", "s3cret", "RATE_LIMITS_REDIS_URL must be like redis://:"),
        ("QUOTES_LIMIT", "s3cret", "QUOTES_LIMIT must be a number of requests in a time, such "),
        ("AUTH__ISSUER", "https://s3cret/", "AUTH__JWKS_URL must be set when AUTH__ISSUER is ("),
        ("AUTH__JWKS_URL", "s3cret", "AUTH__JWKS_URL should be a valid URL"),
        *(
            (f"{who}_ALLOW_IPS", value, f"{who}_ALLOW_IPS must be IP addresses, networks or '*', ")
            for who in ("FORWARDED", "DEADLINE")
            for value in ("10.0.0.1/8", "proxy", "::1,,::2", "10.0.0.1 10.0.0.2", ",", "10.0.0")
        ),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)

    [said] = refused()

    assert said.startswith(sentence)
    assert said.endswith(").")
    assert not re.search(rf"\b{re.escape(value)}\b", said.removeprefix(sentence))
    assert "s3cret" not in said


def test_every_misspelt_setting_is_recognised(clean_environment: Path) -> None:
    for name in map(str.upper, Settings.variables()):
        middle = len(name) // 2 - 1
        start, one, other, end = name[:middle], *name[middle : middle + 2], name[middle + 2 :]
        for slip in (start + other + one + end, start + one + end, f"{start}X{one}{other}{end}"):
            if slip.lower() in Settings.variables() or len(slip) < 4:
                continue
            (clean_environment / ".env").write_text(f"{slip}=1\n", encoding="utf-8")
            [said] = refused()
            assert said == f"{slip} is not a setting of this service; did you mean {name}?"
