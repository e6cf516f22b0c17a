"""Checks every answer before a file is written, and quotes answers for the files that hold them.

Cookiecutter loads this module as a Jinja extension (`_extensions` in `cookiecutter.json`), from
the template's own folder. It uses the standard library only, because it runs in the environment in
which the user's Cookiecutter is installed. `docs/decisions/answers-extension.md` says why it is an
extension and not only a hook, and why its name is long.
"""

import json
import keyword
import re
import shlex
import sys

try:
    import tomllib
except ModuleNotFoundError:  # so the code up to this line must run on an older Python
    sys.exit(
        "Error: this template needs Cookiecutter on Python 3.11 or newer, and this is Python "
        f"{sys.version_info[0]}.{sys.version_info[1]}; with uv: uvx --python 3.11 cookiecutter ..."
    )
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from jinja2 import Environment
from jinja2.ext import Extension

TEMPLATE = Path(__file__).parent
OLDEST_COOKIECUTTER = (2, 6)  # the oldest that the tests run with; 2.1 has no yes-or-no questions
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"


class Rule(NamedTuple):
    """The limits of an answer: its length, its form, and both in words."""

    longest: int
    form: str
    accepted: str


ONE_LINE = r"\S(.*\S)?"
ACCOUNT = r"[A-Za-z0-9]([._-]?[A-Za-z0-9])*"
WORD = r'[^\s@"\\()<>,:;\[\]]+'

RULES = {
    "project_name": Rule(100, ONE_LINE, "a line of 1 to 100 characters"),
    "project_slug": Rule(
        50,
        r"[a-z](-?[a-z0-9])*",
        "1 to 50 lower-case letters and digits, single dashes between them, a letter first, and no"
        " name in use",
    ),
    "package_name": Rule(
        50,
        r"[a-z](_?[a-z0-9])*",
        "1 to 50 lower-case letters and digits, single underscores between them, a letter first,"
        " and no name in use",
    ),
    "project_description": Rule(500, ONE_LINE, "a line of 1 to 500 characters"),
    "full_name": Rule(100, ONE_LINE, "a line of 1 to 100 characters"),
    "email": Rule(254, rf"{WORD}@{WORD}", "one address like you@example.com"),
    "github_username": Rule(
        100,
        rf"{ACCOUNT}(/{ACCOUNT})*",
        "1 to 100 letters and digits, single dashes, dots or underscores between them, and a slash"
        " before a subgroup",
    ),
}

# Control characters and line separators break the files that hold a text. Characters that change
# the direction of writing hide a file's text. A lone surrogate cannot be written as UTF-8.
UNWRITABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)

