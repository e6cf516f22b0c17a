"""Bakes the template, so that the engine which is measured is the one that a user gets."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from .serving import CACHE, ROOT, BenchError


def baked_sources() -> Path:
    """The folder that a fresh bake's package is in.

    Raises:
        BenchError: with what Cookiecutter printed, when the template does not bake.
    """
    shutil.rmtree(CACHE / "bake", ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    config = CACHE / "cookiecutter.yaml"
    config.write_text(f"replay_dir: {json.dumps(str(CACHE / 'replay'))}\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input"),
        *("--config-file", str(config), "--output-dir", str(CACHE / "bake")),
        "include_example=no",  # it is not measured
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"The template did not bake:\n{done.stdout}{done.stderr}"
        raise BenchError(message)
    return CACHE / "bake" / "price-service" / "src"
