"""Writes the reference pages of `docs/reference` from the code: `python -m scripts.reference`.

Settings, metrics and problem types are those of a default bake, the public names those of the
libraries. The text of a page comes from a docstring or a description: change it there.
"""

import argparse
import inspect
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from .baking import ROOT, bake

FOLDER = ROOT / "docs" / "reference"
PACKAGE = "price_service"
NOTE = "<!-- Written by `python -m scripts.reference`; do not edit. -->\n\n"

WIDTH = 88  # of a signature on one line
NO_LIMIT = 2**31 - 1  # the largest value of the settings' type for counts

# The sections of a docstring in Google's style that are lists.
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):")
ITEM = re.compile(r"    ([\w.*]+(?: \([^)]+\))?): (.*)")


def main() -> None:
    """Writes every page into the given folder, or into `docs/reference`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder
    with TemporaryDirectory() as baked:
        sys.pycache_prefix = baked
        service = bake(Path(baked))  # a bake changes `sys.path`
        sys.path.insert(0, str(service / "src"))
        pages = dict(written_pages())
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (folder / name).write_text(NOTE + text, encoding="utf-8")


def written_pages() -> Iterator[tuple[str, str]]:
    """The name and the text of each page."""
    yield "settings.md", settings_page()
    yield "metrics.md", metrics_page()
    yield "problems.md", problems_page()
    for metadata in sorted((ROOT / "libraries").glob("*/pyproject.toml")):
        project = tomllib.loads(metadata.read_text(encoding="utf-8"))["project"]
        library = import_module(project["name"].replace("-", "_"))
        yield f"{library.__name__}.md", library_page(library, project)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table of Markdown."""
    lines = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, ("---",) * len(head), *lines])


# Settings, metrics, problems


def settings_page() -> str:
    """Every setting of a service with the example."""
    settings = import_module(f"{PACKAGE}.settings").Settings
    schema = settings.model_json_schema()
    defaults = settings.model_construct()
    rows = []
    for name, field in settings.variables().items():
        group, _, inner = name.partition("__")
        one = schema["properties"][group]
        if inner:
            one = schema["$defs"][one["$ref"].rpartition("/")[2]]["properties"][inner]
        value: object = defaults
        for part in name.split("__"):
            value = getattr(value, part)
        rows.append((f"`{name.upper()}`", accepted(one), written(value), field.description or ""))
    return (
        "# Settings\n\n"
        "A service reads these variables from its environment and from `.env`, and refuses to "
        "start with a wrong one. The defaults are those of development. An upstream brings the "
        "group `PRICES__...` under its own name.\n\n"
    ) + table(("variable", "accepted", "default", "meaning"), rows)


def accepted(schema: dict[str, Any]) -> str:
    """The values that a JSON Schema accepts, in a few words."""
    if "anyOf" in schema:
        return accepted(next(each for each in schema["anyOf"] if each.get("type") != "null"))
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    kind = {
        "boolean": "`true` or `false`",
        "integer": "whole number",
        "number": "number",
        "string": {"uri": "URL", "password": "secret text"}.get(schema.get("format", ""), "text"),
    }[schema["type"]]
    limits = {
        "minimum": "at least {}",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
    }
    given = {key: schema[key] for key in limits if schema.get(key, NO_LIMIT) != NO_LIMIT}
    said = [limits[key].format(f"{value:,}") for key, value in given.items()]
    return ", ".join([kind, *said])


def written(value: object) -> str:
    """A default as it would be written into `.env`."""
    if value is None or value == "":
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def metrics_page() -> str:
    """Every metric that a service and its libraries count."""
    of_libraries = ("flask_asgi._server_metrics", "upstreams._upstream_metrics")
    for module in (*of_libraries, f"{PACKAGE}.observing"):
        import_module(module)
    registry = import_module("prometheus_client").REGISTRY
    labels = {
        name: ", ".join(f"`{label}`" for label in getattr(collector, "_labelnames", ()))
        for collector, names in registry._collector_to_names.items()  # noqa: SLF001 - no public way
        for name in names
    }
    rows = [
        (f"`{name}`", metric.type, labels[name], metric.documentation)
        for metric in registry.collect()
        if metric.name.partition("_")[0] not in {"process", "python"}
        for name in [metric.name + "_total" * (metric.type == "counter")]
    ]
    return (
        "# Metrics\n\n"
        "With `METRICS_PORT` a service serves these to Prometheus, besides the usual `process_*` "
        "and `python_*`. `docs/observing.md` in a service says what each is good for, and which "
        "alerts and panels use it.\n\n"
    ) + table(("name", "type", "labels", "meaning"), sorted(rows))


def problems_page() -> str:
    """Every type of problem that a service answers with."""
    problems = import_module(f"{PACKAGE}.problems")
    every = {problem.kind: problem for problem in problems.UPSTREAM_PROBLEMS}
    raised = {kind: error.__name__ for error, kind in problems.UPSTREAM_TYPES.items()}
    rows = [
        (f"`{kind}`", str(problem.status), f"`{raised[kind]}`", problem.description)
        for kind, problem in every.items()
    ]
    invalid = import_module("typed_views")
    says = "The request does not fit the types of a typed view; `errors` lists each fault."
    rows.append((f"`{invalid.INVALID_REQUEST}`", "422", "`InvalidRequest`", says))
    says = "Any other error of HTTP: its status says all."
    rows.append(("`about:blank`", "400 to 599", "`HTTPException`", says))
    return (
        "# Problem types\n\n"
        "Every error leaves a service as `application/problem+json` "
        "([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)), with `type`, `title`, `status`, "
        "`detail`, `instance` and `request_id`. The types are names and not addresses.\n\n"
    ) + table(("type", "status", "raised as", "when"), rows)


