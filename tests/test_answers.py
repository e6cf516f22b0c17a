"""Which answers are accepted, and how they are quoted."""

import ast
import json
import shlex
import tomllib

import pytest
import yaml

import cookiecutter_flask_async_answers as answers

from .baking import QUESTIONS

GOOD = {
    "project_name": "Price Service",
    "project_slug": "price-service",
    "package_name": "price_service",
    "project_description": "An async Flask service.",
    "full_name": "Your Name",
    "email": "you@example.com",
    "github_username": "your-github-name",
}

TEXTS = [
    "plain",
    'Ann "Q" O\'Neil',
    r"back\slash \n \u0041 \\",
    "{braces} {{double}} {% tag %} $HOME ${HOME} %s #",
    "emoji 🍏 👩‍👩‍👧 and עברית",
    "<b>&amp;</b> `code` *stars* _lines_",
]


@pytest.mark.parametrize(
    ("variable", "value", "wrong"),
    [
        ("project_name", "", "is empty"),
        ("project_name", " ", "is empty"),
        ("project_name", " padded", "does not have the right form"),
        ("project_name", "two\nlines", "contains the character U+000A"),
        ("project_name", "\u202eturned", "contains the character U+202E"),
        ("project_name", "\ud83d", "contains the character U+D83D"),
        ("project_name", 7, "is not text"),
        ("project_name", "x" * 101, "has 101 characters"),
        ("project_slug", "../../x/y", "does not have the right form"),
        ("project_slug", "/absolute", "does not have the right form"),
        ("project_slug", "Upper", "does not have the right form"),
        ("project_slug", "-leading", "does not have the right form"),
        ("project_slug", "trailing-", "does not have the right form"),
        ("project_slug", "two--dashes", "does not have the right form"),
        ("project_slug", "2nd", "does not have the right form"),
        ("project_slug", "newline\n", "contains the character U+000A"),
        ("project_slug", "x" * 51, "has 51 characters"),
        ("project_slug", "python", "is a program of every Python environment"),
        ("project_slug", "pydantic-settings", "is a package that the service uses"),
        ("project_slug", "nul", "is a name that Windows reserves for a device"),
        ("package_name", "with-dash", "does not have the right form"),
        ("package_name", "_private", "does not have the right form"),
        ("package_name", "naïve", "does not have the right form"),
        ("package_name", "class", "is a keyword of Python"),
        ("package_name", "match", "is a keyword of Python"),
        ("package_name", "json", "is a module of Python's standard library"),
        ("package_name", "flask", "is a package that the service uses"),
        ("package_name", "pydantic_settings", "is a package that the service uses"),
        ("package_name", "dotenv", "is a package that the service uses"),
        ("package_name", "tests", "is a folder of every project"),
        ("package_name", "flask_asgi", "is a library that every service brings"),
        ("package_name", "upstreams", "is a library that every service brings"),
        ("package_name", "flask_guards", "is a library that every service brings"),
        ("package_name", "typed_views", "is a library that every service brings"),
        ("project_slug", "flask-asgi", "is a library that every service brings"),
        ("project_slug", "upstreams", "is a library that every service brings"),
        ("project_slug", "typed-views", "is a library that every service brings"),
        ("package_name", "com1", "is a name that Windows reserves for a device"),
        ("email", "nobody", "does not have the right form"),
        ("email", 'a"@example.com', "does not have the right form"),
        ("github_username", "-", "does not have the right form"),
        ("github_username", "a__b", "does not have the right form"),
        ("github_username", "a/../b", "does not have the right form"),
    ],
)
def test_a_bad_answer_is_refused_in_one_sentence(variable: str, value: object, wrong: str) -> None:
    problem = answers.problem(GOOD | {variable: value})

    assert problem.startswith(f"{variable} {ascii(value)[:20]}")
    assert f" {wrong}; accepted is " in problem
    assert problem.endswith(".")
    assert problem.isascii()
    assert problem.isprintable()
    with pytest.raises(SystemExit, match=variable):
        answers.checked(GOOD | {variable: value})


