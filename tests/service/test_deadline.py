"""Background work has no deadline of the request that starts it."""

import pytest
from flask_asgi import Background
from upstreams import Deadline, lift_deadline, within

pytestmark = pytest.mark.anyio


async def test_background_work_has_no_deadline_of_its_request() -> None:
    left: list[float] = []

    async def work() -> None:
        left.append(Deadline(60).left)

    background = Background(on_start=lift_deadline)
    background.open()
    with within(1):
        background.start(work())
    await background.close(5)

    assert left[0] > 50
