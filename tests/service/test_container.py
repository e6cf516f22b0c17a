"""The image's health check reaches every address on which the service can listen."""

import json
import subprocess
import sys

import pytest

from ..test_container import answering, found


@pytest.mark.skipif(sys.platform != "linux", reason="the image is Linux")
@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "localhost"])
@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_uses_the_services_address(host: str, status: int, code: int) -> None:
    _, *command = json.loads(found("Dockerfile", r"^HEALTHCHECK.*\n +CMD (\[.*\])$")[0])

    with answering(host, status) as port:
        env = {"HOST": host, "PORT": str(port)}
        asked = subprocess.run([sys.executable, *command], env=env, check=False)  # noqa: S603 - ours

    assert asked.returncode == code
