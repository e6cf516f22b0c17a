"""The Hypothesis profile of all tests, which each `conftest.py` loads."""

from hypothesis import HealthCheck, settings

NAME = "repeatable"

# Without a random seed, and without time limits: a busy machine must not fail a test.
settings.register_profile(
    NAME,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def load_profile() -> None:
    """Use the same examples in each run. `--hypothesis-profile=default` tries others."""
    settings.load_profile(NAME)