# Libraries


def library_page(library: ModuleType, project: dict[str, Any]) -> str:
    """The public names of a library, with their signatures and docstrings."""
    extras = [
        (f"extra `{name}`", ", ".join(f"`{each}`" for each in needed))
        for name, needed in project.get("optional-dependencies", {}).items()
    ]
    needed = ", ".join(f"`{each}`" for each in project.get("dependencies", []))
    ranges = [("Python", f"`{project['requires-python']}`"), ("needs", needed), *extras]
    names = sorted([*library.__all__, *getattr(library, "_OPTIONAL", {})], key=str.lower)
    head = f"# {library.__name__}\n\n{prose(library.__doc__)}\n\n"
    where = "Its [promise of stability](README.md#stability) holds for the names on this page."
    described = "\n".join(entry(name, getattr(library, name)) for name in names)
    return f"{head}{where}\n\n{table(('', 'supported'), ranges)}\n{described}"


def entry(name: str, value: object) -> str:
    """One public name: its signature, its docstring, and its methods if it is a class."""
    said = prose(getattr(value, "__doc__", None)) if is_documented(value) else ""
    if inspect.isclass(value):
        members = "".join(f"\n{member}" for member in public_members(name, value))
        return f"## {name}\n\n{code(f'class {name}', value)}\n{said}\n{members}"
    if inspect.isroutine(value):
        return f"## {name}\n\n{code(definition(value, name), value)}\n{said}\n"
    return f"## {name}\n\n```python\n{name} = {shown(value)}\n```\n"


def shown(value: object) -> str:
    """A constant or a type; a set in the same order each time."""
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(repr, value)))}}}"
    return plain(repr(value))


def public_members(name: str, cls: type) -> Iterator[str]:
    """The public methods and properties that a class defines itself, as entries."""
    for member, value in sorted(vars(cls).items()):
        if member.startswith("_"):
            continue
        bare = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if isinstance(bare, property):
            yield f"### {name}.{member}\n\n{prose(bare.__doc__)}\n"
        elif inspect.isfunction(bare):
            head = code(definition(bare, member), bare, bound=not isinstance(value, staticmethod))
            yield f"### {name}.{member}\n\n{head}\n{prose(bare.__doc__)}\n"


def is_documented(value: object) -> bool:
    """Whether the docstring is the name's own, and not from its type or from `dataclass`."""
    text = getattr(value, "__doc__", None) or ""
    return inspect.isroutine(value) or (
        inspect.isclass(value) and not text.startswith(f"{value.__name__}(")
    )


def definition(function: object, name: str) -> str:
    """The start of a function's definition: `def` or `async def`, and its name."""
    return f"async def {name}" if inspect.iscoroutinefunction(function) else f"def {name}"


def code(head: str, value: Any, *, bound: bool = False) -> str:  # noqa: ANN401 - any object
    """The signature as a block of code; a long one has a line for each parameter."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return f"```python\n{head}\n```\n"
    parameters = list(signature.parameters.values())[1 if bound else 0 :]
    signature = signature.replace(parameters=parameters)
    if inspect.isclass(value):
        signature = signature.replace(return_annotation=inspect.Signature.empty)
    line = plain(f"{head}{signature}")
    if len(line) > WIDTH:
        line = plain(f"{head}{broken(signature)}")
    return f"```python\n{line}\n```\n"


def broken(signature: inspect.Signature) -> str:
    """A signature with a line for each parameter."""
    lines, keyword_only = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            keyword_only = True
        elif parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            lines.append("    *,")
            keyword_only = True
        lines.append(f"    {parameter},")
    returned = signature.replace(parameters=[])
    return "(\n" + "\n".join(lines) + "\n)" + str(returned).removeprefix("()")


def plain(text: str) -> str:
    """A signature as in its source: without memory addresses and without modules of names."""
    text = re.sub(r"<function ([\w.<>]+) at 0x\w+>", r"\1", text)
    text = re.sub(r"<class '([\w.]+)'>", r"\1", text)
    text = re.sub(r"<([\w.]+) object at 0x\w+>", r"\1()", text)
    text = re.sub(r"[\w.]+\.<lambda>|<factory>", "...", text).replace("~", "")
    text = re.sub(r"\b[a-z]\w+\.(?:_\w+\.)+", "", text)
    return re.sub(r"\b(?:collections\.abc|typing|pathlib|contextlib|asyncio\.events)\.", "", text)


def prose(docstring: str | None) -> str:
    """A docstring as Markdown."""
    lines, section = [], False
    for line in inspect.cleandoc(docstring or "").replace("``", "`").splitlines():
        if named := SECTION.fullmatch(line):
            section = True
            lines.append(f"**{named[1]}**\n")
        elif section and (item := ITEM.fullmatch(line)):
            lines.append(f"- `{item[1]}`: {item[2]}")
        elif section and line.startswith("        "):
            lines[-1] += f" {line.strip()}"
        elif section and line and not line.startswith(" "):
            section = False
            lines.append(line)
        else:
            lines.append(line.strip() if section else line)
    return "\n".join(lines).strip()


if __name__ == "__main__":
    main()
