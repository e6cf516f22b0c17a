"""Log lines of failed calls: one for each, with its facts, and no flood of them."""

import pytest
from upstreams import UpstreamTimeout, UpstreamUnavailable, fan_out
from upstreams import _failures as failures

pytestmark = pytest.mark.anyio

WAREHOUSE = "warehouse"


@pytest.fixture
def fresh_allowance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_allowance", failures.Allowance())


@pytest.mark.usefixtures("fresh_allowance")
async def test_each_failed_call_is_a_warning_with_its_facts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = UpstreamUnavailable("prices", "answered 503", status=503, reason="such")
    error.attempts = 3

    async def call(key: str) -> str:
        if key == "b":
            raise error
        return key

    await fan_out(call, "abc", deadline=5, max_concurrency=3)

    [record] = caplog.records
    facts = vars(record)
    assert record.levelname == "WARNING"
    assert facts["upstream"] == "prices"
    assert facts["kind"] == "UpstreamUnavailable"
    assert facts["attempts"] == 3
    assert facts["duration_ms"] >= 0
    assert record.getMessage().startswith("prices answered 503 (upstream=prices, kind=Upstream")


@pytest.mark.usefixtures("fresh_allowance")
async def test_a_flood_of_one_kind_hides_no_other_and_is_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(failures, "monotonic", lambda: now)

    async def call(status: int) -> None:
        raise UpstreamUnavailable(WAREHOUSE, f"answered {status}", status=status)

    await fan_out(call, [500] * 1000, deadline=60, max_concurrency=10)
    assert len(caplog.records) == failures.BURST

    await fan_out(call, [503], deadline=60, max_concurrency=1)
    assert "answered 503" in caplog.records[-1].getMessage()
    assert "left_out" not in vars(caplog.records[-1])

    now += 1.5
    await fan_out(call, [500] * 3, deadline=60, max_concurrency=1)
    assert len(caplog.records) == failures.BURST + 2
    assert vars(caplog.records[-1])["left_out"] == 1000 - failures.BURST


@pytest.mark.usefixtures("fresh_allowance")
def test_what_is_known_of_kinds_is_bounded() -> None:
    for number in range(2000):
        failures.log_failure(UpstreamTimeout(f"upstream {number}", "did not answer"))

    assert len(failures._allowance._kinds) <= 500  # noqa: SLF001
