"""Writes the text of an `.env` that shows every setting of a model and sets none."""

import textwrap

from pydantic import BaseModel

from ._variables import NESTED, variables

_HEADER = """\
# Every setting with its default. Copy this file to .env and change what you need. Environment
# variables take precedence over .env. A wrong value stops the start, and so does a name that looks
# like a misspelt setting. Variables of other programs, such as Compose, are allowed.
#
# To generate it again: {command} > .env.example

"""


def env_example(model: BaseModel, command: str) -> str:
    """Return the text, with the values of `model`, whose required settings may lack a value.

    `command` is the command that prints the text.
    """
    paragraphs = [_HEADER.format(command=command)]
    for name, field in variables(type(model)).items():
        value: object = model
        for part in name.split(NESTED):
            value = getattr(value, part, None)
        if about := field.description:
            paragraphs.append(_comment(f"{about[0].upper()}{about[1:]}."))
        paragraphs.append(f"# {name.upper()}={_written(value)}\n\n")
    return "".join(paragraphs).rstrip("\n") + "\n"


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, width=98, break_on_hyphens=False, break_long_words=False)
    return "".join(f"# {line}\n" for line in lines)


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
