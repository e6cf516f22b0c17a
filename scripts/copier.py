"""Writes `copier.yml` from `cookiecutter.json`, so that Copier asks the same questions.

Run it with `make copier` after a change of a question; a test fails if you forget it.
"""

import json
from typing import Any

import yaml

from scripts.baking import ROOT

HEADER = """\
# Written by `make copier` from cookiecutter.json: change that instead.
# It loads an extension, so Copier needs `--trust` and copier-template-extensions beside it.

"""

NEXT = """\
The service is in {{ _copier_conf.dst_path }}. Next, in that folder:

  uv run {{ project_slug }}    # installs what it needs and starts the service
  uv run pytest    # runs its tests

README.md has more. The commands need uv: https://docs.astral.sh/uv/
"""

# Settings that make Copier write the same bytes as Cookiecutter.
SETTINGS: dict[str, Any] = {
    "_min_copier_version": "9.18",  # the first that reads many patterns from one template
    "_subdirectory": "{% raw %}{{cookiecutter.project_slug}}{% endraw %}",
    "_templates_suffix": "",
    "_envops": {
        "keep_trailing_newline": True,
        "line_statement_prefix": "# jinja:",
        "undefined": "jinja2.StrictUndefined",
    },
    "_jinja_extensions": [
        "copier_template_extensions.TemplateExtensionLoader",
        "cookiecutter_flask_async_answers.py:Answers",
    ],
    "_exclude": ["{{ cookiecutter | excluded }}"],
    "_message_after_copy": NEXT,
}


def question(name: str, default: object, wording: object) -> dict[str, Any]:
    """One question in Copier's format; `wording` is its text in Cookiecutter's `__prompts__`.

    Raises:
        TypeError: when Copier has no question for this type of default.
    """
    if isinstance(default, bool):
        return {"type": "bool", "help": wording, "default": default}
    if isinstance(default, list) and isinstance(wording, dict):
        choices = {wording[choice]: choice for choice in default}
        asked = wording["__prompt__"]
        return {"type": "str", "help": asked, "choices": choices, "default": default[0]}
    if isinstance(default, str):
        return {
            "type": "str",
            "help": wording,
            "default": default.replace("cookiecutter.", ""),
            "validator": f"{{{{ dict({name}={name}) | problem }}}}",
        }
    message = f"{name} has a default that Copier cannot ask for: {default!r}"
    raise TypeError(message)


def configuration(cookiecutter: dict[str, Any]) -> dict[str, Any]:
    """The content of `copier.yml` for these questions, in the same order."""
    prompts = cookiecutter["__prompts__"]
    questions = {
        name: question(name, default, prompts[name])
        for name, default in cookiecutter.items()
        if not name.startswith("_")
    }
    answers = ", ".join(f"{name}={name}" for name in questions)
    # The files of the template say `cookiecutter.project_name`: never asked, never stored.
    namespace = {"type": "json", "when": False, "default": f"{{{{ dict({answers}) | tojson }}}}"}
    return {**questions, "cookiecutter": namespace, **SETTINGS}


def copier_yml() -> str:
    """The text of `copier.yml`."""
    questions = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    text: str = yaml.safe_dump(
        configuration(questions), sort_keys=False, allow_unicode=True, width=1000
    )
    return HEADER + text


if __name__ == "__main__":
    (ROOT / "copier.yml").write_text(copier_yml(), encoding="utf-8", newline="\n")
