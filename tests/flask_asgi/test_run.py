"""How a configuration of uvicorn is run: the processes, and the exit code."""

from unittest.mock import Mock

import pytest
import uvicorn
from flask import Flask
from flask_asgi import STARTUP_FAILURE, FlaskToAsgi, run


@pytest.mark.parametrize(("codes", "ended"), [([0, STARTUP_FAILURE], STARTUP_FAILURE), ([0, 0], 0)])
def test_a_failed_start_up_of_a_worker_sets_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, codes: list[int], ended: int
) -> None:
    # In a real process uvicorn's supervisor notices this after 5 seconds.
    supervisor = Mock(processes=[Mock(**{"process.exitcode": code}) for code in codes])
    monkeypatch.setattr("flask_asgi._run.Supervisor", Mock(return_value=supervisor))
    monkeypatch.setattr("uvicorn.Config.bind_socket", Mock())
    code = 0

    try:
        run(uvicorn.Config(FlaskToAsgi(Flask("tested")), workers=2, log_config=None))
    except SystemExit as error:
        code = int(str(error.code))

    supervisor.run.assert_called_once()
    assert code == ended