def test_a_package_must_not_have_the_name_of_a_library() -> None:
    folders = [path.name for path in (answers.PROJECT / "src").iterdir() if "{" not in path.name]

    assert folders
    for folder in folders:
        assert answers.problem({"package_name": folder})
        assert answers.problem({"project_slug": folder.replace("_", "-")})


def test_the_valid_answers_can_be_reused() -> None:
    given = {"project_name": 'Ann\'s "Q" $HOME', "full_name": "Ann", "email": "nobody", "_x": "y"}

    command = answers.how_to_go_on(given).splitlines()[-1]

    assert shlex.split(command) == ['project_name=Ann\'s "Q" $HOME', "full_name=Ann"]
    assert answers.how_to_go_on({"project_name": ""}) == ""


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("variable", ["project_name", "project_description", "full_name"])
def test_any_text_that_a_file_can_hold_is_accepted(variable: str, text: str) -> None:
    assert answers.problem(GOOD | {variable: text}) == ""
    assert answers.checked(GOOD | {variable: text}) == ""


def test_a_part_of_the_answers_can_be_checked() -> None:
    assert answers.problem({"project_name": "Good"}) == ""
    assert answers.problem({"project_name": ""}) != ""


@pytest.mark.parametrize("text", [*TEXTS, "two\nlines\u2028\x07"])
def test_an_escaped_text_reads_back_the_same_in_every_language(text: str) -> None:
    literal = f'"{answers.escaped(text)}"'

    assert text == tomllib.loads(f"text = {literal}")["text"]
    assert text == yaml.safe_load(literal)
    assert text == json.loads(literal)
    assert text == ast.literal_eval(literal)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Price Service", "price-service"),
        ("  Price__Service, v2!", "price-service-v2"),
        ("Café № 5", "cafe-no-5"),
        ("Flask", "flask-service"),
        ("json", "json-service"),
        ("Flask ASGI", "flask-asgi-service"),
        ("Upstreams", "upstreams-service"),
        ("2nd Shop", "service-2nd-shop"),
        ("x" * 100, "x" * 50),
        ("מחירים", "service"),
        ("日本", "service"),
        ("!!!", "service"),
        ("", "service"),
    ],
)
def test_a_slug_is_made_from_the_letters_and_digits_of_a_name(text: str, expected: str) -> None:
    assert expected == answers.slug(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("An async Flask service.", "An async Flask service."),
        ("*a* _b_ <c> [d](e) `f` & $g$", r"\*a\* \_b\_ \<c\> \[d\](e) \`f\` \& \$g\$"),
        ("- not a list", r"\- not a list"),
        ("1. not a list", r"1\. not a list"),
        ("# not a heading", r"\# not a heading"),
    ],
)
def test_escaped_markdown_shows_the_text_unchanged(text: str, expected: str) -> None:
    assert expected == answers.markdown(text)


@pytest.mark.parametrize(
    ("ci", "repository", "image"),
    [
        ("github", "https://github.com/Acme/x", "ghcr.io/acme/x"),
        ("gitlab", "https://gitlab.com/Acme/x", "registry.gitlab.com/acme/x"),
        ("none", "https://github.com/Acme/x", "ghcr.io/acme/x"),
    ],
)
def test_the_repository_and_the_image_are_at_the_host_of_ci(
    ci: str, repository: str, image: str
) -> None:
    given = {"ci": ci, "github_username": "Acme", "project_slug": "x"}

    assert repository == answers.repository(given)
    assert image == answers.image(given)


def test_an_image_has_its_default_python_or_a_newer_one_if_chosen() -> None:
    offered = QUESTIONS["python_version"]
    chosen = offered.index(answers.IMAGE_PYTHON)

    for index, python in enumerate(offered):
        assert offered[max(index, chosen)] == answers.of_image(python)