# Names that already have another meaning, by that meaning.
TAKEN = {
    "a folder of every project": {"src", "tests", "docs", "deploy", "templates", "build", "dist"},
    "a program of every Python environment": {"python", "python3", "pip", "uv", "uvx", "activate"},
    "a library that every service brings": {
        *("flask-asgi", "flask-guards", "typed-views", "upstreams"),
    },
    "a keyword of Python": {"type"},  # since 3.12
    # In at least one supported version of Python; `sys` knows only the running version.
    "a module of Python's standard library": {
        *("aifc", "annotationlib", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk"),
        *("compression", "crypt", "distutils", "imghdr", "imp", "lib2to3", "mailcap", "msilib"),
        *("nis", "nntplib", "ossaudiodev", "pipes", "smtpd", "sndhdr", "spwd", "sunau"),
        *("telnetlib", "test", "uu", "xdrlib"),
    },
    # Import names that differ from the name the package is installed by.
    "a package that the service uses": {
        "attr",
        "dotenv",
        "google",
        "jwt",
        "mypyc",
        "opentelemetry",
        "py",
    },
    "a name that Windows reserves for a device": {"con", "prn", "aux", "nul"}
    | {f"{device}{digit}" for device in ("com", "lpt") for digit in range(10)},
}

NAMES = {"project_slug", "package_name"}
LONGEST_SHOWN = 80

# The files that each answer brings. A file is left out if the answer is not among the values. A
# file in several entries needs all of their answers.
BROUGHT_BY = {
    ("python_version", ("3.11",)): ("tests/coverage_plugin.py",),
    ("include_example", (True,)): (
        "compose.override.yaml",
        "openapi.json",
        "src/{package}/clients/prices.py",
        "src/{package}/clients/stub.py",
        "src/{package}/templates/home.html",
        "src/{package}/views/blocking.py",
        "src/{package}/views/home.py",
        "src/{package}/views/prices.py",
        "src/{package}/views/quotes.py",
        "tests/test_blocking.py",
        "tests/test_home.py",
        "tests/test_prices.py",
        "tests/test_prices_client.py",
        "tests/test_prices_settings.py",
        "tests/test_quotes.py",
        "tests/test_stub.py",
    ),
    ("deployment", ("docker", "kubernetes", "all")): (
        ".dockerignore",
        "Dockerfile",
        "compose.override.yaml",
        "compose.yaml",
        "deploy/observability/grafana/provisioning/dashboards/dashboard.yaml",
        "deploy/observability/grafana/provisioning/datasources/prometheus.yaml",
        "deploy/observability/prometheus.yml",
        "tests/test_container.py",
    ),
    ("deployment", ("kubernetes", "all")): (
        "deploy/kubernetes/README.md",
        "deploy/kubernetes/base/deployment.yaml",
        "deploy/kubernetes/base/horizontalpodautoscaler.yaml",
        "deploy/kubernetes/base/kustomization.yaml",
        "deploy/kubernetes/base/networkpolicy.yaml",
        "deploy/kubernetes/base/poddisruptionbudget.yaml",
        "deploy/kubernetes/base/service.yaml",
        "deploy/kubernetes/base/serviceaccount.yaml",
        "deploy/kubernetes/base/settings.env",
        "deploy/kubernetes/components/prometheus-operator/kustomization.yaml",
        "deploy/kubernetes/components/prometheus-operator/servicemonitor.yaml",
        "deploy/kubernetes/components/scale-on-requests/horizontalpodautoscaler.yaml",
        "deploy/kubernetes/components/scale-on-requests/kustomization.yaml",
        "deploy/kubernetes/components/scale-on-requests/prometheus-adapter.yaml",
        "deploy/kubernetes/overlays/development/kustomization.yaml",
        "deploy/kubernetes/overlays/development/settings.env",
        "deploy/kubernetes/overlays/production/ingress.yaml",
        "deploy/kubernetes/overlays/production/kustomization.yaml",
        "deploy/kubernetes/overlays/production/settings.env",
        "tests/test_kubernetes.py",
    ),
    ("deployment", ("systemd", "all")): (
        "deploy/nginx/{slug}.conf",
        "deploy/systemd/README.md",
        "deploy/systemd/{slug}@.service",
        "deploy/systemd/{slug}@.socket",
        "tests/test_systemd.py",
    ),
    ("ci", ("github",)): (
        ".github/ISSUE_TEMPLATE/bug.yml",
        ".github/dependabot.yml",
        ".github/pull_request_template.md",
        ".github/workflows/ci.yml",
    ),
    ("ci", ("gitlab",)): (
        ".gitlab-ci.yml",
        "renovate.json",
    ),
}


@cache
def questions() -> dict[str, Any]:
    """Every question of `cookiecutter.json` with its default: a text, choices, or yes or no."""
    return json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8"))  # type: ignore[no-any-return]


@cache
def own_expressions() -> set[str]:
    """The texts of this template that Cookiecutter renders one by one."""
    defaults = {default for default in questions().values() if isinstance(default, str)}
    hooks = {path.read_text("utf-8") for path in TEMPLATE.glob("hooks/*.py")}
    return defaults | hooks | {PROJECT.name}


@cache
def dependencies() -> set[str]:
    """The names of all packages that the service locks."""
    lock = (PROJECT / "uv.lock").read_text("utf-8")
    return set(re.findall(r'^name = "([\w.-]+)"$', lock, re.MULTILINE))


def meanings(name: str) -> Iterator[str]:
    """The existing meanings of `name`, which a service of that name would hide."""
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        yield "a keyword of Python"
    if name in sys.stdlib_module_names:
        yield "a module of Python's standard library"
    if name in dependencies():
        yield "a package that the service uses"
    yield from (meaning for meaning, names in TAKEN.items() if name in names)


def faults(variable: str, value: object) -> Iterator[str]:
    """The faults of one answer, each worded to follow its value in a sentence."""
    if not isinstance(value, str):
        yield "is not text"
        return
    if not value.strip():
        yield "is empty"
    if len(value) > RULES[variable].longest:
        yield f"has {len(value)} characters"
    if unwritable := UNWRITABLE.search(value):
        yield f"contains the character U+{ord(unwritable[0]):04X}"
    if not re.fullmatch(RULES[variable].form, value):
        yield "does not have the right form"
    if variable in NAMES:
        for name in (value, value.replace("-", "_"), value.replace("_", "-")):
            yield from (f"is {meaning}" for meaning in meanings(name))


def refused_choices(answers: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """The answers that are not among the choices, in the form of `refusals`."""
    for variable, default in questions().items():
        choices = [True, False] if isinstance(default, bool) else default
        if variable.startswith("_") or not isinstance(choices, list) or variable not in answers:
            continue
        if answers[variable] not in choices:
            yield variable, "is not one of the choices", " or ".join(map(str, choices))


def refusals(answers: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """Every refused answer: its name, its faults, and the accepted form."""
    for variable in filter(answers.__contains__, RULES):
        for fault in faults(variable, answers[variable]):
            yield variable, fault, RULES[variable].accepted
    yield from refused_choices(answers)


def problem(answers: Mapping[str, object]) -> str:
    """The faults of the answers so far, as one sentence; empty without faults."""
    for variable, fault, accepted in refusals(answers):
        value = ascii(answers[variable])
        shown = f"{value[:LONGEST_SHOWN]}..." if len(value) > LONGEST_SHOWN else value
        return f"{variable} {shown} {fault}; accepted is {accepted}."
    return ""


def checked(answers: Mapping[str, object]) -> str:
    """An empty text if the answers are valid.

    Raises:
        SystemExit: with the sentence to print; the bake ends before it writes a file. At a terminal
            the text also says how to keep the other answers.
    """
    if wrong := problem(answers):
        at_a_terminal = sys.stdin is not None and sys.stdin.isatty()
        sys.exit(f"Error: {wrong}" + (how_to_go_on(answers) if at_a_terminal else ""))
    return ""


def how_to_go_on(answers: Mapping[str, object]) -> str:
    """Says how to repeat the accepted answers; empty if no answer was accepted.

    Cookiecutter cannot ask a question a second time, and keeps no answers for `--replay` before all
    of them are given.
    """
    refused = {variable for variable, _, _ in refusals(answers)}
    good = [
        shlex.quote(f"{variable}={answers[variable]}")
        for variable in questions()
        if not variable.startswith("_") and variable in answers and variable not in refused
    ]
    if not good:
        return ""
    command = "To be asked again with your answers as the defaults, add this to the command:"
    return f"\n{command}\n  {' '.join(good)}"


def left_out(answers: Mapping[str, object]) -> str:
    """The files that these answers leave out: paths in the project, with spaces between them."""
    return " ".join(
        path.format(slug=answers["project_slug"], package=answers["package_name"])
        for (answer, values), paths in BROUGHT_BY.items()
        if answers[answer] not in values
        for path in paths
    )


def and_newer(python: str) -> list[str]:
    """The Pythons that a service supports if `python` is the oldest."""
    versions: list[str] = questions()["python_version"]
    return versions[versions.index(python) :]


HOSTS = {"github": ("github.com", "ghcr.io"), "gitlab": ("gitlab.com", "registry.gitlab.com")}


def host(answers: Mapping[str, object]) -> tuple[str, str]:
    """The hosts of a service's sources and of its images: by its CI, without CI GitHub."""
    return HOSTS[str(answers["ci"])] if answers["ci"] in HOSTS else HOSTS["github"]


def repository(answers: Mapping[str, object]) -> str:
    """The address of a service's repository."""
    sources, _ = host(answers)
    return f"https://{sources}/{answers['github_username']}/{answers['project_slug']}"


def image(answers: Mapping[str, object]) -> str:
    """The name of a service's image, in lower case as registries demand."""
    _, images = host(answers)
    return f"{images}/{answers['github_username']}/{answers['project_slug']}".lower()


# The newest Python on which no measured work cost more than on the oldest:
# docs/decisions/python-of-the-image.md
IMAGE_PYTHON = "3.12"


def of_image(python: str) -> str:
    """The Python in a service's image if `python` is its oldest."""
    versions = and_newer(python)
    return IMAGE_PYTHON if IMAGE_PYTHON in versions else versions[0]


def excluded(answers: Mapping[str, object]) -> str:
    """The files that these answers leave out and the folders that they empty, each on a line.

    They are patterns for Copier, which then does not write these files.
    """
    files = {PurePosixPath(path) for path in left_out(answers).split()}
    kept = {path for path in sources(answers) if path not in files}
    folders = {folder for path in files for folder in path.parents}
    folders -= {folder for path in kept for folder in path.parents}
    return "\n".join(f"/{path}" for path in sorted(files | folders))


def sources(answers: Mapping[str, object]) -> Iterator[PurePosixPath]:
    """Every file of a project with these answers, including those that they leave out."""
    for path in PROJECT.rglob("*"):
        if path.is_file():
            name = path.relative_to(PROJECT).as_posix()
            for variable in sorted(NAMES):
                name = name.replace(f"{{{{cookiecutter.{variable}}}}}", str(answers[variable]))
            yield PurePosixPath(name)


def slug(text: str) -> str:
    """A valid slug, made of the lower-case ASCII letters and digits of `text` if it has any.

    A slug that would be refused gets another word: Flask is `flask-service`, 2nd is `service-2nd`.
    A name without ASCII letters, for example in Japanese, is `service`.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    guesses = (words, f"{words[:40]}-service", f"service-{words[:40]}")
    shortened = (guess[:50].replace("--", "-").strip("-") for guess in guesses)
    return next((guess for guess in shortened if not [*faults("project_slug", guess)]), "service")


def escaped(text: str) -> str:
    """An answer escaped for double quotes, the same in TOML, YAML, JSON and Python.

    JSON's own escapes do not work: they make an emoji a surrogate pair, which TOML forbids.
    """
    text = text.replace("\\", r"\\").replace('"', r"\"")
    return UNWRITABLE.sub(lambda character: rf"\u{ord(character[0]):04x}", text)


def markdown(text: str) -> str:
    """A checked answer as Markdown that shows it letter by letter."""
    text = re.sub(r"[\\`*_\[\]<>&#|~$]", r"\\\g<0>", text)
    return re.sub(r"^([-+=]|\d+[.)])", lambda start: rf"{start[0][:-1]}\{start[0][-1]}", text)


def refuse_another_copy() -> None:
    """Ends the bake when Python has imported this module from outside of the template.

    Cookiecutter puts the template's folder last on Python's path. Another version of the template
    in the working directory, with `python -m cookiecutter`, or in `PYTHONPATH` comes first.
    """
    found = [Path(folder, Path(__file__).name) for folder in sys.path]
    copies = [path.resolve() for path in found if path.is_file()]
    if len({*copies}) > 1 and copies[-1] != Path(__file__).resolve():
        sys.exit(
            f"Error: {Path(__file__).parent} is on Python's path and holds another copy of this "
            "template; run Cookiecutter from another folder, as `cookiecutter` and without it in "
            "PYTHONPATH."
        )


def refuse_an_old_cookiecutter() -> None:
    """Ends the bake when the Cookiecutter that loads this is too old to ask these questions."""
    version = str(getattr(sys.modules.get("cookiecutter"), "__version__", ""))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < OLDEST_COOKIECUTTER:
        oldest = ".".join(map(str, OLDEST_COOKIECUTTER))
        sys.exit(
            f"Error: this template needs Cookiecutter {oldest} or newer, and this is {version}; "
            f"with uv: uvx 'cookiecutter>={oldest}' ..."
        )


FILTERS = (
    *(and_newer, checked, escaped, excluded, image, left_out, markdown, of_image, problem),
    *(repository, slug),
)


class Answers(Extension):
    """Gives the functions of this module to every template and hook as filters.

    It also processes every single text that Cookiecutter renders: a default or an answer, the name
    of the project's folder, a hook.
    """

    def __init__(self, environment: Environment) -> None:
        refuse_another_copy()
        refuse_an_old_cookiecutter()
        super().__init__(environment)
        environment.filters |= {function.__name__: function for function in FILTERS}
        project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text("utf-8"))["project"]
        environment.globals["template_version"] = project["version"]
        # An update renders two versions of the template in one process; each must import its own.
        sys.modules.pop(__name__, None)

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """The text to render: checks all answers known so far, and renders no answer as a template.

        Cookiecutter renders answers from the command line or a configuration like the defaults of
        `cookiecutter.json`, and makes the project's folder before any hook runs. Files, and the
        names in the project, are rendered later and with a loader.
        """
        del filename
        if name is not None or self.environment.loader is not None:
            return source
        as_given = source if source in own_expressions() else f"{{{{ {source!a} }}}}"
        return "{{ cookiecutter | checked }}" + as_given
