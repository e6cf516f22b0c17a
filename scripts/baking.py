"""Bakes the template: the one place where scripts, benchmarks and tests call Cookiecutter.

The user's own configuration and default answers are not used.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache"
SLUG = "price-service"  # of a bake with the default answers
CONFIGURATION = {"replay_dir": str(CACHE / "replay")}


def bake(output: Path, /, **answers: object) -> Path:
    """The project baked into `output` with these answers and otherwise the defaults.

    Raises:
        SystemExit: when the template refuses an answer.
    """
    return bake_template(ROOT, output, answers)


def bake_template(
    template: Path, output: Path, answers: Mapping[str, object], *, accept_hooks: bool = True
) -> Path:
    """A bake from a copy of the template, or without its hooks.

    Raises:
        SystemExit: when the template refuses an answer.
    """
    return Path(
        cookiecutter(
            str(template),
            no_input=True,
            extra_context=dict(answers),
            output_dir=str(output),
            overwrite_if_exists=True,
            default_config=CONFIGURATION,
            accept_hooks=accept_hooks,
        )
    )


def command(output: Path, *answers: str, template: Path = ROOT) -> list[str]:
    """The command line for a bake in a separate process.

    Another checkout of the template needs that: a process imports only one `Answers` extension.
    """
    CACHE.mkdir(exist_ok=True)
    config = CACHE / "cookiecutter.yaml"
    config.write_text(json.dumps(CONFIGURATION), encoding="utf-8")  # JSON is YAML
    return [
        # -P: the working directory may hold the extension of another checkout.
        *(sys.executable, "-P", "-m", "cookiecutter", str(template), "--no-input"),
        *("--overwrite-if-exists", "--config-file", str(config), "--output-dir", str(output)),
        *answers,
    ]
